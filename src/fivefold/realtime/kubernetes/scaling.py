"""How many pods: a HorizontalPodAutoscaler with the target, the windows and the habits of our own autoscaler."""

from __future__ import annotations

from typing import Any

from fivefold.realtime.kubernetes.wanted import Wanted

METRIC = "fivefold_requests_under_way"
"""Requests that are there and not answered yet, on average, as the adapter's rule makes it of what servers count."""

SECONDS = "fivefold_request_duration_seconds_sum"
"""The counter of a server: seconds that requests took, all together."""

_PERIOD = 15


def autoscaler(wanted: Wanted) -> dict[str, Any]:
    """Pods by requests under way a pod."""
    policy = wanted.policy
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": wanted.name, "labels": wanted.labels},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": wanted.name},
            "minReplicas": wanted.least,
            "maxReplicas": wanted.most,
            "metrics": [
                {
                    "type": "Pods",
                    "pods": {
                        "metric": {"name": METRIC},
                        "target": {"type": "AverageValue", "averageValue": f"{round(policy.target * 1000)}m"},
                    },
                }
            ],
            "behavior": {
                "scaleUp": {
                    "stabilizationWindowSeconds": 0,
                    "policies": [
                        {"type": "Percent", "value": round(100 * (policy.most_up - 1)), "periodSeconds": _PERIOD}
                    ],
                },
                "scaleDown": {
                    "stabilizationWindowSeconds": round(policy.down_after),
                    "policies": [{"type": "Percent", "value": 50, "periodSeconds": _PERIOD}],
                },
            },
        },
    }


def adapter_rules(wanted: Wanted) -> dict[str, Any]:
    """The rule by which the Prometheus adapter gives the metric to Kubernetes: values of its Helm chart."""
    # Little's law, as our supervisor measures it: requests under way are the seconds they took, by the seconds passed
    seen = f"rate(<<.Series>>{{<<.LabelMatchers>>}}[{round(wanted.policy.stable_window)}s])"
    return {
        "rules": {
            "custom": [
                {
                    "seriesQuery": f'{SECONDS}{{namespace!="",pod!=""}}',
                    "resources": {
                        "overrides": {"namespace": {"resource": "namespace"}, "pod": {"resource": "pod"}},
                    },
                    "name": {"matches": f"^{SECONDS}$", "as": METRIC},
                    "metricsQuery": f"sum({seen}) by (<<.GroupBy>>)",
                }
            ]
        }
    }

"""How many pods: a HorizontalPodAutoscaler with the target, the windows and the habits of our own autoscaler."""

from __future__ import annotations

from typing import Any

from fivefold.realtime.kubernetes.wanted import Wanted

METRIC = "fivefold_requests_under_way"
"""The gauge of a server that counts: requests that are there and not answered yet."""
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
    window = round(wanted.policy.panic_window * 2)
    seen = f"avg_over_time(<<.Series>>{{<<.LabelMatchers>>}}[{window}s])"
    return {
        "rules": {
            "custom": [
                {
                    "seriesQuery": f'{METRIC}{{namespace!="",pod!=""}}',
                    "resources": {
                        "overrides": {"namespace": {"resource": "namespace"}, "pod": {"resource": "pod"}},
                    },
                    "name": {"matches": f"^{METRIC}$", "as": METRIC},
                    "metricsQuery": f"sum({seen}) by (<<.GroupBy>>)",
                }
            ]
        }
    }

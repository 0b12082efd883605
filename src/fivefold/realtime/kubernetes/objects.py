"""The objects of one deployment, in the order in which they are applied."""

from __future__ import annotations

import hashlib
import math
from typing import Any

from fivefold.realtime.kubernetes.pod import pod_spec
from fivefold.realtime.kubernetes.scaling import autoscaler
from fivefold.realtime.kubernetes.wanted import GRPC_PORT, HTTP_PORT, Wanted

HOST_KEY = "kubernetes.io/hostname"


def objects(wanted: Wanted) -> list[dict[str, Any]]:
    """ConfigMap, Deployment, Service, HorizontalPodAutoscaler, PodDisruptionBudget and NetworkPolicy."""
    return [
        settings_map(wanted),
        _deployment(wanted),
        _service(wanted),
        autoscaler(wanted),
        _budget(wanted),
        _network(wanted),
    ]


def settings_map(wanted: Wanted) -> dict[str, Any]:
    """fivefold.toml, which laid over that of the image."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": f"{wanted.name}-settings", "labels": wanted.labels},
        "data": {"fivefold.toml": wanted.settings},
    }


def inference_service(wanted: Wanted) -> dict[str, Any]:
    """The same pods under KServe, in place of Deployment, Service and autoscaler; the ConfigMap is needed with it."""
    spec = pod_spec(wanted, "kserve-container")
    (container,) = spec["containers"]
    container["env"].append({"name": "PROTOCOL", "value": "v2"})
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": wanted.name, "labels": wanted.labels},
        "spec": {
            "predictor": {
                "minReplicas": wanted.least,
                "maxReplicas": wanted.most,
                "scaleMetric": "concurrency",
                "scaleTarget": max(1, math.floor(wanted.policy.target)),
                "labels": wanted.labels,
                "annotations": _annotations(wanted),
                **spec,
            }
        },
    }


def _annotations(wanted: Wanted) -> dict[str, str]:
    # pods do not see that a file laid over another one has changed: this makes new ones
    return {"fivefold/settings-sha256": hashlib.sha256(wanted.settings.encode()).hexdigest()}


def _deployment(wanted: Wanted) -> dict[str, Any]:
    scraped = {
        "prometheus.io/scrape": "true",
        "prometheus.io/path": "/metrics",
        "prometheus.io/port": str(HTTP_PORT),
        "prometheus.io/scheme": "https" if wanted.tls_secret else "http",
    }
    spread = {
        "maxSkew": 1,
        "topologyKey": HOST_KEY,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": wanted.labels},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": wanted.name, "labels": wanted.labels},
        "spec": {
            # how many there are is left to the autoscaler: written here, each apply would undo what it decided
            "selector": {"matchLabels": wanted.labels},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": {
                "metadata": {"labels": wanted.labels, "annotations": {**_annotations(wanted), **scraped}},
                "spec": {**pod_spec(wanted), "topologySpreadConstraints": [spread]},
            },
        },
    }


def _service(wanted: Wanted) -> dict[str, Any]:
    outside = 443 if wanted.tls_secret else 80
    ports: list[dict[str, Any]] = [{"name": "http", "port": outside, "targetPort": "http", "protocol": "TCP"}]
    if wanted.grpc:
        ports.append({"name": "grpc", "port": GRPC_PORT, "targetPort": "grpc", "protocol": "TCP"})
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": wanted.name, "labels": wanted.labels},
        "spec": {"type": "ClusterIP", "selector": wanted.labels, "ports": ports},
    }


def _budget(wanted: Wanted) -> dict[str, Any]:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": wanted.name, "labels": wanted.labels},
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": wanted.labels}},
    }


def _network(wanted: Wanted) -> dict[str, Any]:
    ports = [HTTP_PORT, GRPC_PORT] if wanted.grpc else [HTTP_PORT]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": wanted.name, "labels": wanted.labels},
        "spec": {
            "podSelector": {"matchLabels": wanted.labels},
            "policyTypes": ["Ingress"],
            "ingress": [{"ports": [{"port": port, "protocol": "TCP"} for port in ports]}],
        },
    }

"""A pod: one process of `fivefold serve`, as no user that matters, writing nowhere but into its own folders."""

from __future__ import annotations

import math
from typing import Any

from fivefold.realtime.kubernetes.wanted import GRPC_PORT, HTTP_PORT, Wanted
from fivefold.realtime.processes.process import DRAIN_SECONDS, FAREWELL_SECONDS, SETTLE_SECONDS
from fivefold.realtime.processes.supervisor import START_SECONDS

APP = "/app"
USER = 10001
PRE_STOP_SECONDS = 5
"""How long a pod goes on as before when it is to end: so long do proxies send requests to it that do not know yet."""
_STARTUP_PERIOD = 2

GRACE_SECONDS = PRE_STOP_SECONDS + math.ceil(FAREWELL_SECONDS + DRAIN_SECONDS + SETTLE_SECONDS)
"""After so long a pod is killed: what it promises its clients, and its log, is done by then."""


def pod_spec(wanted: Wanted, container: str = "fivefold") -> dict[str, Any]:
    """The specification of a pod, the same for a Deployment and for KServe but for the container's name."""
    volumes: list[dict[str, Any]] = [
        {"name": "settings", "configMap": {"name": f"{wanted.name}-settings"}},
        {"name": "state", "emptyDir": {}},
        {"name": "tmp", "emptyDir": {}},
    ]
    if wanted.tls_secret:
        volumes.append({"name": "tls", "secret": {"secretName": wanted.tls_secret}})
    return {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(wanted, container)],
        "volumes": volumes,
    }


def command(wanted: Wanted) -> list[str]:
    """The words of `fivefold` in a pod."""
    words = ["serve", "--project", APP, "--env", wanted.env, "--host", "0.0.0.0", "--port", str(HTTP_PORT)]
    for name in wanted.endpoints:
        words += ["--endpoint", name]
    if wanted.grpc:
        words += ["--grpc-port", str(GRPC_PORT)]
    if wanted.tls_secret:
        return [*words, "--tls-cert", "/tls/tls.crt", "--tls-key", "/tls/tls.key"]
    return [*words, "--insecure-http"]


def _container(wanted: Wanted, name: str) -> dict[str, Any]:
    ports: list[dict[str, Any]] = [{"name": "http", "containerPort": HTTP_PORT, "protocol": "TCP"}]
    if wanted.grpc:
        ports.append({"name": "grpc", "containerPort": GRPC_PORT, "protocol": "TCP"})
    mounts: list[dict[str, Any]] = [
        {"name": "settings", "mountPath": f"{APP}/fivefold.toml", "subPath": "fivefold.toml", "readOnly": True},
        {"name": "state", "mountPath": wanted.state if wanted.state.startswith("/") else f"{APP}/{wanted.state}"},
        {"name": "tmp", "mountPath": "/tmp"},
    ]
    if wanted.tls_secret:
        mounts.append({"name": "tls", "mountPath": "/tls", "readOnly": True})
    return {
        "name": name,
        "image": wanted.image,
        "args": command(wanted),
        "env": [
            {"name": "HOME", "value": "/tmp"},
            # a user without a name in the image has no other one in the audit log
            {"name": "FIVEFOLD_ACTOR", "value": wanted.name},
            *({"name": s, "valueFrom": _secret(wanted, s)} for s in wanted.secrets),
        ],
        "ports": ports,
        "startupProbe": _probe(
            wanted, "/health", _STARTUP_PERIOD, failures=math.ceil(START_SECONDS / _STARTUP_PERIOD), seconds=2
        ),
        "livenessProbe": _probe(wanted, "/health", 10, failures=3, seconds=5),
        "readinessProbe": _probe(wanted, "/v2/health/ready", 2, failures=2, seconds=2),
        "lifecycle": {"preStop": {"exec": {"command": ["sleep", str(PRE_STOP_SECONDS)]}}},
        "resources": {
            # without a limit of the processor: being held back for a while is what makes answers late
            "requests": {"cpu": wanted.cpu, "memory": wanted.memory},
            "limits": {"memory": wanted.memory},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": mounts,
    }


def _secret(wanted: Wanted, key: str) -> dict[str, Any]:
    return {"secretKeyRef": {"name": f"{wanted.name}-secrets", "key": key}}


def _probe(wanted: Wanted, path: str, period: int, *, failures: int, seconds: int) -> dict[str, Any]:
    return {
        "httpGet": {
            "path": path,
            "port": "http",
            "scheme": "HTTPS" if wanted.tls_secret else "HTTP",
            # by itself it would be the pod's address, which is no name of the server
            "httpHeaders": [{"name": "Host", "value": "localhost"}],
        },
        "periodSeconds": period,
        "timeoutSeconds": seconds,
        "failureThreshold": failures,
    }

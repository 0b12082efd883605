"""Manifests against the schemas of Kubernetes itself, and what must never be in them."""

from __future__ import annotations

import copy
import json
import math
import os
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from shop_project import PROJECT
from typer.testing import CliRunner

from fivefold.cli.main import app
from fivefold.core.errors import FivefoldError, Invalid, NotFound, Several
from fivefold.realtime.kubernetes import text
from fivefold.realtime.kubernetes.image import dockerfile
from fivefold.realtime.kubernetes.objects import inference_service, objects, settings_map
from fivefold.realtime.kubernetes.pod import GRACE_SECONDS, PRE_STOP_SECONDS
from fivefold.realtime.kubernetes.reading import read_wanted
from fivefold.realtime.kubernetes.scaling import METRIC, adapter_rules
from fivefold.realtime.kubernetes.wanted import Wanted, label
from fivefold.realtime.processes.autoscaler import Policy
from fivefold.realtime.processes.process import DRAIN_SECONDS, FAREWELL_SECONDS

SETTINGS = """
project = "Corner Shop"

[env.prod]
catalog = "env:CATALOG_URL"
artifacts = "s3://models/shop"
online = "redis://redis.internal:6379/0"
stream = "kafka://kafka.internal:9092"
hosts = ["models.example.com", "corner-shop-prod.default.svc"]
options.s3 = {access_key_id = "env:S3_KEY", secret_access_key = "env:S3_SECRET"}

[env.small]
hosts = ["*"]
"""
STREAM = '''
clicks = ff.Stream("clicks", {"customer_id": str, "at": "timestamp"}, time="at")
'''
VERSIONS = ["1.27", "1.30", "1.37"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "project.py").write_text(PROJECT)
    (tmp_path / "fivefold.toml").write_text(SETTINGS)
    return tmp_path


@pytest.fixture(params=[{}, {"grpc": True, "tls_secret": "shop-tls", "replicas": "3", "endpoints": ["returned"]}])
def wanted(folder: Path, request: pytest.FixtureRequest) -> Wanted:
    return read_wanted(folder, "prod", **request.param)[0]


def one(kind: str, wanted: Wanted) -> dict[str, Any]:
    (found,) = [o for o in objects(wanted) if o["kind"] == kind]
    return found


def container(wanted: Wanted) -> dict[str, Any]:
    (found,) = one("Deployment", wanted)["spec"]["template"]["spec"]["containers"]
    return found


@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_is_what_kubernetes_takes_and_nothing_more(wanted: Wanted, version: str) -> None:
    for each in objects(wanted):
        kubernetes_validate.validate(each, version, strict=True)


@pytest.mark.parametrize(("kind", "path", "value"), [
    ("Deployment", "spec.template.spec.containers.0.readinessProbe.httpGet.path", 7),
    ("Deployment", "spec.template.spec.containers.0.readyProbe", {}),
    ("Deployment", "spec.selector", None),
    ("Deployment", "spec.template.spec.terminationGracePeriodSeconds", "26s"),
    ("Service", "spec.ports.0.port", "http"),
    ("HorizontalPodAutoscaler", "spec.maxReplicas", None),
    ("HorizontalPodAutoscaler", "spec.metrics.0.pods.target.average", "5"),
    ("PodDisruptionBudget", "spec.maxUnavailable", [1]),
    ("NetworkPolicy", "spec.policyTypes", "Ingress"),
    ("ConfigMap", "data", {"fivefold.toml": 3}),
])
def test_the_schemas_find_what_is_wrong(folder: Path, kind: str, path: str, value: Any) -> None:
    made = copy.deepcopy(one(kind, read_wanted(folder, "prod")[0]))
    *way, last = path.split(".")
    at: Any = made
    for step in way:
        at = at[int(step)] if step.isdigit() else at[step]
    if value is None:
        del at[last]
    else:
        at[last] = value
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(made, VERSIONS[-1], strict=True)


PREDICTOR = {"minReplicas": int, "maxReplicas": int, "scaleMetric": str, "scaleTarget": int, "labels": dict, "annotations": dict}


def test_the_inference_service_is_a_pod_with_a_scale(wanted: Wanted) -> None:
    """Its predictor is a pod's specification, which Kubernetes' own schema checks, and some fields of KServe's."""
    made = inference_service(wanted)
    predictor = dict(made["spec"]["predictor"])
    for name, kind in PREDICTOR.items():
        assert isinstance(predictor.pop(name), kind), name
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": made["metadata"], "spec": predictor}
    kubernetes_validate.validate(pod, VERSIONS[-1], strict=True)
    assert (made["apiVersion"], made["kind"]) == ("serving.kserve.io/v1beta1", "InferenceService")
    assert made["spec"]["predictor"]["scaleTarget"] == math.floor(Policy().target)
    assert predictor["containers"][0]["name"] == "kserve-container"


@pytest.mark.skipif("KSERVE_CRD" not in os.environ, reason="KSERVE_CRD names no serving.kserve.io_inferenceservices.yaml")
def test_the_inference_service_is_what_the_definition_of_kserve_takes(wanted: Wanted) -> None:
    definition = yaml.load(Path(os.environ["KSERVE_CRD"]).read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    (schema,) = [v["schema"]["openAPIV3Schema"] for v in definition["spec"]["versions"] if v["name"] == "v1beta1"]
    check = jsonschema.Draft4Validator(strict(schema))
    check.validate(inference_service(wanted))
    for path, value in ((("scaleMetric",), "under_way"), (("scaleTarget",), "5"), (("containers", 0, "readyProbe"), {})):
        wrong: Any = copy.deepcopy(inference_service(wanted))
        at = wrong["spec"]["predictor"]
        for step in path[:-1]:
            at = at[step]
        at[path[-1]] = value
        assert not check.is_valid(wrong), path


def strict(schema: Any) -> Any:
    """A schema of a definition as JSON Schema: Kubernetes drops unknown fields, here they are errors."""
    if isinstance(schema, list):
        return [strict(s) for s in schema]
    if not isinstance(schema, dict):
        return schema
    made = {k: strict(v) for k, v in schema.items() if not k.startswith("x-kubernetes")}
    if schema.get("x-kubernetes-int-or-string"):
        made.pop("type", None)
    if "properties" in schema and schema["properties"] and "additionalProperties" not in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        made["additionalProperties"] = False
    return made


def test_pods_leave_in_order_and_are_asked_by_a_name_of_theirs(wanted: Wanted) -> None:
    made = container(wanted)
    assert GRACE_SECONDS >= PRE_STOP_SECONDS + FAREWELL_SECONDS + DRAIN_SECONDS + 1
    assert one("Deployment", wanted)["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == GRACE_SECONDS
    assert made["lifecycle"]["preStop"]["exec"]["command"] == ["sleep", "5"]
    for name, path in (("livenessProbe", "/health"), ("readinessProbe", "/v2/health/ready"), ("startupProbe", "/health")):
        get = made[name]["httpGet"]
        assert (get["path"], get["httpHeaders"]) == (path, [{"name": "Host", "value": "localhost"}])
        assert get["scheme"] == ("HTTPS" if wanted.tls_secret else "HTTP")


def test_pods_are_nobody_and_write_nowhere_but_into_their_own(wanted: Wanted) -> None:
    pod = one("Deployment", wanted)["spec"]["template"]["spec"]
    made = container(wanted)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert made["securityContext"] == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    assert pod["automountServiceAccountToken"] is False
    writable = {m["mountPath"] for m in made["volumeMounts"] if not m.get("readOnly")}
    assert writable == {"/tmp", "/app/.fivefold/env-prod"}


def test_selectors_select_the_pods(wanted: Wanted) -> None:
    labels = one("Deployment", wanted)["spec"]["template"]["metadata"]["labels"]
    assert one("Service", wanted)["spec"]["selector"] == labels
    for kind in ("PodDisruptionBudget", "Deployment"):
        assert one(kind, wanted)["spec"]["selector"]["matchLabels"] == labels
    assert one("NetworkPolicy", wanted)["spec"]["podSelector"]["matchLabels"] == labels
    names = {p["name"] for p in container(wanted)["ports"]}
    assert {p["targetPort"] for p in one("Service", wanted)["spec"]["ports"]} == names
    assert one("HorizontalPodAutoscaler", wanted)["spec"]["scaleTargetRef"]["name"] == one("Deployment", wanted)["metadata"]["name"]


def test_pods_are_as_many_as_our_own_autoscaler_aims_at(wanted: Wanted) -> None:
    spec = one("HorizontalPodAutoscaler", wanted)["spec"]
    (metric,) = spec["metrics"]
    assert metric["pods"] == {"metric": {"name": METRIC}, "target": {"type": "AverageValue", "averageValue": "5600m"}}
    assert int(metric["pods"]["target"]["averageValue"][:-1]) / 1000 == Policy().target
    assert spec["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == Policy().down_after
    (rule,) = adapter_rules(wanted)["rules"]["custom"]
    assert rule["name"]["as"] == METRIC


def test_secrets_are_referred_to_and_never_written(wanted: Wanted) -> None:
    given = {e["name"]: e.get("valueFrom", {}).get("secretKeyRef") for e in container(wanted)["env"]}
    for name in ("CATALOG_URL", "S3_KEY", "S3_SECRET"):
        assert given[name] == {"name": "corner-shop-prod-secrets", "key": name}
    assert {o["kind"] for o in objects(wanted)}.isdisjoint({"Secret"})


@pytest.mark.parametrize(("line", "told"), [
    ('catalog = "postgresql://shop:hunter22@db/shop"', "catalog"),
    ('catalog = "postgresql://shop@db/shop?password=hunter22"', "catalog"),
    ('options.s3 = {secret_access_key = "hunter22"}', "secret_access_key"),
    ('tables.orders = "postgresql://reader:hunter22@warehouse/shop?table=orders"', "tables.orders"),
])
def test_a_password_in_the_settings_of_any_environment_is_refused(folder: Path, line: str, told: str) -> None:
    (folder / "fivefold.toml").write_text(f"{SETTINGS}\n[env.other]\n{line}\n")
    with pytest.raises(Invalid, match=told) as e:
        read_wanted(folder, "prod")
    assert "hunter22" not in str(e.value)
    assert "env:NAME" in e.value.hint


def test_stores_of_one_machine_are_refused_all_at_once_with_what_to_write(folder: Path) -> None:
    (folder / "project.py").write_text(PROJECT + STREAM)
    with pytest.raises(Several) as e:
        read_wanted(folder, "small")
    told = str(e.value)
    for part in ("catalog is sqlite:", "artifacts is files:", "online is lmdb:", "streams.clicks is log:", "postgresql://", "s3://", "redis://", "kafka://"):
        assert part in told, part


@pytest.mark.parametrize(("old", "new", "told"), [
    ('"redis://redis.internal:6379/0"', '"lmdb:here"', "online is lmdb:here"),
    ('"s3://models/shop"', '"models"', "artifacts is models"),
    ('"env:CATALOG_URL"', '"sqlite:///c.db"', "catalog is sqlite"),
    ('hosts = ["models.example.com", "corner-shop-prod.default.svc"]', "", "no hosts"),
])
def test_one_store_of_one_machine_is_refused(folder: Path, old: str, new: str, told: str) -> None:
    (folder / "fivefold.toml").write_text(SETTINGS.replace(old, new))
    with pytest.raises(Invalid, match=told):
        read_wanted(folder, "prod")


def test_a_log_of_one_machine_does_not_matter_to_a_project_without_streams(folder: Path) -> None:
    (folder / "fivefold.toml").write_text(SETTINGS.replace('stream = "kafka://kafka.internal:9092"\n', ""))
    assert read_wanted(folder, "prod")[1] == ["catalog"]


@pytest.mark.parametrize(("more", "kind"), [
    ({"endpoints": ["other"]}, NotFound), ({"replicas": "0"}, Invalid), ({"cpu": "much"}, Invalid), ({"memory": "1 GB"}, Invalid),
    ({"image": "a b"}, Invalid), ({"tls_secret": "A_b"}, Invalid),
])
def test_what_is_asked_for_wrongly_is_refused(folder: Path, more: dict[str, Any], kind: type[FivefoldError]) -> None:
    with pytest.raises(kind):
        read_wanted(folder, "prod", **more)


def test_the_image_has_what_the_stores_need(wanted: Wanted) -> None:
    made = dockerfile(wanted)
    assert "fivefold[kafka,redis,s3]==" in made
    assert "USER 10001:10001" in made
    assert ".fivefold" not in made


def run(folder: Path, *words: str, status: int = 0) -> str:
    found = CliRunner().invoke(app, ["manifests", "--project", str(folder), "--env", "prod", *words])
    assert found.exit_code == status, found.output
    return found.stdout


def test_the_command_writes_the_same_bytes_each_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(folder, "--out", str(folder / "a"), "--image", "shop:2")
    monkeypatch.setenv("CATALOG_URL", "postgresql://shop:hunter22@db/shop")
    run(folder, "--out", str(folder / "b"), "--image", "shop:2")
    names = sorted(p.name for p in (folder / "a").iterdir())
    assert names == ["Dockerfile", "Dockerfile.dockerignore", "kserve.yaml", "kubernetes.yaml", "prometheus-adapter.yaml"]
    for name in names:
        assert (folder / "a" / name).read_bytes() == (folder / "b" / name).read_bytes()
        assert "hunter22" not in (folder / "b" / name).read_text()


def test_yaml_and_json_say_the_same(folder: Path) -> None:
    told = json.loads(run(folder, "--json"))
    assert list(yaml.safe_load_all(run(folder))) == told["objects"]
    run(folder, "--out", str(folder / "out"))
    assert list(yaml.safe_load_all((folder / "out" / "kserve.yaml").read_text())) == told["kserve"]
    assert yaml.safe_load((folder / "out" / "prometheus-adapter.yaml").read_text()) == told["prometheus_adapter"]
    assert told["kserve"][0] == settings_map(read_wanted(folder, "prod")[0])


def test_the_settings_in_the_pod_are_those_of_the_project(folder: Path) -> None:
    wanted = read_wanted(folder, "prod")[0]
    assert one("ConfigMap", wanted)["data"] == {"fivefold.toml": SETTINGS}
    before = one("Deployment", wanted)["spec"]["template"]["metadata"]["annotations"]["fivefold/settings-sha256"]
    (folder / "fivefold.toml").write_text(SETTINGS + "# changed\n")
    after = one("Deployment", read_wanted(folder, "prod")[0])["spec"]["template"]["metadata"]["annotations"]["fivefold/settings-sha256"]
    assert before != after


@pytest.mark.parametrize(("name", "made"), [("Corner Shop", "corner-shop"), ("7up", "ff-7up"), ("a" * 80, "a" * 50), ("Flüge_2", "fl-ge-2")])
def test_names_are_made_fit(name: str, made: str) -> None:
    assert label(name) == made


scalars = st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(["yes", "1.5", "a: b", "- a", "x\ny\n", " x\ny\n", "x\n\n", "~", "1e3", "0x1"])
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=12)


@given(st.dictionaries(st.text(), values, min_size=1, max_size=4))
def test_what_is_written_is_read_again(value: dict[str, Any]) -> None:
    assert yaml.safe_load(text.yaml(value)) == value

"""Health, metadata and inference in JSON."""

from __future__ import annotations

from fivefold.features.fields import shown
from fivefold.realtime.conformance.asking import Http, Skipped, Wrong, model_path, require_refused, require_texts
from fivefold.realtime.conformance.sample import Sample, answered, checked_metadata, require_same


def live(http: Http) -> None:
    """the server says that it is live"""
    if (status := http.ask("GET", "/v2/health/live").status) != 200:
        raise Wrong(f"GET /v2/health/live: status {status}, not 200")


def ready(http: Http) -> None:
    """the server says that it is ready"""
    if (status := http.ask("GET", "/v2/health/ready").status) != 200:
        raise Wrong(f"GET /v2/health/ready: status {status}, not 200")


def server_metadata(http: Http) -> None:
    """server metadata has a name, a version and extensions"""
    told = http.told("GET", "/v2")
    require_texts(told, "server metadata", "name", "version")
    extensions = told.get("extensions")
    if not isinstance(extensions, list) or not all(isinstance(e, str) for e in extensions):
        raise Wrong(f"server metadata: extensions is {shown(extensions)}, not a list of texts")


def model_ready(http: Http, asked: Sample) -> None:
    """the model says that it is ready"""
    path = f"{model_path(asked.model)}/ready"
    if (status := http.ask("GET", path).status) != 200:
        raise Wrong(f"GET {path}: status {status}, not 200")


def model_metadata(http: Http, asked: Sample) -> None:
    """model metadata is well-formed"""
    told = http.told("GET", model_path(asked.model))
    checked_metadata(told)
    if told["name"] != asked.model:
        raise Wrong(f"model metadata: name is {told['name']!r}, not {asked.model!r}")


def versions(http: Http, asked: Sample) -> None:
    """a version in the path is the one that metadata lists"""
    if not asked.version:
        raise Skipped("the model lists no versions")
    path = model_path(asked.model, asked.version)
    checked_metadata(http.told("GET", path))
    if (status := http.ask("GET", f"{path}/ready").status) != 200:
        raise Wrong(f"GET {path}/ready: status {status}, not 200")
    answered(http.ask("POST", f"{path}/infer", asked.body()), asked, "inference with a version")


def unknown_version(http: Http, asked: Sample) -> None:
    """a version that there is not is refused"""
    path = model_path(asked.model, "987654321")
    require_refused(http.ask("POST", f"{path}/infer", asked.body()), "inference with the version 987654321")


def infer(http: Http, asked: Sample) -> None:
    """inference answers all outputs of the metadata"""
    found = answered(http.ask("POST", asked.path, asked.body(), content_type="application/json"), asked, "inference")
    if missing := [o for o in asked.outputs if o not in found]:
        raise Wrong(f"inference: the outputs {', '.join(missing)} are missing (have: {', '.join(found)})")
    if unknown := [o for o in found if o not in asked.outputs]:
        raise Wrong(f"inference: the outputs {', '.join(unknown)} are not in the metadata")


def without_content_type(http: Http, asked: Sample) -> None:
    """inference without a Content-Type, as Triton's client sends it, is answered"""
    answered(http.ask("POST", asked.path, asked.body()), asked, "inference without a Content-Type")


def request_id(http: Http, asked: Sample) -> None:
    """the id of a request comes back"""
    told = http.told("POST", asked.path, asked.body(id="f7-é"))
    if told.get("id") != "f7-é":
        raise Wrong(f"inference: id is {shown(told.get('id'))}, not 'f7-é'")


def nested(http: Http, asked: Sample) -> None:
    """nested data means what flat data means"""
    if not any(len(t.shape) > 1 for t in asked.inputs):
        raise Skipped("no input has two dimensions")
    inputs = [t.json() | {"data": _nest(t.data, t.shape)} for t in asked.inputs]
    whole = answered(http.ask("POST", asked.path, asked.body()), asked, "inference")
    found = answered(http.ask("POST", asked.path, asked.body(inputs)), asked, "inference with nested data")
    require_same(found, whole, "inference with nested data")


def chosen_outputs(http: Http, asked: Sample) -> None:
    """only the outputs that are asked for are answered"""
    for name in asked.outputs:
        reply = http.ask("POST", asked.path, asked.body(outputs=[{"name": name}]))
        found = answered(reply, asked, f"inference for {name}")
        if list(found) != [name]:
            raise Wrong(f"inference for {name}: the outputs are {', '.join(found)}")


def _nest(data: list[object], shape: list[int]) -> list[object]:
    if len(shape) < 2:
        return data
    step = len(data) // shape[0] if shape[0] else 0
    return [_nest(data[i * step : (i + 1) * step], shape[1:]) for i in range(shape[0])]

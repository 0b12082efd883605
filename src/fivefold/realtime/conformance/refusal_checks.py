"""What must be refused, with a 4xx that says why, and without harm."""

from __future__ import annotations

from fivefold.realtime.conformance.asking import Http, Wrong, model_path, require_refused
from fivefold.realtime.conformance.sample import Sample, answered

_NOBODY = "there-is-no-such-model"


def unknown_model(http: Http, asked: Sample) -> None:
    """a model that there is not is refused, as metadata and for inference, and is not ready"""
    require_refused(http.ask("GET", model_path(_NOBODY)), "metadata of an unknown model")
    require_refused(http.ask("POST", f"{model_path(_NOBODY)}/infer", asked.body()), "inference of an unknown model")
    status = http.ask("GET", f"{model_path(_NOBODY)}/ready").status
    if not 400 <= status < 500:
        raise Wrong(f"readiness of an unknown model: status {status}, not 4xx")


def unknown_output(http: Http, asked: Sample) -> None:
    """an output that there is not is refused"""
    body = asked.body(outputs=[{"name": "there-is-no-such-output"}])
    require_refused(http.ask("POST", asked.path, body), "an unknown output")


def unknown_input(http: Http, asked: Sample) -> None:
    """an input that there is not is refused"""
    more = {"name": "there-is-no-such-input", "datatype": "FP32", "shape": [1], "data": [1]}
    require_refused(
        http.ask("POST", asked.path, asked.body([*[t.json() for t in asked.inputs], more])), "an unknown input"
    )


def missing_input(http: Http, asked: Sample) -> None:
    """a request without an input is refused"""
    require_refused(http.ask("POST", asked.path, asked.body([])), "a request with no input")


def wrong_datatype(http: Http, asked: Sample) -> None:
    """an input of another datatype is refused"""
    first, *rest = [t.json() for t in asked.inputs]
    other = {"datatype": "BOOL", "data": [True] * len(first["data"])}
    if first["datatype"] == "BOOL":
        other = {"datatype": "BYTES", "data": ["x"] * len(first["data"])}
    require_refused(http.ask("POST", asked.path, asked.body([first | other, *rest])), "an input of another datatype")


def wrong_shape(http: Http, asked: Sample) -> None:
    """data of another length than the shape says is refused"""
    first, *rest = [t.json() for t in asked.inputs]
    for data in (first["data"] * 2 or [1], []):
        body = asked.body([first | {"data": data}, *rest])
        require_refused(http.ask("POST", asked.path, body), f"{len(data)} values in the shape {first['shape']}")


def odd_shapes(http: Http, asked: Sample) -> None:
    """a shape that is negative, or larger than any memory, is refused"""
    first, *rest = [t.json() for t in asked.inputs]
    for shape in ([-1] * len(first["shape"]), [2**40] * max(len(first["shape"]), 1), [2**62, 4]):
        body = asked.body([first | {"shape": shape}, *rest])
        require_refused(http.ask("POST", asked.path, body), f"the shape {shape}")


def no_json(http: Http, asked: Sample) -> None:
    """a body that is no request is refused"""
    for body in (b"", b"{", b"[]", b"null", b'{"inputs": 1}', b'{"inputs": [1]}', b"\xff\xfe", b"[" * 100_000):
        require_refused(http.ask("POST", asked.path, body), f"the body {body[:20]!r}")


def other_verbs(http: Http, asked: Sample) -> None:
    """inference by GET, and metadata by POST, are refused"""
    for method, path in (("GET", asked.path), ("POST", model_path(asked.model))):
        status = http.ask(method, path).status
        if not 400 <= status < 500:
            raise Wrong(f"{method} {path}: status {status}, not 4xx")


def still_well(http: Http, asked: Sample) -> None:
    """after all that the model answers as before"""
    answered(http.ask("POST", asked.path, asked.body()), asked, "inference after refusals")

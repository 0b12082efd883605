"""The extension `binary_tensor_data`: tensors as bytes after the JSON, compressed or not."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import Any

from fivefold.realtime.conformance.asking import Http, Skipped, Wrong, require_refused
from fivefold.realtime.conformance.sample import Sample, answered, require_same

EXTENSION = "binary_tensor_data"


def binary_inputs(http: Http, asked: Sample) -> None:
    """binary inputs mean what JSON means"""
    body, length = _binary(http, asked)
    reply = http.ask("POST", asked.path, body, inference_header_content_length=length)
    require_same(answered(reply, asked, "binary inputs"), _whole(http, asked), "binary inputs")


def binary_outputs(http: Http, asked: Sample) -> None:
    """binary outputs, all of them or one, mean what JSON means"""
    _require_extension(http)
    whole = _whole(http, asked)
    body = asked.body(parameters={"binary_data_output": True})
    reply = http.ask("POST", asked.path, body)
    if "inference-header-content-length" not in reply.headers:
        raise Wrong("binary outputs: the answer has no Inference-Header-Content-Length")
    require_same(answered(reply, asked, "binary outputs"), whole, "binary outputs")
    for name in asked.outputs:
        for binary in (True, False):
            body = asked.body(outputs=[{"name": name, "parameters": {"binary_data": binary}}])
            reply = http.ask("POST", asked.path, body)
            what = f"{name} with binary_data {str(binary).lower()}"
            if binary != ("inference-header-content-length" in reply.headers):
                raise Wrong(f"{what}: Inference-Header-Content-Length is {'missing' if binary else 'there'}")
            require_same(answered(reply, asked, what), whole, what)


def broken_binary(http: Http, asked: Sample) -> None:
    """binary tensors that are cut, or lengths that do not hold, are refused"""
    body, length = _binary(http, asked)
    for what, given, header in (
        ("a body that is cut", body[:-1], length),
        ("a body with bytes behind", body + b"\0", length),
        ("a header beyond the body", body, str(len(body) + 1)),
        ("a header that is no number", body, "x"),
        ("a negative header", body, "-5"),
    ):
        require_refused(http.ask("POST", asked.path, given, inference_header_content_length=header), what)


def compressed(http: Http, asked: Sample) -> None:
    """requests in gzip and deflate are answered, and damaged ones refused"""
    body, length = _binary(http, asked)
    whole = _whole(http, asked)
    for encoding, packed in (("gzip", gzip.compress(body)), ("deflate", zlib.compress(body))):
        headers = {"content_encoding": encoding, "inference_header_content_length": length}
        reply = http.ask("POST", asked.path, packed, **headers)
        if reply.status in (415, 501):
            raise Skipped(f"{encoding} is not supported")
        require_same(answered(reply, asked, encoding), whole, encoding)
        require_refused(http.ask("POST", asked.path, packed[:-5], **headers), f"{encoding} that is cut")
        require_refused(http.ask("POST", asked.path, body, **headers), f"what is not {encoding}")


def _whole(http: Http, asked: Sample) -> dict[str, list[Any]]:
    return answered(http.ask("POST", asked.path, asked.body()), asked, "inference")


def _binary(http: Http, asked: Sample) -> tuple[bytes, str]:
    _require_extension(http)
    raws = [t.raw() for t in asked.inputs]
    inputs = []
    for tensor, raw in zip(asked.inputs, raws, strict=True):
        told = tensor.json() | {"parameters": {"binary_data_size": len(raw)}}
        del told["data"]
        inputs.append(told)
    head = json.dumps({"inputs": inputs}).encode()
    return b"".join([head, *raws]), str(len(head))


def _require_extension(http: Http) -> None:
    told = http.told("GET", "/v2")
    if not isinstance(told, dict) or EXTENSION not in (told.get("extensions") or ()):
        raise Skipped(f"the server does not list the extension {EXTENSION}")

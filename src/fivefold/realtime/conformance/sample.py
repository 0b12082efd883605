"""A request that a model should answer, made from its metadata, and what its answer holds."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from fivefold.core.errors import FivefoldError
from fivefold.features.fields import shown
from fivefold.realtime.conformance.asking import Reply, Skipped, Wrong, model_path, require_texts
from fivefold.realtime.protocols.tensors import NUMBERS, from_raw, to_raw

DATATYPES = (*NUMBERS, "BYTES", "BF16")
_TOLERANCE = 1e-5
"""Relative: a server may write numbers of 32 bits as short decimals."""


class Tensor(msgspec.Struct):
    """An input with its values, row-major and flat."""

    name: str
    datatype: str
    shape: list[int]
    data: list[Any]

    def json(self) -> dict[str, Any]:
        """As JSON has it."""
        return msgspec.to_builtins(self)  # type: ignore[no-any-return]

    def raw(self) -> bytes:
        """As a binary tensor. Raises Skipped for BF16, which numpy does not have."""
        if self.datatype == "BF16":
            raise Skipped("a BF16 tensor is not made here")
        return to_raw(self.data, self.datatype)


class Sample(msgspec.Struct):
    """A model and a request for it."""

    model: str
    version: str
    inputs: list[Tensor]
    outputs: list[str]

    @property
    def path(self) -> str:
        """The path of inference."""
        return f"{model_path(self.model)}/infer"

    def body(self, inputs: Sequence[Mapping[str, Any]] | None = None, **more: Any) -> bytes:
        """A JSON request, with other inputs where they are given."""
        return json.dumps({"inputs": [t.json() for t in self.inputs] if inputs is None else inputs, **more}).encode()


def sample(metadata: Any, given: Sequence[Mapping[str, Any]] = ()) -> Sample:
    """A request of the least shape that metadata allows: ones, or the inputs given. Raises Wrong for odd metadata."""
    checked_metadata(metadata)
    inputs = [_made(i) for i in metadata["inputs"]]
    if given:
        inputs = [msgspec.convert(dict(i), Tensor, strict=False) for i in given]
    versions = metadata.get("versions") or [""]
    return Sample(metadata["name"], str(versions[0]), inputs, [o["name"] for o in metadata["outputs"]])


def checked_metadata(told: Any) -> None:
    """Raise Wrong unless model metadata has what it must: name, platform, inputs and outputs, all well-formed."""
    require_texts(told, "model metadata", "name", "platform")
    versions = told.get("versions", [])
    if not isinstance(versions, list) or not all(isinstance(v, str) for v in versions):
        raise Wrong(f"model metadata: versions is {shown(versions)}, not a list of texts")
    for side in ("inputs", "outputs"):
        if not isinstance(told.get(side), list):
            raise Wrong(f"model metadata: {side} is {shown(told.get(side))}, not a list")
        for tensor in told[side]:
            require_texts(tensor, f"model metadata, {side}", "name", "datatype")
            if tensor["datatype"] not in DATATYPES:
                raise Wrong(f"model metadata: {tensor['name']} has the datatype {shown(tensor['datatype'])}")
            shape = tensor.get("shape")
            if not isinstance(shape, list) or not all(type(d) is int and d >= -1 for d in shape):
                raise Wrong(f"model metadata: {tensor['name']} has the shape {shown(shape)}")


def answered(reply: Reply, asked: Sample, what: str) -> dict[str, list[Any]]:
    """The values of each output of an answer, JSON or binary. Raises Wrong for one that does not hold together."""
    if reply.status != 200:
        raise Wrong(f"{what}: status {reply.status}, not 200 (body: {shown(reply.body)})")
    length, body = reply.headers.get("inference-header-content-length"), reply.body
    size = len(body)
    if length is not None:
        if not length.isdigit() or int(length) > size:
            raise Wrong(f"{what}: Inference-Header-Content-Length is {length!r}, and the body has {size} bytes")
        size = int(length)
    told = Reply(200, {}, body[:size]).json(what)
    require_texts(told, what, "model_name")
    if told["model_name"] != asked.model:
        raise Wrong(f"{what}: model_name is {told['model_name']!r}, not {asked.model!r}")
    if not isinstance(told.get("outputs"), list) or not told["outputs"]:
        raise Wrong(f"{what}: outputs is {shown(told.get('outputs'))}, not a list of tensors")
    found, rest = {}, body[size:]
    for tensor in told["outputs"]:
        values, rest = _values(tensor, rest, what)
        found[tensor["name"]] = values
    if rest:
        raise Wrong(f"{what}: {len(rest)} bytes follow the last tensor")
    return found


def require_same(found: Mapping[str, list[Any]], other: Mapping[str, list[Any]], what: str) -> None:
    """Raise Wrong unless two answers hold the same values, as far as their datatypes go."""
    for name, values in found.items():
        beside = other.get(name)
        if beside is None or len(beside) != len(values) or not all(map(_close, values, beside)):
            raise Wrong(f"{what}: {name} is {shown(values)}, and {shown(beside)} before")


def _made(told: Mapping[str, Any]) -> Tensor:
    shape = [1 if d == -1 else d for d in told["shape"]]
    one: Any = "x" if told["datatype"] == "BYTES" else told["datatype"] == "BOOL" or 1
    return Tensor(told["name"], told["datatype"], shape, [one] * math.prod(shape))


def _values(tensor: Any, rest: bytes, what: str) -> tuple[list[Any], bytes]:
    require_texts(tensor, f"{what}, an output", "name", "datatype")
    name, datatype, shape = tensor["name"], tensor["datatype"], tensor.get("shape")
    if datatype not in DATATYPES:
        raise Wrong(f"{what}: {name} has the datatype {shown(datatype)}")
    if not isinstance(shape, list) or not all(type(d) is int and d >= 0 for d in shape):
        raise Wrong(f"{what}: {name} has the shape {shown(shape)}")
    count = math.prod(shape)
    size = (tensor.get("parameters") or {}).get("binary_data_size")
    if size is None:
        values = flat(tensor.get("data"))
        if len(values) != count:
            raise Wrong(f"{what}: {name} has {len(values)} values, and the shape {shape}")
        return values, rest
    if type(size) is not int or not 0 <= size <= len(rest):
        raise Wrong(f"{what}: binary_data_size of {name} is {shown(size)}, and {len(rest)} bytes are left")
    return raw_values(name, datatype, rest[:size], count, what), rest[size:]


def raw_values(name: str, datatype: str, raw: bytes, count: int, what: str) -> list[Any]:
    """The values of a binary tensor, texts as texts. Raises Wrong for another length."""
    if datatype == "BF16":
        return list(raw)
    try:
        values = from_raw(name, datatype, raw, count)
    except FivefoldError as e:
        raise Wrong(f"{what}: {e.message.replace('input', 'output')}") from None
    return [v.decode(errors="replace") if isinstance(v, bytes) else v for v in values]


def flat(data: Any) -> list[Any]:
    """The values of data that may be nested."""
    return [v for d in data for v in flat(d)] if isinstance(data, list) else [data]


def _close(one: Any, other: Any) -> bool:
    if isinstance(one, float) or isinstance(other, float):
        if one is None or other is None or math.isnan(one):
            # JSON has no NaN: null stands for it
            return other is None or one is None or math.isnan(other)
        return math.isclose(one, other, rel_tol=_TOLERANCE, abs_tol=1e-9)
    return bool(one == other)

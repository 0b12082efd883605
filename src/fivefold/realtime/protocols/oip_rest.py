"""`POST /v2/models/{endpoint}/infer`: JSON, and after it the tensors that are sent or wanted in binary form."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from fivefold.core.errors import Invalid, Unsupported
from fivefold.features.fields import shown
from fivefold.realtime.protocols.batch import Batch, Outcome, Signature
from fivefold.realtime.protocols.bounds import decoded
from fivefold.realtime.protocols.oip import Values, batch, outputs, require_count, tensors
from fivefold.realtime.protocols.tensors import from_json, from_raw, require_datatype, rows_of_shape, to_raw


class Tensor(msgspec.Struct):
    """An input of a request."""

    name: str
    shape: list[int]
    datatype: str
    parameters: dict[str, Any] = {}
    data: Any = msgspec.UNSET


class Wanted(msgspec.Struct):
    """An output that a request asks for."""

    name: str
    parameters: dict[str, Any] = {}


class Infer(msgspec.Struct):
    """The JSON of a request; of an output it may be said that it is wanted in binary form, or of all of them."""

    inputs: list[Tensor]
    id: str = ""
    outputs: list[Wanted] = []
    parameters: dict[str, Any] = {}


class Asked(NamedTuple):
    """A batch, and which outputs are wanted in binary form."""

    batch: Batch
    binary: frozenset[str]


_infer = msgspec.json.Decoder(Infer)
_encode = msgspec.json.Encoder().encode


def decode(body: bytes, head: bytes, signature: Signature, version: str, started: int) -> Asked:
    """The batch of a body; `head` is the header `Inference-Header-Content-Length`, empty when there is none.

    Raises Invalid, naming the tensor, for what does not hold together, NotFound for an output that there is not,
    Unsupported for sequences, shared memory and classification.
    """
    length = _head_length(head, len(body))
    asked = decoded(_infer, memoryview(body)[:length])
    require_count(len(asked.inputs), "inputs")
    require_count(len(asked.outputs), "outputs")
    rest = memoryview(body)[length:]
    inputs: dict[str, Values] = {}
    rows: dict[str, int] = {}
    for tensor in asked.inputs:
        name, kind = tensor.name, signature.fields.get(tensor.name)
        if name in inputs:
            raise Invalid(f"the input {shown(name)} is there twice.")
        size = _binary_size(tensor)
        raw, rest = rest[:size], rest[size:]
        if kind is None:
            inputs[name] = Values("", ())
            continue
        require_datatype(name, tensor.datatype, kind)
        rows[name] = rows_of_shape(name, tensor.shape)
        if "binary_data_size" not in tensor.parameters:
            values = from_json(name, tensor.datatype, tensor.data, rows[name], len(tensor.shape))
        elif tensor.data is not msgspec.UNSET:
            raise Invalid(f"the input {name!r} has both data and binary_data_size.", hint="Send one of them.")
        elif len(raw) != size:
            raise Invalid(f"the input {name!r} is said to have {size} bytes, and the body has {len(raw)} left for it.")
        else:
            values = from_raw(name, tensor.datatype, raw, rows[name])
        inputs[name] = Values(tensor.datatype, values)
    if rest:
        raise Invalid(f"the body has {len(rest)} bytes after its tensors.")
    wanted = [o.name for o in asked.outputs]
    made = batch(
        signature,
        inputs,
        rows,
        id=asked.id,
        version=version,
        wanted=wanted,
        parameters=asked.parameters,
        started=started,
    )
    return Asked(made, _binary(asked, wanted or [o.name for o in outputs(signature)]))


def encode(outcome: Outcome, asked: Asked) -> tuple[bytes, int | None]:
    """The answer's body, and the length of its JSON when tensors follow it. NaN is null in JSON data.

    Raises Invalid when a row failed.
    """
    told: list[dict[str, Any]] = []
    raws: list[bytes] = []
    for output, values in tensors(outcome, asked.batch.outputs):
        about: dict[str, Any] = {"name": output.name, "datatype": output.datatype, "shape": output.shape}
        if output.name in asked.binary:
            raws.append(to_raw(values, output.datatype))
            about["parameters"] = {"binary_data_size": len(raws[-1])}
        else:
            about["data"] = values
        told.append(about)
    by = outcome.signature
    answer = {"model_name": by.endpoint, "model_version": str(by.version), "outputs": told}
    if asked.batch.id:
        answer["id"] = asked.batch.id
    head = _encode(answer)
    return (b"".join((head, *raws)), len(head)) if raws else (head, None)


def _head_length(head: bytes, size: int) -> int:
    if not head:
        return size
    if not head.isdigit() or len(head) > 12 or int(head) > size:
        raise Invalid(
            f"the header Inference-Header-Content-Length is {shown(head.decode('latin-1'))}, "
            f"and the body has {size} bytes.",
            hint="It is the length of the JSON before the tensors, before compression.",
        )
    return int(head)


def _binary_size(tensor: Tensor) -> int:
    if any(n.startswith("shared_memory") for n in tensor.parameters):
        raise Unsupported(f"the input {shown(tensor.name)} is in shared memory.", hint="Send it in the body.")
    size = tensor.parameters.get("binary_data_size", 0)
    if type(size) is not int or size < 0:
        raise Invalid(f"the input {shown(tensor.name)}: binary_data_size is {shown(size)} (accepted: a whole number).")
    return size


def _binary(asked: Infer, names: list[str]) -> frozenset[str]:
    everything = _flag(asked.parameters, "binary_data_output", False)
    each = {o.name: o.parameters for o in asked.outputs}
    for name, parameters in each.items():
        if parameters.get("classification"):
            raise Unsupported(f"the output {shown(name)}: classification.", hint="Ask for its values.")
        if any(n.startswith("shared_memory") for n in parameters):
            raise Unsupported(f"the output {shown(name)} is wanted in shared memory.", hint="Take it from the body.")
    return frozenset(n for n in names if _flag(each.get(n, {}), "binary_data", everything))


def _flag(parameters: dict[str, Any], name: str, default: bool) -> bool:
    value = parameters.get(name, default)
    if type(value) is not bool:
        raise Invalid(f"the parameter {name!r} is {shown(value)} (accepted: true, false).")
    return value

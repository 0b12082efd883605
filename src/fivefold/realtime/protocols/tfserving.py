"""TensorFlow Serving's REST: `instances` (rows) or `inputs` (columns) in, `predictions` or `outputs` back.

A multiclass model has two outputs, so that a prediction is an object of both; else it is a number. The answer has no
place for the error of one row: a row that fails, fails the request.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

import msgspec

from fivefold.core.errors import Invalid, NotFound
from fivefold.core.types import Type
from fivefold.features.fields import shown
from fivefold.realtime.protocols.batch import Batch, Outcome, Signature
from fivefold.realtime.protocols.bounds import decoded_with_nan, require_rows
from fivefold.realtime.protocols.oip import outputs, tensors
from fivefold.realtime.protocols.rows import batch_of_columns, batch_of_whole
from fivefold.realtime.protocols.tensors import DATATYPE

_SEND = 'Send {"instances": [{"field": value, …}, …]}, or {"inputs": {"field": [value, …], …}}.'
_KEYS = ("signature_name", "instances", "inputs")
_SIGNATURE = "serving_default"
_DTYPES = {"INT64": "DT_INT64", "FP64": "DT_DOUBLE", "BOOL": "DT_BOOL", "BYTES": "DT_STRING"}

_json: msgspec.json.Decoder[Any] = msgspec.json.Decoder()
_encode = msgspec.json.Encoder().encode


def decode(body: bytes, signature: Signature, version: str, started: int) -> tuple[Batch, bool]:
    """The batch of a request, and whether it was in rows.

    Raises Invalid, naming row and field, for what is not accepted, NotFound for another signature.
    """
    given = decoded_with_nan(_json, body, _SEND)
    if not isinstance(given, dict):
        raise Invalid(f"the body is {shown(given)}, not an object.", hint=_SEND)
    for key in given:
        if key not in _KEYS:
            raise Invalid(f"the body has the key {shown(key)} (accepted: {', '.join(_KEYS)}).", hint=_SEND)
    if ("instances" in given) == ("inputs" in given):
        raise Invalid(f"the body has {'both' if 'inputs' in given else 'neither'} instances and inputs.", hint=_SEND)
    named = given.get("signature_name", "")
    if named not in ("", _SIGNATURE):
        raise NotFound(f"no signature {shown(named)} (have: {_SIGNATURE}).")
    if "instances" in given:
        return _of_rows(given["instances"], signature, version, started), True
    return _of_columns(given["inputs"], signature, version, started), False


def encode(outcome: Outcome, by_row: bool) -> bytes:
    """The answer to a request in rows, or in columns. Raises Invalid when a row failed."""
    made = {output.name: _listed(output.shape, values) for output, values in tensors(outcome, ())}
    if len(made) == 1:
        (only,) = made.values()
        return _encode({"predictions" if by_row else "outputs": only})
    if not by_row:
        return _encode({"outputs": made})
    rows = [dict(zip(made, row, strict=True)) for row in zip(*made.values(), strict=True)]
    return _encode({"predictions": rows})


def status(signature: Signature) -> bytes:
    """The answer to `GET /v1/models/{endpoint}`."""
    ok = {"error_code": "OK", "error_message": ""}
    told = {"version": str(signature.version), "state": "AVAILABLE", "status": ok}
    return _encode({"model_version_status": [told]})


def metadata(signature: Signature) -> bytes:
    """The answer to `GET /v1/models/{endpoint}/metadata`; -1 is the number of rows."""
    inputs = {n: _info(n, DATATYPE[k], (-1,)) for n, k in signature.fields.items()}
    given = {o.name: _info(o.name, o.datatype, o.shape) for o in outputs(signature)}
    default = {"inputs": inputs, "outputs": given, "method_name": "tensorflow/serving/predict", "defaults": {}}
    return _encode(
        {
            "model_spec": {"name": signature.endpoint, "signature_name": "", "version": str(signature.version)},
            "metadata": {"signature_def": {"signature_def": {_SIGNATURE: default}}},
        }
    )


def _info(name: str, datatype: str, shape: tuple[int, ...]) -> dict[str, Any]:
    dims = [{"size": str(size), "name": ""} for size in shape]
    return {
        "dtype": _DTYPES[datatype],
        "tensor_shape": {"dim": dims, "unknown_rank": False},
        "name": f"{name}:0",
    }


def _of_rows(rows: Any, signature: Signature, version: str, started: int) -> Batch:
    if not isinstance(rows, list):
        raise Invalid(f"instances is {shown(rows)}, not a list.", hint=_SEND)
    require_rows(len(rows), "instances")
    fields = signature.fields
    if len(fields) == 1 and not any(isinstance(r, dict) and "b64" not in r for r in rows):
        (name,) = fields  # of one input the values may stand alone
        rows = [{name: r} for r in rows]
    read = [
        {n: _plain(v, fields.get(n), f"row {i}: ") for n, v in row.items()} if isinstance(row, dict) else row
        for i, row in enumerate(rows)
    ]
    return batch_of_whole(read, fields, version=version, started=started)


def _of_columns(columns: Any, signature: Signature, version: str, started: int) -> Batch:
    fields = signature.fields
    if isinstance(columns, list) and len(fields) == 1:
        columns = {next(iter(fields)): columns}
    if not isinstance(columns, dict):
        raise Invalid(f"inputs is {shown(columns)}, not an object of columns.", hint=_SEND)
    for name, values in columns.items():
        if not isinstance(values, list):
            raise Invalid(f"the column {shown(name)} is {shown(values)}, not a list.", hint=_SEND)
    read = {n: [_plain(v, fields.get(n), f"row {i}: ") for i, v in enumerate(c)] for n, c in columns.items()}
    return batch_of_columns(read, fields, version=version, started=started)


def _plain(value: Any, kind: Type | None, where: str) -> Any:
    """A value as we hold it: one in a list of its own stands alone, NaN is null, {"b64": …} is a text."""
    if isinstance(value, list) and len(value) == 1:
        (value,) = value
    if value.__class__ is float and value != value:
        return None
    if isinstance(value, dict) and len(value) == 1 and isinstance(value.get("b64"), str) and kind is Type.STRING:
        try:
            return base64.b64decode(value["b64"], validate=True).decode()
        except (binascii.Error, ValueError) as e:
            raise Invalid(f"{where}b64 is not base64 of UTF-8: {str(e)[:80]}.") from None
    return value


def _listed(shape: tuple[int, ...], values: list[Any]) -> list[Any]:
    if len(shape) == 1:
        return values
    width = shape[1]
    return [values[i : i + width] for i in range(0, len(values), width)]

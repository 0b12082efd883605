"""MLflow's scoring protocol: data frames as JSON or CSV in, `predictions` back.

The prediction of a multiclass model is a list of probabilities, as MLflow itself answers from our packages. The answer
has no place for the error of one row: a row that fails, fails the request.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from typing import Any

import msgspec

from fivefold.core.errors import Invalid
from fivefold.core.types import Schema, Type
from fivefold.features.fields import shown
from fivefold.realtime.protocols.batch import Batch, Outcome, Signature
from fivefold.realtime.protocols.bounds import MOST_ROWS, decoded_with_nan, require_rows
from fivefold.realtime.protocols.rows import batch_of_columns, batch_of_whole

CSV = b"text/csv"
_FORMATS = ("dataframe_split", "dataframe_records", "instances", "inputs")
_SEND = f"Send an object with one of {', '.join(_FORMATS)}."

_json: msgspec.json.Decoder[Any] = msgspec.json.Decoder()
_encode = msgspec.json.Encoder().encode


def decode_json(body: bytes, signature: Signature, started: int) -> Batch:
    """The batch of a JSON body. Raises Invalid, naming row and field, for what is not accepted."""
    given = decoded_with_nan(_json, body, _SEND)
    if not isinstance(given, dict):
        raise Invalid(f"the body is {shown(given)}, not an object.", hint=_SEND)
    for key in given:
        if key not in (*_FORMATS, "params"):
            raise Invalid(f"the body has the key {shown(key)} (accepted: {', '.join(_FORMATS)}, params).", hint=_SEND)
    found = [key for key in _FORMATS if key in given]
    if len(found) != 1:
        raise Invalid(f"the body has {len(found)} of {', '.join(_FORMATS)}, not one.", hint=_SEND)
    if given.get("params"):
        raise Invalid(f"params is {shown(given['params'])}: an endpoint takes none.", hint="Leave it out.")
    key, data = found[0], given[found[0]]
    if key == "dataframe_split":
        data = _of_split(data)
    if isinstance(data, dict):
        columns = {n: v if isinstance(v, list) else [v] for n, v in data.items()}
        read = {n: [_plain(v, signature.fields.get(n)) for v in column] for n, column in columns.items()}
        return batch_of_columns(read, signature.fields, started=started)
    return _of_rows(data, key, signature.fields, started)


def decode_csv(body: bytes, signature: Signature, started: int) -> Batch:
    """The batch of a CSV body with a header; an empty cell is null. Raises Invalid for what is not accepted."""
    try:
        lines = csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True)
        header = next(lines, [])
        require_distinct(header)
        rows: list[list[str]] = []
        for line in lines:
            if not line and len(header) > 1:
                continue
            if len(rows) == MOST_ROWS:
                require_rows(MOST_ROWS + 1)
            rows.append(line or [""])
    except UnicodeDecodeError as e:
        raise Invalid(f"the body is not UTF-8: {e.reason} at byte {e.start}.") from None
    except csv.Error as e:
        raise Invalid(f"the body is not CSV: {e} in line {lines.line_num}.") from None
    for i, row in enumerate(rows):
        if len(row) != len(header):
            raise Invalid(f"row {i} has {len(row)} cells, and the header {len(header)}.")
    columns = {
        name: [_read_cell(row[place], signature.fields.get(name)) for row in rows] for place, name in enumerate(header)
    }
    return batch_of_columns(columns, signature.fields, started=started)


def encode(outcome: Outcome) -> bytes:
    """The answer to a request. Raises Invalid when a row failed."""
    outcome.require_whole()
    return _encode({"predictions": outcome.predictions})


def endpoint(signature: Signature) -> dict[str, Any]:
    """An endpoint as MLflow's deployments client lists it."""
    return {
        "name": signature.endpoint,
        "endpoint_type": "custom",
        "model": {"name": signature.model, "provider": "fivefold"},
        "endpoint_url": f"/endpoints/{signature.endpoint}/invocations",
        "limit": None,
    }


def require_distinct(names: list[Any]) -> None:
    """Raise Invalid for column names that are no texts, or are there twice."""
    seen: set[str] = set()
    for name in names:
        if not isinstance(name, str) or name in seen:
            raise Invalid(f"the column {shown(name)} is {'there twice' if isinstance(name, str) else 'no text'}.")
        seen.add(name)


def _of_rows(rows: Any, key: str, fields: Schema, started: int) -> Batch:
    if not isinstance(rows, list):
        raise Invalid(f"{key} is {shown(rows)}, not a list of rows.", hint=_SEND)
    require_rows(len(rows), f"rows in {key}")
    if len(fields) == 1 and not any(isinstance(r, dict) for r in rows):
        (name,) = fields
        rows = [{name: r} for r in rows]
    read = [{n: _plain(v, fields.get(n)) for n, v in r.items()} if isinstance(r, dict) else r for r in rows]
    return batch_of_whole(read, fields, started=started)


def _of_split(data: Any) -> dict[str, list[Any]]:
    if not isinstance(data, dict) or not {"columns", "data"} <= set(data) <= {"columns", "data", "index"}:
        raise Invalid(f"dataframe_split is {shown(data)} (accepted: an object with columns, data and maybe index).")
    columns, rows = data["columns"], data["data"]
    if not isinstance(columns, list) or not isinstance(rows, list):
        raise Invalid("dataframe_split: columns and data are lists.")
    require_distinct(columns)
    require_rows(len(rows), "rows in dataframe_split")
    for i, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != len(columns):
            raise Invalid(f"row {i} of dataframe_split is {shown(row)}, not a list of {len(columns)} values.")
    return {name: [row[place] for row in rows] for place, name in enumerate(columns)}


def _plain(value: Any, kind: Type | None) -> Any:
    """A value as we hold it: NaN is null, and pandas makes floats of whole numbers beside a null."""
    if value.__class__ is float:
        if value != value:
            return None
        if kind is Type.INT64 and value.is_integer():
            return int(value)
    if isinstance(value, list) and len(value) == 1:
        return _plain(value[0], kind) if not isinstance(value[0], list) else value
    return value


_BOOLS = {"true": True, "false": False}


def _read_cell(text: str, kind: Type | None) -> Any:
    """A cell as its field's type; what does not read as it stays a text, and is refused as one."""
    if not text:
        return None
    reader = _READERS.get(kind) if kind is not None else None
    try:
        return text if reader is None else reader(text)
    except ValueError:
        return text


def _float(text: str) -> float | None:
    value = float(_digits(text))
    return None if value != value else value


def _whole(text: str) -> Any:
    try:
        return int(_digits(text))
    except ValueError:
        value = float(_digits(text))
        return int(value) if value.is_integer() else None if value != value else text


def _digits(text: str) -> str:
    if "_" in text:
        raise ValueError("Python alone reads 1_000 as a number")
    return text


_READERS: dict[Type, Callable[[str], Any]] = {
    Type.INT64: _whole,
    Type.FLOAT64: _float,
    Type.BOOL: lambda text: _BOOLS.get(text.lower(), text),
    Type.TIMESTAMP: lambda text: int(text) if text.lstrip("-").isdigit() else text,
}

"""What the two forms of the Open Inference Protocol share: a request's tensors as a batch, an outcome as tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from fivefold.core.errors import Invalid, NotFound, Unsupported
from fivefold.features.fields import shown
from fivefold.realtime.protocols.batch import Batch, Outcome, Signature
from fivefold.realtime.protocols.bounds import LONGEST_ID, MOST_TENSORS
from fivefold.realtime.protocols.rows import require_fields
from fivefold.realtime.protocols.tensors import DATATYPE, column

PREDICTION, PROBABILITIES = "prediction", "probabilities"
_SEQUENCES = ("sequence_id", "sequence_start", "sequence_end")


class Output(NamedTuple):
    """A tensor that an endpoint gives; -1 is the number of rows."""

    name: str
    datatype: str
    shape: tuple[int, ...]


class Values(NamedTuple):
    """The values of one input, a value a row, before they are held to its field."""

    datatype: str
    values: Sequence[Any]


def outputs(signature: Signature) -> list[Output]:
    """What an endpoint gives: a value a row, or of a multiclass model the likeliest class and all probabilities."""
    if signature.classes is None:
        return [Output(PREDICTION, DATATYPE[signature.gives], (-1,))]
    return [Output(PREDICTION, "BYTES", (-1,)), Output(PROBABILITIES, "FP64", (-1, len(signature.classes)))]


def require_count(count: int, what: str) -> None:
    """Raise Invalid for more tensors than anybody needs, before they are looked at."""
    if count > MOST_TENSORS:
        raise Invalid(f"there are {count} {what} (accepted: {MOST_TENSORS} at most).")


def batch(
    signature: Signature,
    inputs: Mapping[str, Values],
    rows: Mapping[str, int],
    *,
    id: str,
    version: str,
    wanted: Sequence[str],
    parameters: Mapping[str, Any],
    started: int,
) -> Batch:
    """The batch of tensors by name, each with so many rows.

    Raises Invalid for tensors that are missing, unknown or uneven, and for parameters that are wrong, NotFound for an
    output that there is not, Unsupported for sequences.
    """
    require_fields(inputs, signature.fields, "input")
    first = next(iter(signature.fields))
    for name, count in rows.items():
        if count != rows[first]:
            raise Invalid(f"the input {name!r} has {count} rows, and {first!r} has {rows[first]}.")
    if len(id) > LONGEST_ID:
        raise Invalid(f"the id has {len(id)} characters (accepted: {LONGEST_ID} at most).")
    have = [o.name for o in outputs(signature)]
    for i, name in enumerate(wanted):
        if name not in have:
            raise NotFound.named("output", name[:80], have)
        if name in wanted[:i]:
            raise Invalid(f"the output {name!r} is wanted twice.")
    for name in _SEQUENCES:
        if parameters.get(name):
            raise Unsupported(f"the parameter {name!r} is {shown(parameters[name])}: rows are answered one by one.")
    timeout = _whole(parameters, "timeout", "microseconds")
    return Batch(
        signature.fields,
        {n: column(n, inputs[n].datatype, inputs[n].values, kind) for n, kind in signature.fields.items()},
        rows[first],
        id=id,
        version=version,
        outputs=tuple(wanted),
        deadline=started + timeout * 1000 if timeout else None,
        priority=_whole(parameters, "priority", "level"),
        started=started,
    )


def _whole(parameters: Mapping[str, Any], name: str, what: str) -> int:
    value = parameters.get(name, 0)
    if type(value) is not int or not 0 <= value < 2**63:
        raise Invalid(f"the parameter {name!r} is {shown(value)} (accepted: a whole number, {what}).")
    return value


def tensors(outcome: Outcome, wanted: Sequence[str]) -> list[tuple[Output, list[Any]]]:
    """The tensors wanted (all, when none is named), with their values row after row.

    Raises Invalid when a row failed: a tensor has no place for an error.
    """
    outcome.require_whole()
    signature = outcome.signature
    out: list[tuple[Output, list[Any]]] = []
    by_name = {o.name: o for o in outputs(signature)}
    for name in wanted or list(by_name):
        _, datatype, shape = by_name[name]
        given = Output(name, datatype, (len(outcome.predictions), *shape[1:]))
        if signature.classes is None:
            out.append((given, outcome.predictions))
        elif name == PROBABILITIES:
            out.append((given, [v for row in outcome.predictions for v in row]))
        else:
            out.append((given, [signature.classes[row.index(max(row))] for row in outcome.predictions]))
    return out

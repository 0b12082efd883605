"""Declarations from their canonical JSON: what a version was trained under, long after the project file moved on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from fivefold.core.canonical import Json
from fivefold.core.code import canonical_object
from fivefold.core.errors import FivefoldError, Unsupported
from fivefold.core.features import Aggregate, Derived, Entity, Features, FeatureView, Request, Udf
from fivefold.core.federation import DP, Federation, SecureSum
from fivefold.core.learning import (
    Gate,
    GroupSplit,
    Learner,
    Model,
    RandomSplit,
    Target,
    TimeSplit,
    Tune,
)
from fivefold.core.noun import Noun
from fivefold.core.robust import FLTrust, GeometricMedian, Krum, Median, NormBound, TrimmedMean
from fivefold.core.sources import Check, Documents, Stream, Table, View
from fivefold.core.strategies import Ditto, FedAdam, FedAvg, FedNova, FedProx, Newton, Scaffold, SharedBody
from fivefold.core.uses import BatchJob, Canary, Endpoint, Shadow

NOUNS: dict[str, type[Noun]] = {
    n.kind: n
    for n in (
        Table,
        View,
        Stream,
        Documents,
        Entity,
        FeatureView,
        Request,
        Derived,
        Udf,
        Model,
        Endpoint,
        BatchJob,
        Federation,
    )
}
PARTS: dict[str, type[msgspec.Struct]] = {
    p.__name__: p
    for p in (
        Check,
        Aggregate,
        Features,
        Target,
        Learner,
        TimeSplit,
        GroupSplit,
        RandomSplit,
        Gate,
        Tune,
        Canary,
        Shadow,
        SecureSum,
        DP,
        FedAvg,
        FedProx,
        Scaffold,
        FedNova,
        FedAdam,
        Newton,
        Ditto,
        SharedBody,
        NormBound,
        Median,
        TrimmedMean,
        Krum,
        GeometricMedian,
        FLTrust,
    )
}


def revive(definitions: Mapping[str, Json], functions: Mapping[str, Callable[..., Any]]) -> dict[str, Noun]:
    """Nouns by `kind:name` from definitions in an order in which each stands after what it points at.

    A revived noun has the digest of the one it was. Code is not data: a Udf gets its function from `functions` (by its
    name) if that still has the digest it had. Raises Unsupported, naming it, when the code has changed or is gone.
    """
    made: dict[str, Noun] = {}
    for ref, value in definitions.items():
        assert isinstance(value, Mapping)
        fields = {k: v for k, v in value.items() if k != "kind"}
        if value["kind"] == Udf.kind:
            fields["function"] = _function(ref, str(value["name"]), fields["function"], functions)
        made[ref] = NOUNS[str(value["kind"])](**{k: v if callable(v) else _read(v, made) for k, v in fields.items()})
    return made


def _read(value: Any, made: Mapping[str, Noun]) -> Any:
    match value:
        # a schema may have columns called "ref" or "is", but no type is spelled like a reference or a part
        case {"ref": str(ref)} if len(value) == 1 and ":" in ref:
            return made[ref]
        case {"is": "Learner"}:
            # what object it fitted is in the package; its description stands for it, so that the digest stays
            return Learner(value["kind"], value["params"], value["object"])
        case {"is": str(name)} if name in PARTS:
            return PARTS[name](**{k: _read(v, made) for k, v in value.items() if k != "is"})
        case Mapping():
            return {k: _read(v, made) for k, v in value.items()}
        case list() | tuple():
            return tuple(_read(v, made) for v in value)
    return value


def _function(ref: str, name: str, expected: Json, functions: Mapping[str, Callable[..., Any]]) -> Callable[..., Any]:
    given = functions.get(name)
    try:
        if given is not None and canonical_object(given) == expected:
            return given
    except FivefoldError:
        pass
    what = "has changed since" if given is not None else "is gone from the project file"
    raise Unsupported(
        f"the version uses {ref}, whose code {what}.", hint="Put the code back, or train and promote a new version."
    )

"""The steps of an endpoint, wired: what each takes by name, of which type, and what a request must hold for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from fivefold.core.errors import Invalid, NotFound
from fivefold.core.expressions import Expression, columns_used, parse
from fivefold.core.features import Request, Udf
from fivefold.core.learning import Model
from fivefold.core.types import Schema, Type
from fivefold.core.uses import Step


class Member(NamedTuple):
    """A model as a step: the fields it takes, whether it tells classes apart, and which, where that is known yet.

    A multiclass one makes the likeliest class, and the probability of each as `MODEL.CLASS`.
    """

    fields: Schema
    multiclass: bool
    classes: Sequence[str] | None = None


class Wired(NamedTuple):
    """What a request holds, what each step makes, and what those steps take that are not models; all with types."""

    fields: dict[str, Type]
    types: dict[str, Type]
    takes: dict[str, dict[str, Type]]
    expressions: dict[str, Expression]


def wire(ref: str, steps: Sequence[Step], members: Mapping[str, Member]) -> Wired:
    """The wiring of the steps of the endpoint `ref`, whose models are `members` by name.

    Raises Invalid, naming step and field, for one that takes what a later step makes (there would be a cycle), an
    unknown name or another type, and for an answer that is a timestamp.
    """
    where = f"{ref}, steps"
    makes = {s.name for s in steps if not isinstance(s, Request)}
    wired = Wired(_fields(where, steps, members, makes), {}, {}, {})
    for step in steps:
        if isinstance(step, Model):
            member = members[step.name]
            for field, kind in member.fields.items():
                _require_made(where, step, field, makes, wired.types)
                have = wired.types.get(field, wired.fields.get(field))
                if have is not kind and not (have is Type.INT64 and kind is Type.FLOAT64):
                    raise Invalid(
                        f"{where}: {step.ref} takes the field {field!r} as {kind}, and the step of that name makes "
                        f"{have}.",
                        hint="Cast it in a ff.Derived, or give the step another name.",
                    )
            wired.types[step.name] = Type.STRING if member.multiclass else Type.FLOAT64
        elif not isinstance(step, Request):
            used = step.inputs if isinstance(step, Udf) else columns_used(step.expression, f"{where}, {step.ref}")
            known = {**wired.fields, **wired.types}
            for name in used:
                _require_made(where, step, name, makes, wired.types)
                if _is_class(where, step, name, members, wired.types):
                    known[name] = Type.FLOAT64
                if name not in known:
                    raise NotFound.named(f"field or step for {where}, {step.ref}:", name, known)
            wired.takes[step.name] = {name: known[name] for name in used}
            if isinstance(step, Udf):
                wired.types[step.name] = step.type
            else:
                made = wired.expressions[step.name] = parse(step.expression, known, f"{where}, {step.ref}")
                wired.types[step.name] = made.type
    last = steps[-1]
    if wired.types[last.name] is Type.TIMESTAMP:
        raise Invalid(f"{where}: the answer, {last.ref}, is a timestamp.", hint="Answer a number: epoch(...).")
    return wired


def _fields(where: str, steps: Sequence[Step], members: Mapping[str, Member], makes: set[str]) -> dict[str, Type]:
    """What comes with the request: what models take and no step makes, and what a `Request` says."""
    fields: dict[str, Type] = {}
    for step in steps:
        taken: Schema = {}
        if isinstance(step, Request):
            taken = {step.name: step.type}
        elif isinstance(step, Model):
            taken = {n: k for n, k in members[step.name].fields.items() if n not in makes}
        for name, kind in taken.items():
            if fields.setdefault(name, kind) is not kind:
                raise Invalid(
                    f"{where}: {step.ref} takes the field {name!r} as {kind}, and another step takes it as "
                    f"{fields[name]}.",
                    hint="Request it by one name, and make the other from it with a ff.Derived.",
                )
    return fields


def _require_made(where: str, step: Step, name: str, makes: set[str], made: Schema) -> None:
    if name not in makes or name in made:
        return
    if name == step.name:
        raise Invalid(
            f"{where}: {step.ref} takes {name!r}, which it makes itself: a cycle.", hint="Give the step another name."
        )
    raise Invalid(
        f"{where}: {step.ref} takes {name!r}, which is made by a step after it.",
        hint=f"Put {name!r} before it; where each takes what the other makes, there is a cycle, and one must not.",
    )


def _is_class(where: str, step: Step, name: str, members: Mapping[str, Member], made: Schema) -> bool:
    """Whether a name is the probability of a class. Raises NotFound for a class that the model does not have."""
    model, dot, label = name.partition(".")
    member = members.get(model)
    if not dot or member is None or not member.multiclass or model not in made:
        return False
    if member.classes is not None and label not in member.classes:
        raise NotFound.named(f"class of model:{model} for {where}, {step.ref}:", label, member.classes)
    return True

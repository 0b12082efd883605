"""Commands that look features up: get."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fivefold.cli.session import HERE, EnvOption, JsonOption, ProjectOption, emit, table, workspace

if TYPE_CHECKING:
    from fivefold.core.types import Type


def add_to(app: typer.Typer) -> None:
    """Register these commands."""
    app.command(rich_help_panel="Use")(get)


def get(
    features: Annotated[list[str], typer.Argument(metavar="VIEW.FEATURE...", help="Features of the project.")],
    entity: Annotated[
        list[str] | None, typer.Option("--entity", metavar="KEY=VALUE", help="An entity key; one for each key column.")
    ] = None,
    at: Annotated[str, typer.Option("--at", help="As of this ISO 8601 moment; now, when left out.")] = "",
    json: JsonOption = False,
    project: ProjectOption = HERE,
    env: EnvOption = "dev",
) -> None:
    """Look features of one entity up in the online store: values, and the event time of the newest row behind each."""
    from fivefold.core.time import instant, iso, moment
    from fivefold.core.types import Type
    from fivefold.realtime.lookup.service import FeatureService

    asked = instant(at, "--at") if at else None
    with workspace(project, env) as opened:
        store = opened.online()
        try:
            service = FeatureService(opened, store, asked)
            lookup = service.lookup(features)
            found = service.get(lookup, [_row(entity or [], lookup.fields)])
        finally:
            store.close()
    rows = [
        {
            "feature": name,
            "value": moment(value) if kind is Type.TIMESTAMP and value is not None else value,
            "status": status,
            "event_time": None if time is None else moment(time),
        }
        for (name, kind), (value,), (status,), (time,) in zip(
            found.types.items(), found.values, found.statuses, found.event_times, strict=True
        )
    ]
    if json:
        emit({"as_of": iso(found.as_of), "features": rows})
        return
    columns = ["feature", "value", "status", "event_time"]
    table(f"as of {iso(found.as_of)}", columns, [[r[c] for c in columns] for r in rows])


def _row(given: list[str], fields: Mapping[str, Type]) -> dict[str, Any]:
    """An entity of `key=value` words; what does not read as the key's type stays a text, which is then refused."""
    from fivefold.core.errors import Invalid

    row: dict[str, Any] = {}
    for word in given:
        name, equals, text = word.partition("=")
        if not equals:
            raise Invalid(f"--entity {word!r} is not KEY=VALUE.", hint=f"Keys: {', '.join(fields)}.")
        row[name] = _value(text, fields.get(name))
    return row


def _value(text: str, kind: Type | None) -> Any:
    from fivefold.core.types import Type

    try:
        match kind:
            case Type.INT64:
                return int(text)
            case Type.FLOAT64:
                return float(text)
            case Type.BOOL:
                return {"true": True, "false": False}.get(text, text)
    except ValueError:
        pass
    return text

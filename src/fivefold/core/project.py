"""A project: all declarations of one file, and the graph they form."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property

import msgspec

from fivefold.core.canonical import digest
from fivefold.core.errors import Conflict, FivefoldError, Invalid, NotFound, Several
from fivefold.core.lineage import tables_used
from fivefold.core.noun import Noun, noun_digest, references
from fivefold.core.sources import Documents, Stream, Table, View

SOURCE_KINDS = (Table.kind, View.kind, Stream.kind)


class Project(msgspec.Struct, frozen=True, eq=False, dict=True):
    """Declarations by `kind:name`, each after everything it stands on."""

    name: str
    nouns: Mapping[str, Noun]

    def get(self, kind: str, name: str) -> Noun:
        """The declaration of a kind and name. Raises NotFound with the nearest name."""
        found = self.nouns.get(f"{kind}:{name}")
        if found is None:
            raise NotFound.named(kind, name, [n.name for n in self.of(kind)])
        return found

    def of(self, *kinds: str) -> list[Noun]:
        """Every declaration of some kinds, in order of the graph."""
        return [n for n in self.nouns.values() if n.kind in kinds]

    @cached_property
    def upstream(self) -> Mapping[str, tuple[str, ...]]:
        """For each `kind:name`, what it stands on directly."""
        return {ref: tuple(dict.fromkeys(_needs(noun, self.nouns))) for ref, noun in self.nouns.items()}

    @cached_property
    def closure_digests(self) -> Mapping[str, str]:
        """For each `kind:name`, a digest of the declaration and of all it stands on: its meaning."""
        out: dict[str, str] = {}
        for ref, noun in self.nouns.items():
            out[ref] = digest(
                "closure", {"noun": noun_digest(noun), "upstream": {up: out[up] for up in self.upstream[ref]}}
            )
        return out

    def downstream(self, changed: Iterable[str]) -> list[str]:
        """Everything that stands on any of these, directly or not, in order of the graph."""
        reached = set(changed)
        found = []
        for ref in self.nouns:
            if ref not in reached and any(up in reached for up in self.upstream[ref]):
                reached.add(ref)
                found.append(ref)
        return found

    def closure(self, refs: Iterable[str]) -> list[str]:
        """These declarations and everything they stand on, in order of the graph."""
        wanted = set(refs)
        for candidate in reversed(list(self.nouns)):
            if candidate in wanted:
                wanted.update(self.upstream[candidate])
        return [ref for ref in self.nouns if ref in wanted]

    @property
    def digest(self) -> str:
        return digest("project", {ref: noun_digest(n) for ref, n in self.nouns.items()})


def collect(name: str, declared: Iterable[Noun]) -> Project:
    """A project from the nouns of a file and all they point at.

    Raises Several with every duplicate name, unknown table of a view and cycle, at once.
    """
    nouns: dict[str, Noun] = {}
    errors: list[FivefoldError] = []

    def take(noun: Noun) -> None:
        known = nouns.get(noun.ref)
        if known is noun:
            return
        if known is not None:
            if noun_digest(known) != noun_digest(noun):
                errors.append(
                    Conflict(f"two different declarations are called {noun.ref}.", hint="Rename one of them.")
                )
            return
        nouns[noun.ref] = noun
        for other in references(noun):
            take(other)

    for noun in declared:
        take(noun)
    errors += _clashing_sources(nouns.values())
    needs: dict[str, list[str]] = {}
    for ref, noun in nouns.items():
        try:
            needs[ref] = list(_needs(noun, nouns))
        except FivefoldError as e:
            errors.append(e)
            needs[ref] = []
    order = _sorted(needs, errors)
    if errors:
        raise Several(_once(errors))
    return Project(name, {ref: nouns[ref] for ref in order})


def _needs(noun: Noun, nouns: Mapping[str, Noun]) -> Iterable[str]:
    yield from (other.ref for other in references(noun))
    if isinstance(noun, View):
        sources = {n.name: ref for ref, n in nouns.items() if n.kind in SOURCE_KINDS}
        for table in tables_used(noun.sql, noun.ref):
            if table not in sources:
                raise NotFound.named(f"table or view for {noun.ref}:", table, sources)
            yield sources[table]


def _clashing_sources(nouns: Iterable[Noun]) -> Iterable[FivefoldError]:
    """Tables, views and streams share one namespace: SQL names them without their kind."""
    seen: dict[str, str] = {}
    for noun in nouns:
        if noun.kind in (*SOURCE_KINDS, Documents.kind):
            if noun.name in seen:
                yield Conflict(
                    f"{seen[noun.name]} and {noun.ref} share a name, and SQL could not tell them apart.",
                    hint="Rename one of them.",
                )
            seen.setdefault(noun.name, noun.ref)


def _sorted(needs: Mapping[str, list[str]], errors: list[FivefoldError]) -> list[str]:
    order: list[str] = []
    state: dict[str, str] = {}

    def visit(ref: str, path: list[str]) -> None:
        if state.get(ref) == "done":
            return
        if state.get(ref) == "open":
            cycle = [*path[path.index(ref) :], ref]
            errors.append(Invalid(f"a cycle: {' -> '.join(cycle)}.", hint="One of them must not read the other."))
            return
        state[ref] = "open"
        for other in needs.get(ref, ()):
            visit(other, [*path, ref])
        state[ref] = "done"
        order.append(ref)

    for ref in needs:
        visit(ref, [])
    return order


def _once(errors: Iterable[FivefoldError]) -> list[FivefoldError]:
    return list({str(e): e for e in errors}.values())

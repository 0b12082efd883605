"""What is known about an entity at a moment: feature views, and values made on request."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

import msgspec

from fivefold.core.errors import Invalid, NotFound
from fivefold.core.noun import Noun, define
from fivefold.core.sources import Source
from fivefold.core.time import duration, spell
from fivefold.core.types import Type, as_type

FUNCTIONS = ("count", "sum", "mean", "min", "max", "std", "first", "last", "distinct", "quantile", "top")
MOST_TOP = 100
_NUMBERS_ONLY = ("sum", "mean", "std", "quantile")


class Entity(Noun, frozen=True, eq=False):
    """What features are about, and the columns that name one: `Entity("airport", key="origin")`."""

    kind: ClassVar[str] = "entity"
    key: Sequence[str]

    def __post_init__(self) -> None:
        super().__post_init__()
        define(self, key=(self.key,) if isinstance(self.key, str) else tuple(self.key))
        if not self.key or len(set(self.key)) != len(self.key):
            raise Invalid(f"{self.ref}: key={self.key!r} must name one or more different columns.")


class Aggregate(msgspec.Struct, frozen=True):
    """One aggregate of the rows of an entity seen from a moment T: those with event time in `[T - over, T)`.

    `over` None means all history (or the view's `ttl`). With `hop`, the left edge is rounded down to a multiple of it,
    the same everywhere. `ago` moves the moment back: `last("demand", ago="7d")` is what was last known a week earlier.
    """

    fn: str
    column: str | None = None
    over: str | None = None
    hop: str | None = None
    ago: str | None = None
    q: float | None = None
    name: str = ""
    k: int | None = None

    def __post_init__(self) -> None:
        where = f"{self.fn}({self.column or ''})"
        spans = {}
        for field in ("over", "hop", "ago"):
            text = getattr(self, field)
            spans[field] = None if text is None else duration(text, f"{where}, {field}")
        if spans["hop"] and not spans["over"]:
            raise Invalid(f"{where}: hop={self.hop!r} without over=.", hint="Say the window too: over='1h', hop='5m'.")
        if spans["hop"] and spans["over"] and spans["over"] % spans["hop"]:
            raise Invalid(f"{where}: over={self.over!r} is not a multiple of hop={self.hop!r}.")
        if self.fn == "quantile" and not (self.q is not None and 0 <= self.q <= 1):
            raise Invalid(f"{where}: q={self.q!r} is not a share.", hint="Give q between 0 and 1, for instance 0.9.")
        if self.fn == "top" and not (type(self.k) is int and 1 <= self.k <= MOST_TOP):
            raise Invalid(
                f"{where}: k={self.k!r} is not a place (accepted: whole numbers from 1 to {MOST_TOP}).",
                hint="k=1 is the most frequent value, k=2 the next.",
            )
        if self.fn != "top" and self.k is not None:
            raise Invalid(f"{where}: k={self.k!r}, but only top has one.", hint=f"Leave it out of {self.fn}.")
        define(self, **{k: None if v is None else spell(v) for k, v in spans.items()})
        if not self.name:
            define(self, name=self._default_name())

    def _default_name(self) -> str:
        words = [self.fn if self.q is None else f"p{self.q * 100:g}".replace(".", "_")]
        if self.k is not None:
            words = [f"{self.fn}{self.k}"]
        if self.column:
            words.append(self.column)
        if self.over:
            words.append(self.over)
        if self.ago:
            words.append(f"ago_{self.ago}")
        return "_".join(words)

    @property
    def numbers_only(self) -> bool:
        return self.fn in _NUMBERS_ONLY

    def result(self, column: Type | None) -> Type:
        """The type of this aggregate over a column of a type."""
        if self.fn in ("count", "distinct"):
            return Type.INT64
        if self.fn in ("mean", "std", "quantile"):
            return Type.FLOAT64
        if self.fn == "sum":
            return Type.FLOAT64 if column is Type.FLOAT64 else Type.INT64
        assert column is not None
        return column


def count(
    column: str | None = None,
    *,
    over: str | None = None,
    hop: str | None = None,
    ago: str | None = None,
    name: str = "",
) -> Aggregate:
    """Rows in the window, or non-null values of a column."""
    return Aggregate("count", column, over, hop, ago, name=name)


def sum(
    column: str, *, over: str | None = None, hop: str | None = None, ago: str | None = None, name: str = ""
) -> Aggregate:
    """Exact sum of the non-null values; null of nothing."""
    return Aggregate("sum", column, over, hop, ago, name=name)


def mean(
    column: str, *, over: str | None = None, hop: str | None = None, ago: str | None = None, name: str = ""
) -> Aggregate:
    """Mean of the non-null values, from an exact sum; null of nothing."""
    return Aggregate("mean", column, over, hop, ago, name=name)


def std(
    column: str, *, over: str | None = None, hop: str | None = None, ago: str | None = None, name: str = ""
) -> Aggregate:
    """Sample standard deviation from exact sums; null below two values."""
    return Aggregate("std", column, over, hop, ago, name=name)


def min(
    column: str, *, over: str | None = None, hop: str | None = None, ago: str | None = None, name: str = ""
) -> Aggregate:
    """Least non-null value."""
    return Aggregate("min", column, over, hop, ago, name=name)


def max(
    column: str, *, over: str | None = None, hop: str | None = None, ago: str | None = None, name: str = ""
) -> Aggregate:
    """Greatest non-null value."""
    return Aggregate("max", column, over, hop, ago, name=name)


def first(
    column: str, *, over: str | None = None, hop: str | None = None, ago: str | None = None, name: str = ""
) -> Aggregate:
    """Value of the earliest row of the window, which may be null."""
    return Aggregate("first", column, over, hop, ago, name=name)


def last(
    column: str, *, over: str | None = None, hop: str | None = None, ago: str | None = None, name: str = ""
) -> Aggregate:
    """Value of the latest row of the window, which may be null."""
    return Aggregate("last", column, over, hop, ago, name=name)


def distinct(
    column: str, *, over: str | None = None, hop: str | None = None, ago: str | None = None, name: str = ""
) -> Aggregate:
    """How many different non-null values: exact up to a bound, then a HyperLogLog estimate."""
    return Aggregate("distinct", column, over, hop, ago, name=name)


def quantile(
    column: str, q: float, *, over: str | None = None, hop: str | None = None, ago: str | None = None, name: str = ""
) -> Aggregate:
    """The q-quantile within 1 % of the true value (DDSketch)."""
    return Aggregate("quantile", column, over, hop, ago, q, name)


def top(
    column: str, k: int = 1, *, over: str | None = None, hop: str | None = None, ago: str | None = None, name: str = ""
) -> Aggregate:
    """The k-th most frequent non-null value, of equally frequent ones the least; null below k different values.

    Always exact, so its state holds every different value of the window and grows with their number.
    """
    return Aggregate("top", column, over, hop, ago, name=name, k=k)


class Request(Noun, frozen=True, eq=False):
    """A value that comes with the request; in training, the column of the same name of the target's source."""

    kind: ClassVar[str] = "request"
    type: Any

    def __post_init__(self) -> None:
        super().__post_init__()
        define(self, type=as_type(self.type, self.ref))


class Derived(Noun, frozen=True, eq=False):
    """An SQL scalar expression over other features: `Derived("tailwind", "wind_speed * cos(radians(wind_dir))")`.

    A feature is named in full (`weather.last_temp`), without its view where that is clear (`last_temp`), or, when it is
    the last value of a column, by the column (`temp`).
    """

    kind: ClassVar[str] = "derived"
    expression: str


class Udf(Noun, frozen=True, eq=False):
    """A vectorised Python function over features: it takes one numpy array an input and returns one array.

    Its identity is its source, the constants it reads and the project functions it calls.
    """

    kind: ClassVar[str] = "udf"
    function: Callable[..., Any]
    inputs: Sequence[str]
    type: Any

    def __post_init__(self) -> None:
        super().__post_init__()
        define(self, inputs=tuple(self.inputs), type=as_type(self.type, self.ref))
        if not callable(self.function):
            raise Invalid(f"{self.ref}: function={self.function!r} is not a function.")


class FeatureView(Noun, frozen=True, eq=False):
    """Features of one entity from one source.

    A feature is called `view.fn_column_window` unless named. `ttl` bounds how old a value without a window may be;
    `delay` overrides the source's.
    """

    kind: ClassVar[str] = "feature_view"
    entity: Entity
    source: Source
    features: Sequence[Aggregate]
    ttl: str | None = None
    delay: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for span in ("ttl", "delay"):
            if getattr(self, span) is not None:
                define(self, **{span: spell(duration(getattr(self, span), f"{self.ref}, {span}"))})
        define(self, features=tuple(self.features))
        if not self.features:
            raise Invalid(f"{self.ref} has no features.", hint="Give at least one, for instance ff.last('value').")
        names = [f.name for f in self.features]
        for twice in sorted({n for n in names if names.count(n) > 1}):
            raise Invalid(f"{self.ref}: two features are called {twice!r}.", hint="Name one of them with name=.")

    def __getitem__(self, names: str | tuple[str, ...]) -> Features:
        """Some of the view's features: `weather["last_temp", "last_visib"]`."""
        wanted = (names,) if isinstance(names, str) else names
        have = {f.name for f in self.features}
        for name in wanted:
            if name not in have:
                raise NotFound.named(f"feature of {self.ref}", name, have)
        return Features(self, wanted)


class Features(msgspec.Struct, frozen=True, eq=False):
    """A choice of a view's features, in the order given."""

    view: FeatureView
    names: tuple[str, ...]


Feature = FeatureView | Features | Request | Derived | Udf


def chosen(features: Iterable[Feature]) -> Mapping[str, tuple[FeatureView, Aggregate]]:
    """The stored features of a list, by full name `view.feature`, in order."""
    found = {}
    for item in features:
        view = item.view if isinstance(item, Features) else item
        if isinstance(view, FeatureView):
            names = item.names if isinstance(item, Features) else tuple(f.name for f in view.features)
            by_name = {f.name: f for f in view.features}
            found.update({f"{view.name}.{n}": (view, by_name[n]) for n in names})
    return found

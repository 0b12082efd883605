"""A federation: sites that train a model together on rows that stay with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import msgspec

from fivefold.core.errors import Invalid
from fivefold.core.learning import Learner, Model
from fivefold.core.noun import Noun, define
from fivefold.core.ranges import real, size, whole
from fivefold.core.robust import FLTrust, Rule, require_enough
from fivefold.core.sources import Table, View
from fivefold.core.strategies import (
    Descent,
    Ditto,
    FedAdam,
    FedAvg,
    FedNova,
    FedProx,
    Newton,
    Scaffold,
    SharedBody,
    Strategy,
)

UNITS = ("row", "client")
TRAINED = ("logistic", "sklearn", "torch", "trees")
"""Learners that can be trained by sums over sites."""


class SecureSum(msgspec.Struct, frozen=True):
    """The server learns only the sum over the sites of a round, and nothing unless `min_survivors` of them are in it.

    `bits` is how finely a value is told: each coordinate of a change is rounded to one of `2**bits` steps.
    """

    min_survivors: int
    bits: int = 16

    def __post_init__(self) -> None:
        whole("SecureSum", "min_survivors", self.min_survivors, least=2)
        whole("SecureSum", "bits", self.bits, least=2, most=32)


class DP(msgspec.Struct, frozen=True):
    """Differential privacy of all that the federation releases: epsilon and delta, and what they protect.

    `unit="row"` hides whether any one row was there: gradients are clipped row by row to the length `clip` (L2), one
    step a round. `unit="client"` hides whether any one site took part: a site's whole change is clipped, and noise for
    that is large unless there are many sites. Under SecureSum each site adds its share of the noise, enough when only
    `min_survivors` of them do; without it the server adds it. No amplification by sampling is claimed.
    """

    epsilon: float
    delta: float
    unit: str = "row"
    clip: float = 1.0

    def __post_init__(self) -> None:
        define(
            self,
            epsilon=real("DP", "epsilon", self.epsilon, above=0),
            delta=real("DP", "delta", self.delta, above=0, most=0.1),
            clip=real("DP", "clip", self.clip, above=0),
        )
        if self.unit not in UNITS:
            raise Invalid(f"DP: unit={self.unit!r} (accepted: {', '.join(map(repr, UNITS))}).")


class Federation(Noun, frozen=True, eq=False):
    """Sites train a model together; its rows are told apart by the column `split`, one value a site.

    What a feature is made of must be known to a site: its own rows (the column `split` is in the key of the entity), or
    sources that are `public` to all. `learner` is the model's unless given. Each round asks `cohort` sites, all of them
    by default. `privacy` takes `ff.SecureSum` and `ff.DP`; `robust` one rule against false contributions: of single
    sites, or under SecureSum of the sums of random buckets of at least `min_survivors`. `levels` gives the values that
    a text feature may have, which no site need tell then. A site sends at most
    `round_bytes` in a round: values are told by fewer bits then. With `keep=0.01` a trusted server is sent the largest
    hundredth of each change, and the rest is kept for the next.
    """

    kind: ClassVar[str] = "federation"
    model: Model
    learner: Learner | None = None
    split: str = ""
    rounds: int = 20
    strategy: Strategy | None = None
    privacy: Sequence[SecureSum | DP] = ()
    robust: Rule | None = None
    public: Sequence[Table | View] = ()
    levels: Mapping[str, Sequence[str]] = {}
    cohort: int | None = None
    round_bytes: str | None = None
    keep: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.model, Model):
            raise Invalid(f"{self.ref}: model={self.model!r} is not a model.", hint="Give the ff.Model itself.")
        if not isinstance(self.split, str) or not self.split:
            raise Invalid(f"{self.ref}: split={self.split!r} (accepted: the column whose values are the sites).")
        whole(self.ref, "rounds", self.rounds, most=100_000)
        if self.cohort is not None:
            whole(self.ref, "cohort", self.cohort)
        given = self.privacy if isinstance(self.privacy, list | tuple) else (self.privacy,)
        public = self.public if isinstance(self.public, list | tuple) else (self.public,)
        levels = {name: tuple(values) for name, values in self.levels.items()}
        define(self, privacy=tuple(given), public=tuple(public), levels=levels)
        self._check_parts()
        if self.round_bytes is not None:
            size(self.round_bytes, f"{self.ref}, round_bytes")
        define(self, keep=real(self.ref, "keep", self.keep, above=0, most=1.0))
        self._check_learner()
        self._check_keep()
        self._check_privacy()
        self._check_robust()

    @property
    def trained(self) -> Learner:
        """The learner that the sites train."""
        return self.learner or self.model.learner

    @property
    def secure(self) -> SecureSum | None:
        """How the sum is kept secret; None when the server is trusted with each contribution."""
        return next((p for p in self.privacy if isinstance(p, SecureSum)), None)

    @property
    def dp(self) -> DP | None:
        """The differential privacy that is promised, if it is."""
        return next((p for p in self.privacy if isinstance(p, DP)), None)

    @property
    def steps(self) -> Strategy | None:
        """The strategy of a learner that is trained by steps; None for trees, which grow by sums of histograms."""
        return None if self.trained.kind == "trees" else self.strategy or FedAvg()

    def _check_parts(self) -> None:
        for part in self.privacy:
            if not isinstance(part, SecureSum | DP):
                raise Invalid(f"{self.ref}: privacy={part!r} (accepted: ff.SecureSum(...), ff.DP(...)).")
        for kind in (SecureSum, DP):
            if sum(isinstance(p, kind) for p in self.privacy) > 1:
                raise Invalid(f"{self.ref}: privacy has two {kind.__name__}.", hint="Leave one of them.")
        for source in self.public:
            if not isinstance(source, Table | View):
                raise Invalid(f"{self.ref}: public={source!r} (accepted: tables and views).")
        if self.strategy is not None and not isinstance(self.strategy, Strategy):
            raise Invalid(f"{self.ref}: strategy={self.strategy!r} is none.", hint="For instance ff.FedAvg(epochs=2).")
        if self.robust is not None and not isinstance(self.robust, Rule):
            raise Invalid(f"{self.ref}: robust={self.robust!r} is no rule.", hint="For instance ff.Median().")

    def _check_learner(self) -> None:
        kind = self.trained.kind
        if kind not in TRAINED:
            raise Invalid(
                f"{self.ref}: the learner {kind} cannot be trained by sums (accepted: {', '.join(TRAINED)}).",
                hint="Give the federation a learner= of its own.",
            )
        if kind == "trees" and self.strategy is not None:
            raise Invalid(f"{self.ref}: trees grow by sums of histograms and take no strategy.", hint="Leave it out.")
        if isinstance(self.strategy, Newton) and kind != "logistic":
            raise Invalid(f"{self.ref}: Newton is for the learner logistic, and this one is {kind}.")
        if kind == "sklearn" and isinstance(self.strategy, FedProx | Scaffold | Ditto | SharedBody):
            raise Invalid(
                f"{self.ref}: {type(self.strategy).__name__} changes each local step, and scikit-learn takes its own.",
                hint="Use ff.FedAvg, ff.FedNova or ff.FedAdam, or the learner logistic.",
            )

    def _check_keep(self) -> None:
        if self.keep == 1.0:
            return
        if self.privacy:
            raise Invalid(
                f"{self.ref}: keep={self.keep:g} tells by their places which numbers of a site are large, which "
                f"{type(self.privacy[0]).__name__} hides.",
                hint="Leave it out, and give round_bytes= to send fewer bits.",
            )
        if not isinstance(self.steps, FedAvg | FedAdam):
            raise Invalid(f"{self.ref}: keep={self.keep:g} is for changes of a model (ff.FedAvg and its like).")

    def _check_privacy(self) -> None:
        dp, secure, strategy = self.dp, self.secure, self.steps
        if secure is not None and self.cohort is not None and self.cohort < secure.min_survivors:
            raise Invalid(
                f"{self.ref}: cohort={self.cohort} can never have min_survivors={secure.min_survivors}.",
                hint="Ask more sites in a round, or accept fewer survivors.",
            )
        if dp is None:
            return
        if strategy is None:
            raise Invalid(f"{self.ref}: trees have no differential privacy yet.", hint="Use the learner logistic.")
        if isinstance(strategy, Newton | Scaffold | FedNova):
            raise Invalid(
                f"{self.ref}: {type(strategy).__name__} sends more than one clipped vector, which DP does not cover.",
                hint="Use ff.FedAvg or ff.FedAdam.",
            )
        if dp.unit == "row":
            if self.trained.kind == "sklearn":
                raise Invalid(
                    f"{self.ref}: unit='row' clips the gradient of each row, which scikit-learn does not give.",
                    hint="Use the learner logistic or torch.",
                )
            if not isinstance(strategy, FedAvg | FedAdam) or isinstance(strategy, FedProx | Ditto | SharedBody):
                raise Invalid(f"{self.ref}: unit='row' takes one step a round (accepted: ff.FedAvg, ff.FedAdam).")
            if isinstance(strategy, Descent) and (strategy.epochs != 1 or strategy.batch_size is not None):
                raise Invalid(
                    f"{self.ref}: unit='row' takes one step a round over all rows of a site, but the strategy has "
                    f"epochs={strategy.epochs}, batch_size={strategy.batch_size}.",
                    hint="Leave both out, and give more rounds.",
                )

    def _check_robust(self) -> None:
        rule, secure = self.robust, self.secure
        if rule is None:
            return
        if isinstance(self.steps, Newton) or self.steps is None:
            what = "trees are" if self.steps is None else "Newton's step is"
            raise Invalid(f"{self.ref}: {what} made of sums, and {type(rule).__name__} combines changes of a model.")
        if isinstance(self.steps, Scaffold | FedNova):
            raise Invalid(
                f"{self.ref}: {type(self.steps).__name__} sends more than changes of the model, which is all that "
                f"{type(rule).__name__} combines.",
                hint="Use ff.FedAvg, ff.FedProx or ff.FedAdam.",
            )
        if secure is None and self.dp is not None:
            raise Invalid(
                f"{self.ref}: DP bounds how far a row or site moves a sum, not what {type(rule).__name__} makes of it.",
                hint="Add ff.SecureSum(...): then each bucket has its own noise, and the rule compares buckets.",
            )
        if secure is not None and isinstance(rule, FLTrust):
            raise Invalid(
                f"{self.ref}: FLTrust compares single contributions, which SecureSum hides.",
                hint="Use a rule across buckets, for instance ff.Median(), or leave out SecureSum.",
            )
        if self.cohort is None:
            return
        if secure is None:
            require_enough(rule, self.cohort, "sites")
            return
        buckets = self.cohort // secure.min_survivors
        if buckets < 2:
            raise Invalid(
                f"{self.ref}: cohort={self.cohort} cannot fill two buckets of "
                f"min_survivors={secure.min_survivors}, and {type(rule).__name__} compares buckets.",
                hint=f"Ask at least {2 * secure.min_survivors} sites, or accept fewer survivors.",
            )
        require_enough(rule, buckets, f"buckets of {secure.min_survivors} sites")

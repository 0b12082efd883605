"""Two versions side by side: who answers whom, and when it is clear which of them is to stay.

The tests may be looked at after every answer, as often as one likes (they are time-uniform), so that a bad version goes
as soon as it shows. Failures and missed deadlines are counted by an e-process: the Beta mixture of likelihood ratios of
Robbins (1970), rejected at 1/alpha by Ville's inequality. Losses are compared by the asymptotic confidence sequences of
Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central limit theory" (2021).
"""

from __future__ import annotations

import enum
import hashlib
import math

import msgspec

FEW = 100
"""Losses a version must have before they are compared: the sequences are right in the limit only."""

SHARPEST_AT = 2000
"""The number of losses at which the sequences are made to be narrowest."""

_BUCKETS = 1 << 32


class Arm(msgspec.Struct, frozen=True, array_like=True):
    """What is known of one version: answers, those that failed, those too late, and the losses of those with a label.

    `mean` and `spread` (the sum of squared distances from it) are of the losses, merged as by Chan et al.
    """

    answers: int = 0
    failed: int = 0
    late: int = 0
    losses: int = 0
    mean: float = 0.0
    spread: float = 0.0

    @property
    def variance(self) -> float:
        """The variance of the losses; 0.0 of fewer than two."""
        return self.spread / (self.losses - 1) if self.losses > 1 else 0.0

    def merged(self, other: Arm) -> Arm:
        """Both together."""
        losses = self.losses + other.losses
        mean, spread = 0.0, 0.0
        if losses:
            apart = other.mean - self.mean
            mean = self.mean + apart * other.losses / losses
            spread = self.spread + other.spread + apart * apart * self.losses * other.losses / losses
        return Arm(
            self.answers + other.answers, self.failed + other.failed, self.late + other.late, losses, mean, spread
        )

    def loss(self, value: float) -> Arm:
        """With one loss more."""
        return self.merged(Arm(losses=1, mean=value))


class Rules(msgspec.Struct, frozen=True):
    """When a canary goes back or becomes champion. `alpha` is the chance to be wrong, over all looks together.

    It may fail, and miss deadlines, by `tolerance` more often than the champion. Its mean loss may be above the
    champion's by the share `margin` of it. Without labels it is promoted after `answers` answers, when it neither fails
    nor is late.
    """

    alpha: float = 0.01
    tolerance: float = 0.005
    margin: float = 0.0
    answers: int = 2000
    labels: bool = True
    """Whether labels are waited for."""


class Decision(enum.StrEnum):
    """What is to become of a canary."""

    WAIT = "wait"
    PROMOTE = "promote"
    ROLL_BACK = "roll_back"


class Verdict(msgspec.Struct, frozen=True):
    """A decision and why. `low` and `high` bound how much the canary's mean loss is above the champion's."""

    decision: Decision
    reason: str
    low: float | None = None
    high: float | None = None


def judge(rules: Rules, champion: Arm, canary: Arm) -> Verdict:
    """What is known of a canary beside its champion, as of now."""
    # three questions are asked: each may be wrong with its share of alpha
    alpha = rules.alpha / 3
    for what, bad, theirs in (("fails", canary.failed, champion.failed), ("is late", canary.late, champion.late)):
        usual = (theirs + 1) / (champion.answers + 2) + rules.tolerance
        if exceeds(bad, canary.answers, usual, alpha):
            return Verdict(
                Decision.ROLL_BACK,
                f"it {what} in {bad} of {canary.answers} answers, and the champion in {theirs} of {champion.answers}.",
            )
    bounds = difference(champion, canary, alpha)
    if bounds is not None:
        low, high = bounds
        margin = rules.margin * abs(champion.mean)
        said = (
            f"its mean loss is {canary.mean:.6g} over {canary.losses} labels, the champion's {champion.mean:.6g} over "
            f"{champion.losses}: the difference is in [{low:.4g}, {high:.4g}]"
        )
        if low > margin:
            return Verdict(Decision.ROLL_BACK, f"{said}.", low, high)
        if high < margin:
            return Verdict(Decision.PROMOTE, f"{said}.", low, high)
        return Verdict(Decision.WAIT, f"{said}, too wide to tell.", low, high)
    if not rules.labels and canary.answers >= rules.answers:
        return Verdict(
            Decision.PROMOTE, f"{canary.answers} answers, of which {canary.failed} failed and {canary.late} were late."
        )
    return Verdict(Decision.WAIT, f"{canary.answers} answers and {canary.losses} labels are too few to tell.")


def exceeds(bad: int, count: int, usual: float, alpha: float) -> bool:
    """Whether something happens more often than `usual`, tested after every try."""
    if not bad or bad / count <= usual or usual >= 1:
        return False
    log_e = (
        _log_beta(bad + 0.5, count - bad + 0.5)
        - _log_beta(0.5, 0.5)
        - bad * math.log(usual)
        - (count - bad) * math.log1p(-usual)
    )
    return log_e >= -math.log(alpha)


def difference(champion: Arm, canary: Arm, alpha: float) -> tuple[float, float] | None:
    """Bounds of the canary's mean loss less the champion's that hold at all times at once; None of too few losses."""
    if min(champion.losses, canary.losses) < FEW:
        return None
    wide = _width(champion, alpha / 2) + _width(canary, alpha / 2)
    apart = canary.mean - champion.mean
    return apart - wide, apart + wide


def _width(arm: Arm, alpha: float) -> float:
    n = arm.losses
    log = -math.log(alpha)
    rho2 = (2 * log + math.log(2 * log) + 1) / SHARPEST_AT
    # one observation more of the same size: a variance that was 0 so far is not 0
    variance = arm.variance + (arm.mean * arm.mean + 1e-300) / n / n
    nr = n * rho2
    return math.sqrt(2 * variance * (nr + 1) / (n * nr) * (0.5 * math.log(nr + 1) + log))


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def chosen(salt: str, key: str, share: float) -> bool:
    """Whether a key is among a share of all keys, the same way each time it is asked under one salt.

    A larger share keeps whom a smaller one chose.
    """
    digest = hashlib.blake2b(key.encode(), key=salt.encode()[:64], digest_size=4).digest()
    return int.from_bytes(digest, "big") < share * _BUCKETS


def loss_of(task: str, prediction: float | list[float], label: float | int, classes: int | None = None) -> float:
    """How wrong a prediction was: the squared error of a regression, else the negative log likelihood of the label.

    `label` is 0 or 1 of a binary task, and the number of the class of a multiclass one.
    """
    if isinstance(prediction, list):
        return -math.log(max(prediction[int(label)], 1e-15))
    if task == "binary":
        return -math.log(max(prediction if label else 1 - prediction, 1e-15))
    return (prediction - float(label)) ** 2

"""A version on trial beside the champion of an endpoint: whom it answers, how it does, and what becomes of it.

What is known of both is kept in the online store, to which all processes that serve the endpoint add: so they decide on
all of it, and a server that starts again goes on.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping
from typing import Any

import msgspec

from fivefold.core.errors import Conflict, FivefoldError
from fivefold.core.uses import Canary, Shadow
from fivefold.models.rollout import Arm, Decision, Rules, Verdict, chosen, judge
from fivefold.ports.online import MARK, OnlineStore, Write
from fivefold.realtime.protocols.batch import Batch
from fivefold.workspace import Workspace
from fivefold.workspace.served import CHAMPION

CANARY, SHADOW = "canary", "shadow"
"""The aliases of versions on trial."""

_ATTEMPTS = 50


class Comparison(msgspec.Struct, frozen=True, array_like=True):
    """How far a shadow's answers are from the champion's: rows, how many differ, and how far in sum and at most."""

    rows: int = 0
    differ: int = 0
    distance: float = 0.0
    largest: float = 0.0

    def merged(self, other: Comparison) -> Comparison:
        """Both together."""
        return Comparison(
            self.rows + other.rows,
            self.differ + other.differ,
            self.distance + other.distance,
            max(self.largest, other.largest),
        )


class Known(msgspec.Struct, frozen=True, array_like=True):
    """What is known of a trial."""

    champion: Arm = Arm()
    other: Arm = Arm()
    comparison: Comparison = Comparison()
    changes: int = 0
    """Grows with each write, so that no mark is ever there twice."""

    def merged(self, other: Known) -> Known:
        """Both together, one change later."""
        return Known(
            self.champion.merged(other.champion),
            self.other.merged(other.other),
            self.comparison.merged(other.comparison),
            self.changes + 1,
        )


_write = msgspec.msgpack.Encoder().encode
_read = msgspec.msgpack.Decoder(Known).decode


class Trial:
    """One version beside one champion, since the change of its alias that `began` numbers: tried again, it begins anew.

    `member` says that it is of another model than the one by whose version answers are named. What it is told may come
    from any thread.
    """

    def __init__(
        self,
        store: OnlineStore,
        endpoint: str,
        rollout: Canary | Shadow,
        champion: int,
        other: int,
        began: int = 0,
        *,
        model: str = "",
        member: bool = False,
    ) -> None:
        self.model, self._member = model, member
        self.rollout, self.champion, self.other, self.began = rollout, champion, other, began
        self.role = CANARY if isinstance(rollout, Canary) else SHADOW
        of = f".{model}" if member else ""
        self.name = f"{endpoint}{of}:{champion}@{other}"
        self._store, self._space = store, f"rollout#{endpoint}{of}.{champion}.{other}.{began}"
        self._lock = threading.Lock()
        self._new = Known()
        self.known = self._stored()[1]
        """All that is known, as of the last `settle`."""
        self.verdict: Verdict | None = None

    def picks(self, batch: Batch) -> bool:
        """Whether the canary answers a request: all its rows meet one version."""
        rollout = self.rollout
        if not isinstance(rollout, Canary):
            return False
        if batch.version:
            return self.asked_for(batch.version)
        cells = batch.columns.get(rollout.by) if rollout.by else None
        if not cells:
            return random.random() < rollout.part
        return chosen(self.name, str(cells[0]), rollout.part)

    def asked_for(self, version: str) -> bool:
        """Whether a version that a request names is the canary; of a member it cannot be named."""
        return self.role == CANARY and not self._member and version == str(self.other)

    def shadows(self) -> bool:
        """Whether the shadow answers a request as well."""
        return isinstance(self.rollout, Shadow) and random.random() < self.rollout.part

    def answered(self, version: int, answers: int, failed: int, late: int) -> None:
        """Rows were answered by a version, so many of them not at all, or too late."""
        self._add(version, Arm(answers, failed, late))

    def lost(self, version: int, loss: float) -> None:
        """The label of an answer came: how wrong it was."""
        self._add(version, Arm().loss(loss))

    def compared(self, comparison: Comparison) -> None:
        """Answers of the shadow were laid beside the champion's."""
        with self._lock:
            self._new = self._new.merged(Known(comparison=comparison))

    def forget(self) -> None:
        """Remove what is known: it was decided on, and the decision has the figures."""
        self._store.drop(self._space)

    def settle(self) -> Verdict | None:
        """Bring what is new into the store, and judge; of a shadow nothing is judged.

        Raises Unavailable when the store does not answer: what is new is kept for the next time.
        """
        with self._lock:
            new, self._new = self._new, Known()
        try:
            self.known = self._merged(new)
        except FivefoldError:
            with self._lock:
                self._new = self._new.merged(new)
            raise
        if not isinstance(self.rollout, Canary):
            return None
        rules = Rules(
            self.rollout.alpha, self.rollout.tolerance, self.rollout.margin, self.rollout.answers, self.rollout.labels
        )
        self.verdict = judge(rules, self.known.champion, self.known.other)
        return self.verdict

    def about(self) -> dict[str, Any]:
        """What is known, for people."""
        told: dict[str, Any] = {"role": self.role, "version": self.other, "share": self.rollout.share}
        if self._member:
            told["model"] = self.model
        told |= {"champion": _told(self.known.champion), "other": _told(self.known.other)}
        if self.role == SHADOW:
            seen = self.known.comparison
            told["differ"] = {
                "rows": seen.rows,
                "differ": seen.differ,
                "mean_distance": seen.distance / seen.rows if seen.rows else None,
                "largest": seen.largest,
            }
        elif self.verdict is not None:
            told["verdict"] = {"decision": self.verdict.decision, "reason": self.verdict.reason}
        return told

    def _add(self, version: int, arm: Arm) -> None:
        with self._lock:
            if version == self.champion:
                self._new = self._new.merged(Known(champion=arm))
            elif version == self.other:
                self._new = self._new.merged(Known(other=arm))

    def _stored(self) -> tuple[bytes | None, Known]:
        (raw,) = self._store.get([(self._space, MARK)])
        return raw, Known() if raw is None else _read(raw)

    def _merged(self, new: Known) -> Known:
        if new == Known():
            return self._stored()[1]
        for _ in range(_ATTEMPTS):
            raw, held = self._stored()
            whole = held.merged(new)
            try:
                self._store.commit([Write(self._space, [], _write(whole), raw)])
            except Conflict:
                continue  # another process was faster
            return whole
        raise Conflict(f"what is known of {self.name} changes all the time.")


def conclude(workspace: Workspace, model: str, endpoint: str, trial: Trial, verdict: Verdict) -> bool:
    """Make a canary champion, or let it go, as was decided; False when somebody else moved either meanwhile."""
    actor, aliases = f"rollout of {endpoint}", workspace.catalog.aliases
    decision = {
        "endpoint": endpoint,
        "verdict": msgspec.to_builtins(verdict),
        "champion": _told(trial.known.champion),
        "canary": _told(trial.known.other),
    }
    said = f"{verdict.reason}"[:1000]
    try:
        if verdict.decision is Decision.PROMOTE:
            aliases.move(
                model,
                CHAMPION,
                trial.other,
                expected=trial.champion,
                actor=actor,
                reason=f"canary: {said}",
                decision=decision,
            )
        aliases.move(
            model,
            CANARY,
            None,
            expected=trial.other,
            actor=actor,
            reason=f"{verdict.decision}: {said}",
            decision=decision,
        )
    except Conflict:
        return False
    return True


def _told(arm: Arm) -> Mapping[str, Any]:
    return {
        "answers": arm.answers,
        "failed": arm.failed,
        "late": arm.late,
        "labels": arm.losses,
        "mean_loss": arm.mean if arm.losses else None,
    }

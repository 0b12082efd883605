"""Paying for a release before it happens."""

from __future__ import annotations

from fivefold.catalog.releases import Release, Releases
from fivefold.core.errors import Invalid
from fivefold.core.federation import Federation
from fivefold.core.sources import rows_of
from fivefold.federated.privacy.accounting import Curve, epsilon


def ledger_of(federation: Federation) -> str:
    """The ledger that a federation pays into: one for the rows it learns from and for what is protected of them, so
    that two federations over the same rows spend from one budget."""
    if federation.dp is None:
        raise Invalid(f"{federation.ref} has no ledger: it promises no privacy.", hint="Add ff.DP(...).")
    return f"{rows_of(federation.model.target.source).ref} by {federation.dp.unit}"


def pay(releases: Releases, federation: Federation, key: str, what: str, curve: Curve) -> Release:
    """Write a release down before it happens: durable when this returns.

    `key` names the release (federation, round, attempt): the same again costs nothing more, so a round that is resumed
    after a crash is paid once. Raises Conflict, and nothing may be released, when the budget would be exceeded.
    """
    ledger, dp = ledger_of(federation), federation.dp
    assert dp is not None
    return releases.spend(ledger, key, what, curve, epsilon_of=epsilon, budget=dp.epsilon, delta=dp.delta)

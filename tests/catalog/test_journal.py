from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fivefold.catalog import Catalog
from fivefold.catalog.journal import Claim, Done
from fivefold.core.errors import Conflict, Invalid, NotFound


@pytest.fixture
def work(catalog: Catalog) -> Catalog:
    """A catalog with the work `w` begun."""
    catalog.journal.begin("w", "train", "digest", {"model": "late"})
    return catalog


def _claim(catalog: Catalog, owner: str = "me", step: str = "fit", lease_us: int = 100) -> Claim:
    claimed = catalog.journal.claim("w", step, owner, lease_us)
    assert isinstance(claimed, Claim)
    return claimed


def test_a_step_that_has_finished_gives_its_result_and_is_never_claimed_again(work: Catalog) -> None:
    claim = _claim(work)
    result = {"rows": 3, "auc": 1.0, "files": ["a"]}
    work.journal.finish("w", "fit", claim.fence, result)
    work.journal.finish("w", "fit", claim.fence, result)
    assert work.journal.claim("w", "fit", "other", 100) == Done(result)
    with pytest.raises(Conflict, match="done under fence 1"):
        work.journal.finish("w", "fit", claim.fence, {"rows": 4})


def test_a_result_of_nothing_is_a_result(work: Catalog) -> None:
    work.journal.finish("w", "fit", _claim(work).fence, None)
    assert work.journal.claim("w", "fit", "me", 100) == Done(None)


def test_a_step_is_held_until_its_lease_is_over_and_a_late_worker_is_fenced_off(work: Catalog, clock: Any) -> None:
    slow = _claim(work, "slow")
    with pytest.raises(Conflict, match="held by 'slow'"):
        _claim(work, "quick")
    clock.pass_(99)
    slow = work.journal.renew("w", "fit", slow.fence, 100)
    clock.pass_(99)
    with pytest.raises(Conflict, match="held by 'slow'"):
        _claim(work, "quick")
    clock.pass_(1)
    quick = _claim(work, "quick")
    assert quick.fence > slow.fence
    for late in (lambda: work.journal.finish("w", "fit", slow.fence, 1),
                 lambda: work.journal.fail("w", "fit", slow.fence, "x"),
                 lambda: work.journal.renew("w", "fit", slow.fence, 100)):
        with pytest.raises(Conflict, match="somebody else took it over"):
            late()
    work.journal.finish("w", "fit", quick.fence, 2)
    assert work.journal.claim("w", "fit", "slow", 100) == Done(2)


def test_an_owner_that_asks_again_gets_a_new_fence(work: Catalog) -> None:
    first, second = _claim(work), _claim(work)
    assert second.fence == first.fence + 1
    with pytest.raises(Conflict):
        work.journal.finish("w", "fit", first.fence, 1)
    work.journal.finish("w", "fit", second.fence, 1)


def test_a_worker_whose_lease_is_over_may_finish_when_nobody_took_over(work: Catalog, clock: Any) -> None:
    claim = _claim(work)
    clock.pass_(1_000)
    work.journal.finish("w", "fit", claim.fence, 1)
    assert work.journal.claim("w", "fit", "other", 100) == Done(1)


def test_a_failed_step_can_be_claimed_at_once(work: Catalog) -> None:
    claim = _claim(work, "one")
    work.journal.fail("w", "fit", claim.fence, "no memory")
    (step,) = work.journal.steps("w")
    assert (step.status, step.error, step.owner, step.fence) == ("failed", "no memory", "one", 1)
    again = _claim(work, "two")
    assert again.fence == 2
    (step,) = work.journal.steps("w")
    assert (step.status, step.error, step.owner, step.finished_at) == ("running", "", "two", None)


def test_steps_keep_their_times_and_past_durations_are_told(catalog: Catalog, clock: Any) -> None:
    for work, took in (("w1", 30), ("w2", 50)):
        catalog.journal.begin(work, "train")
        claim = catalog.journal.claim(work, "fit", "me", 100)
        assert isinstance(claim, Claim)
        clock.pass_(took)
        catalog.journal.finish(work, "fit", claim.fence)
    catalog.journal.begin("w3", "score")
    catalog.journal.claim("w3", "fit", "me", 100)
    assert catalog.journal.durations("train", "fit") == (50, 30)
    assert catalog.journal.durations("train", "fit", limit=1) == (50,)
    assert catalog.journal.durations("score", "fit") == ()
    (step,) = catalog.journal.steps("w1")
    assert step.finished_at == step.started_at + 30


def test_beginning_again_returns_the_work_and_another_under_its_id_is_a_conflict(work: Catalog) -> None:
    held = work.journal.begin("w", "train", "digest", {"model": "late"})
    assert (held.kind, held.key, held.request, held.status) == ("train", "digest", {"model": "late"}, "open")
    for kind, key, request in (("score", "digest", {"model": "late"}), ("train", "other", {"model": "late"}),
                               ("train", "digest", {"model": "early"})):
        with pytest.raises(Conflict, match="'w' was begun as 'train'"):
            work.journal.begin("w", kind, key, request)


def test_works_are_listed_by_kind_status_and_key(work: Catalog, clock: Any) -> None:
    clock.pass_(1)
    work.journal.begin("v", "score", "k")
    work.journal.end("v")
    assert [w.id for w in work.journal.works()] == ["v", "w"]
    assert [w.id for w in work.journal.works(kind="train")] == ["w"]
    assert [w.id for w in work.journal.works(status="done")] == ["v"]
    assert [w.id for w in work.journal.works(key="digest")] == ["w"]
    assert work.journal.work("v").ended_at == clock.now


def test_a_failed_work_may_become_done_but_not_the_other_way_round(work: Catalog) -> None:
    assert work.journal.end("w", "failed", "no data").error == "no data"
    assert work.journal.end("w").status == "done"
    assert work.journal.end("w").error == ""
    with pytest.raises(Conflict, match="done already"):
        work.journal.end("w", "failed")
    with pytest.raises(Invalid, match="'open' is not how a work ends"):
        work.journal.end("w", "open")


def test_what_was_never_begun_or_claimed_is_not_found(work: Catalog) -> None:
    with pytest.raises(NotFound):
        work.journal.claim("none", "fit", "me", 100)
    with pytest.raises(NotFound, match="'fit' of the work 'w' was never claimed"):
        work.journal.finish("w", "fit", 1)
    with pytest.raises(NotFound, match="no work 'none'"):
        work.journal.work("none")


def test_a_result_that_is_not_json_or_too_large_is_invalid(work: Catalog) -> None:
    claim = _claim(work)
    for result in ({1, 2}, float("nan"), "x" * 1_000_001):
        with pytest.raises(Invalid, match="result of step 'fit'"):
            work.journal.finish("w", "fit", claim.fence, result)  # type: ignore[arg-type]
    with pytest.raises(Invalid, match="lease_us"):
        work.journal.claim("w", "fit", "me", 0)


def test_processes_that_share_a_work_do_every_step_once(
        work: Catalog, catalog_url: str, together: Callable[[str, str, int], list[str]]) -> None:
    code = """
from fivefold.catalog.journal import Claim
did = []
with open_catalog(url, "flights") as c:
    for n in range(40):
        try:
            claim = c.journal.claim("w", f"s{n}", f"p{number}", 60_000_000)
        except FivefoldError as e:
            assert type(e).__name__ == "Conflict", e
            continue
        if isinstance(claim, Claim):
            did.append(n)
            c.journal.finish("w", f"s{n}", claim.fence, number)
print(" ".join(map(str, did)) or "none")
"""
    did = [int(n) for line in together(code, catalog_url, 4) if line != "none" for n in line.split()]
    assert sorted(did) == list(range(40))
    steps = work.journal.steps("w")
    assert [(s.status, s.fence, s.owner) for s in steps] == [("done", 1, f"p{s.result}") for s in steps]

"""Endpoints of several steps: each member says what it says alone, and the last step makes the answer."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fivefold.core.errors import NotFound

ROWS = st.lists(
    st.fixed_dictionaries({
        "customer_id": st.sampled_from(["c1", "c2", "nobody", ""]),
        "cents": st.none() | st.integers(-2, 90_000) | st.sampled_from([1300, -100]) | st.just("x")}),
    min_size=1, max_size=9)


def asked(asker: Any, rows: Any, endpoint: str) -> list[Any]:
    status, found = asker.ask({"rows": rows}, f"/predict/{endpoint}")
    assert status == 200, found
    return list(found["rows"])


def said(answer: Any) -> Any:
    return answer.get("prediction"), answer.get("features"), answer.get("error"), answer.get("warnings")


def test_the_weighted_mean_is_of_what_each_says_alone(one_stepped: Any) -> None:
    rows = [{"customer_id": f"c{i}", "amount": i * 3.7} for i in range(1, 20)]
    blended = asked(one_stepped, rows, "blend")
    alone = asked(one_stepped, rows, "returned")
    for row, answer, other in zip(rows, blended, alone, strict=True):
        features = {n: f["value"] for n, f in answer["features"].items()}
        assert features["returned"] == other["prediction"]
        assert {n: f for n, f in answer["features"].items() if n.startswith("returned.")} == {
            f"returned.{n}": f for n, f in other["features"].items()}
        quick = one_stepped.live["blend"]._using.members["quick"].served.loaded.predict_row([row["amount"]])[0]
        assert features["quick"] == quick
        assert answer["prediction"] == features["blend"] == 0.25 * quick + 0.75 * other["prediction"]


def test_a_prediction_is_a_field_of_the_next_and_labels_come_out(one_stepped: Any) -> None:
    rows = [{"customer_id": f"c{i % 40}", "cents": i * 311} for i in range(60)]
    answers = asked(one_stepped, rows, "chain")
    members = one_stepped.live["chain"]._using.members
    seen = set()
    for row, answer in zip(rows, answers, strict=True):
        f = {n: v["value"] for n, v in answer["features"].items()}
        assert f["amount"] == row["cents"] / 100
        assert f["deep.quick"] == f["quick"] == members["quick"].served.loaded.predict_row([f["amount"]])[0]
        deep = [f[f"deep.{n}"] for n in members["deep"].names]
        assert f["deep"] == members["deep"].served.loaded.predict_row(deep)[0]
        assert f["mixed"] == (f["quick"] + f["deep"]) / 2
        kinds = members["kind"].served.loaded.predict_row([f[f"kind.{n}"] for n in members["kind"].names])[0].tolist()
        classes = members["kind"].signature.classes
        assert f["kind"] == classes[kinds.index(max(kinds))]
        early = kinds[classes.index("early")]
        assert answer["prediction"] == ("refund" if f["mixed"] > 0.3 else "early" if early > 0.4 else f["kind"])
        seen.add(answer["prediction"])
    assert len(seen) > 1
    signature = one_stepped.live["chain"].signature
    assert (signature.model, signature.task, str(signature.gives)) == ("deep", "decision", "string")
    assert dict(signature.fields) == {"cents": "int64", "customer_id": "string"}


@settings(max_examples=40, deadline=None)
@given(ROWS)
def test_a_row_alone_is_the_row_among_others(one_stepped: Any, rows: list[dict[str, Any]]) -> None:
    together = [said(a) for a in asked(one_stepped, rows, "chain")]
    alone = [said(asked(one_stepped, [r], "chain")[0]) for r in rows]
    backwards = [said(a) for a in asked(one_stepped, rows[::-1], "chain")][::-1]
    assert together == alone == backwards


def test_what_fails_a_step_fails_its_row_alone_and_says_which(one_stepped: Any) -> None:
    good = {"customer_id": "c1", "cents": 2000}
    rows = [good, {**good, "cents": 1300}, {**good, "cents": -100}, {**good, "cents": "x"}, {**good, "cents": 60_000}, good]
    answers = asked(one_stepped, rows, "chain")
    assert [a.get("error", {}).get("message") for a in answers] == [
        None, "the step 'returned': udf:capped failed: ValueError: thirteen.",
        "the step 'quick': the row breaks the check 'amount >= 0': amount = -1.0.",
        "the field 'cents' is 'x', which is not int64.", None, None]
    assert said(answers[0]) == said(answers[-1])
    assert "quick: the check 'large' does not hold" in answers[4]["warnings"]
    (answer,) = asked(one_stepped, [{**good, "amount": 3.0}], "chain")
    assert "there is no field 'amount'" in answer["error"]["message"]


def test_an_answer_that_is_null_fails_the_row(stepped: Any) -> None:
    stepped.edit('"0.25 * quick + 0.75 * returned"', '"case when quick > 2 then quick end"')
    with stepped.app() as asker:
        (answer,) = asked(asker, [{"customer_id": "c1", "amount": 2.5}], "blend")
    assert answer["error"]["message"] == "the answer, the step 'blend', is null for this row."


def test_a_member_changes_while_the_others_stay(stepped: Any) -> None:
    row = {"customer_id": "c1", "cents": 2000}
    with stepped.app() as asker:
        live = asker.live["chain"]
        before, held = live.signature, dict(live._using.members)
        first = asked(asker, [row], "chain")[0]
        stepped.edit('learner=ff.learner("logistic"), seed=0', 'learner=ff.learner("logistic", l2=50.0), seed=0')
        stepped.train("quick")
        live.refresh()
        assert live._using.versions == {"quick": 2, "returned": 1, "deep": 1, "kind": 1}
        assert live._using.members["deep"] is held["deep"]
        assert (live.signature.version, live.signature.key == before.key) == (1, False)
        second = asked(asker, [row], "chain")[0]
        assert second["features"]["deep.quick"]["value"] != first["features"]["deep.quick"]["value"]


def test_a_member_without_a_champion_is_named(stepped: Any) -> None:
    stepped.edit("blend = ff", "lone = ff.Model('lone', ff.Target(orders, 'returned'), features=[ff.Request('amount', float)],"
                 "learner=ff.learner('logistic'), split=ff.RandomSplit(0.2))\nblend = ff")
    stepped.edit('    quick, returned, ff.Derived("blend"', '    lone, quick, returned, ff.Derived("blend"')
    with stepped.app() as asker:
        status, told = asker.ask({"customer_id": "c1", "amount": 1.0}, "/predict/blend")
    assert status == 503
    assert "the model 'lone' of the endpoint 'blend' has no champion yet" in told["error"]["message"]
    assert "fivefold train lone" in told["error"]["hint"]


def test_versions_that_do_not_fit_each_other_leave_the_old_ones_in_use(stepped: Any) -> None:
    row = {"customer_id": "c1", "amount": 20.0}
    with stepped.app() as asker:
        live = asker.live["blend"]
        before = asked(asker, [row], "blend")[0]["prediction"]
        text = (stepped.root / "project.py").read_text()
        # what is served goes on with the steps that it began with
        (stepped.root / "project.py").write_text(text[: text.index("blend = ff")])
        stepped.edit('ff.Model("quick", ff.Target(orders', 'ff.Model("quick", ff.Target(before')
        stepped.edit('features=[ff.Request("amount", float)], split', 'features=[ff.Request("quick", float)], split')
        stepped.train("quick")
        live.refresh()
        assert "model:quick takes 'quick', which it makes itself: a cycle" in str(live.trouble)
        assert live._using.versions["quick"] == 1
        assert asked(asker, [row], "blend")[0]["prediction"] == before


def test_a_class_that_the_version_does_not_have_is_refused_with_those_it_has(stepped: Any) -> None:
    stepped.edit("kind.early > 0.4", "kind.erly > 0.4")
    with stepped.app() as asker:
        trouble = asker.live["chain"].trouble
    assert isinstance(trouble, NotFound)
    assert "'erly'" in str(trouble)
    assert "early" in trouble.hint


def test_members_keep_what_they_said(stepped: Any) -> None:
    stepped.edit('ff.Endpoint("chain", deep,', 'ff.Endpoint("chain", deep, cache="1h",')
    row = {"customer_id": "c1", "cents": 2000}
    with stepped.app() as asker:
        first = said(asked(asker, [row], "chain")[0])
        cache = asker.live["chain"].cache
        assert (cache.counts()["misses"], cache.counts()["hits"]) == (4, 0)
        assert said(asked(asker, [row], "chain")[0]) == first
        assert (cache.counts()["misses"], cache.counts()["hits"]) == (4, 4)
        asked(asker, [{**row, "cents": 2001}], "chain")
        assert cache.counts()["misses"] > 4


def test_a_canary_of_a_member_answers_its_share_and_becomes_champion(stepped: Any) -> None:
    rollout = 'rollout=ff.Canary("50%", by="customer_id", labels=False, answers=60), '
    stepped.edit('ff.Endpoint("chain", deep, ', f'ff.Endpoint("chain", deep, {rollout}')
    stepped.edit('learner=ff.learner("logistic"), seed=0', 'learner=ff.learner("logistic", l2=50.0), seed=0')
    stepped.train("quick", trial="canary")
    with stepped.app() as asker:
        live = asker.live["chain"]
        live.refresh()
        assert live.rollout()["model"] == "quick"
        keys: dict[str, set[str]] = {}
        for i in range(200):
            row = {"customer_id": f"c{i % 50}", "cents": 100 * i}
            if row["cents"] != 1300:
                keys.setdefault(row["customer_id"], set()).add(asker.ask(row, "/predict/chain")[1]["key"])
        assert all(len(met) == 1 for met in keys.values())
        assert len({k for met in keys.values() for k in met}) == 2
        live.refresh()
        assert live._using.versions["quick"] == 2
        assert live.rollout() is None
        with stepped.open() as w:
            assert w.catalog.aliases.current("quick", "champion") == 2
            assert w.catalog.aliases.current("quick", "canary") is None

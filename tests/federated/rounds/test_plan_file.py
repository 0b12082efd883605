from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fivefold.core.errors import FivefoldError, Invalid
from fivefold.federated.rounds.manifest import Plan
from fivefold.federated.rounds.plan_file import load, read_plans
from fivefold.federated.rounds.policy import Policy, read_policy

GOOD = {"task": "counts", "rounds": 1, "length": 5, "bits": 16, "cohort": 8, "min_survivors": 3}


def test_a_file_of_two_federations(tmp_path: Path) -> None:
    (tmp_path / "rule.py").write_text("class Rule:\n    made = True\nready = Rule()\n")
    table = "rounds = 1\nlength = 5\nbits = 16\ncohort = 8\nmin_survivors = 3\n"
    (tmp_path / "f.toml").write_text(f'[one]\n{table}rule = "rule.py:Rule"\n[two]\n{table}seconds = 9\nrule = "rule.py:ready"\n')
    found = read_plans(tmp_path / "f.toml")
    assert found["one"][0] == Plan(**{**GOOD, "task": "one"})
    assert found["two"][0].seconds == 9
    assert all(rule.made for _, rule in found.values())  # type: ignore[attr-defined]


@pytest.mark.parametrize(("text", "why"), [
    ("", "has no federation"),
    ("[", "is not TOML"),
    ("one = 1", "has no rule"),
    ("[one]\nrule = 'rule.py:Rule'\ntask = 'x'", "not known: task"),
    ("[one]\nrule = 'rule.py:Rule'\nrounds = 'x'", "is not accepted"),
    ("[one]\nrule = 'rule.py:Rule'", "missing required field"),
])
def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "rule.py").write_text("class Rule: pass\n")
    (tmp_path / "f.toml").write_text(text)
    with pytest.raises(Invalid, match=why):
        read_plans(tmp_path / "f.toml")


@pytest.mark.parametrize(("reference", "why"), [("rule", "accepted: file.py:name"), ("none.py:x", "no file"), ("rule.py:Rul", "Did you mean 'Rule'")])
def test_what_a_reference_does_not_lead_to_is_said(tmp_path: Path, reference: str, why: str) -> None:
    (tmp_path / "rule.py").write_text("class Rule: pass\n")
    with pytest.raises(FivefoldError) as told:
        load(reference, tmp_path)
    assert why in str(told.value)


@pytest.mark.parametrize(("other", "why"), [
    ({"mode": "secret"}, "mode: 'secret' is not known"),
    ({"mode": "buckets"}, "two or more are its sign"),
    ({"buckets": 2}, "do not go with mode 'secure'"),
    ({"mode": "buckets", "buckets": 3}, "8 clients cannot fill 3 buckets of 3"),
    ({"cohort": 2}, "2 clients cannot fill 1 buckets of 3"),
    ({"seconds": 0}, "seconds, rounds"),
    ({"rounds": 0}, "seconds, rounds"),
    ({"bits": 62}, "need a modulus of 65 bits"),
    ({"length": 0}, "length: 0"),
])
def test_a_plan_that_cannot_be_kept_is_refused_before_anything_begins(other: dict[str, Any], why: str) -> None:
    with pytest.raises(Invalid, match=why):
        Plan(**{**GOOD, **other})


def test_a_policy_is_the_federations_own_the_default_or_what_is_safe() -> None:
    text = "[default]\nmin_clients = 5\n[counts]\nmodes = ['plain']\n"
    assert read_policy(text, "counts") == Policy(modes=("plain",))
    assert read_policy(text, "others") == Policy(min_clients=5)
    assert read_policy("", "counts") == Policy()
    assert Policy().modes == ("secure",)
    for wrong in ("[counts]\nmods = 1", "[counts]\nmodes = ['secret']", "[counts]\nmin_survivors = 1", "[counts"):
        with pytest.raises(Invalid):
            read_policy(wrong, "counts")

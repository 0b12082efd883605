"""A federation that cannot keep what it promises is refused where it is declared."""

from __future__ import annotations

import pytest

import fivefold as ff
from fivefold.core.noun import definition, noun_digest
from fivefold.core.project import collect
from fivefold.core.revive import revive

FLIGHTS = ff.Table("flights", "f.csv", time="at")
MODEL = ff.Model("m", ff.Target(FLIGHTS, "late"), [ff.Request("x", float)], ff.learner("logistic"), ff.RandomSplit())


def federation(**more):  # type: ignore[no-untyped-def]
    return ff.Federation("f", MODEL, **{"split": "carrier", **more})


def test_a_federation_of_the_design_is_accepted() -> None:
    made = federation(rounds=20, strategy=ff.FedAvg(), privacy=[ff.SecureSum(min_survivors=12), ff.DP(epsilon=3, delta=1e-5, unit="row")])
    assert made.secure == ff.SecureSum(12)
    assert made.dp == ff.DP(3.0, 1e-5)
    assert made.trained.kind == "logistic"


def test_one_meaning_has_one_digest() -> None:
    assert noun_digest(federation(strategy=ff.FedAvg(lr=1))) == noun_digest(federation(strategy=ff.FedAvg(lr=1.0)))
    assert noun_digest(federation(privacy=ff.DP(3, 1e-5))) == noun_digest(federation(privacy=[ff.DP(3.0, 1e-5)]))


@pytest.mark.parametrize("more", [
    {"strategy": ff.FedProx(mu=0.5)}, {"strategy": ff.Scaffold()}, {"strategy": ff.FedNova()}, {"strategy": ff.FedAdam()},
    {"strategy": ff.Newton()}, {"strategy": ff.Ditto()}, {"strategy": ff.SharedBody(head="out"), "learner": ff.learner("torch", object)},
    {"robust": ff.Krum(1, keep=2), "cohort": 9}, {"privacy": [ff.SecureSum(3)], "robust": ff.TrimmedMean(1), "cohort": 12},
    {"public": [FLIGHTS], "levels": {"x": ["a"]}, "round_bytes": "2MB"}])
def test_a_federation_comes_back_from_its_definition(more) -> None:  # type: ignore[no-untyped-def]
    made = federation(**more)
    project = collect("p", [made])
    back = revive({ref: definition(noun) for ref, noun in project.nouns.items()}, {})
    assert noun_digest(back["federation:f"]) == noun_digest(made)


TREES, SKLEARN = ff.learner("trees"), ff.learner("sklearn", object)


@pytest.mark.parametrize(("make", "message"), [
    (lambda: federation(split=""), "split=''"),
    (lambda: federation(rounds=0), "rounds=0"),
    (lambda: federation(learner=ff.learner("lightgbm")), "cannot be trained by sums"),
    (lambda: federation(privacy=[ff.SecureSum(3), ff.SecureSum(4)]), "two SecureSum"),
    (lambda: federation(privacy=["secure"]), "privacy='secure'"),
    (lambda: federation(strategy="fedavg"), "strategy='fedavg' is none"),
    (lambda: federation(robust="median"), "robust='median' is no rule"),
    (lambda: federation(round_bytes="much"), "'much' is not a size"),
    (lambda: federation(round_bytes="2 XB"), "is not a size"),
    (lambda: federation(learner=TREES, strategy=ff.FedAvg()), "take no strategy"),
    (lambda: federation(learner=TREES, privacy=[ff.DP(1, 1e-5)]), "no differential privacy"),
    (lambda: federation(learner=ff.learner("torch", object), strategy=ff.Newton()), "Newton is for the learner logistic"),
    (lambda: federation(learner=SKLEARN, strategy=ff.FedProx()), "scikit-learn takes its own"),
    (lambda: federation(learner=SKLEARN, privacy=[ff.DP(1, 1e-5)]), "which scikit-learn does not give"),
    (lambda: federation(strategy=ff.Scaffold(), privacy=[ff.DP(1, 1e-5, unit="client")]), "more than one clipped vector"),
    (lambda: federation(strategy=ff.FedAvg(epochs=2), privacy=[ff.DP(1, 1e-5)]), "one step a round over all rows"),
    (lambda: federation(strategy=ff.FedProx(), privacy=[ff.DP(1, 1e-5)]), "accepted: ff.FedAvg, ff.FedAdam"),
    (lambda: federation(cohort=4, privacy=[ff.SecureSum(5)]), "can never have min_survivors=5"),
    (lambda: federation(cohort=6, robust=ff.Krum(2)), "needs at least 7 sites"),
    (lambda: federation(cohort=7, robust=ff.Krum(2, keep=6)), "needs at least 8 sites"),
    (lambda: federation(cohort=4, robust=ff.TrimmedMean(2)), "needs at least 5 sites"),
    (lambda: federation(cohort=7, robust=ff.Median(), privacy=[ff.SecureSum(4)]), "cannot fill two buckets"),
    (lambda: federation(cohort=8, robust=ff.Median(), privacy=[ff.SecureSum(4)]), "needs at least 3 buckets"),
    (lambda: federation(robust=ff.FLTrust(), privacy=[ff.SecureSum(4)]), "which SecureSum hides"),
    (lambda: federation(robust=ff.Median(), strategy=ff.Newton()), "is made of sums"),
    (lambda: federation(robust=ff.Median(), strategy=ff.Scaffold()), "sends more than changes"),
    (lambda: federation(keep=0), "keep=0"),
    (lambda: federation(keep=0.1, privacy=[ff.SecureSum(3)]), "which SecureSum hides"),
    (lambda: federation(keep=0.1, strategy=ff.Newton()), "for changes of a model"),
    (lambda: ff.FedAvg(epochs=0), "epochs=0"),
    (lambda: ff.FedAvg(lr=-1), "FedAvg: lr=-1"),
    (lambda: ff.FedAvg(lr=float("nan")), "lr=nan"),
    (lambda: ff.FedAvg(momentum=1.0), "momentum=1.0"),
    (lambda: ff.FedAdam(beta2=1.0), "beta2=1.0"),
    (lambda: ff.SharedBody(), "no head is named"),
    (lambda: ff.SecureSum(1), "min_survivors=1"),
    (lambda: ff.SecureSum(3, bits=40), "bits=40"),
    (lambda: ff.DP(0, 1e-5), "epsilon=0"),
    (lambda: ff.DP(1, 0), "delta=0"),
    (lambda: ff.DP(1, 1e-5, unit="user"), "unit='user'"),
    (lambda: ff.NormBound(0), "norm=0"),
    (lambda: ff.TrimmedMean(0), "cut=0")])
def test_what_cannot_be_kept_is_refused(make, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ff.Invalid, match=message):
        make()

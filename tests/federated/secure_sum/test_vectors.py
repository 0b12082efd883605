"""Every byte of a sum is the one that a slow reference, which shares no code with us, has written down."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from sum_people import identify, identity
from sum_reference import VECTORS, Drawn, cases

from fivefold.federated.secure_sum.client import SumClient
from fivefold.federated.secure_sum.graph import Graph
from fivefold.federated.secure_sum.server import SumServer
from fivefold.federated.secure_sum.terms import Terms

WRITTEN = json.loads(VECTORS.read_text())


def test_the_file_is_what_the_reference_makes() -> None:
    assert json.loads(json.dumps(cases())) == WRITTEN


@pytest.mark.parametrize("case", WRITTEN["sums"])
def test_every_message_of_a_sum(case: dict[str, Any]) -> None:
    given, wanted = case["given"], case["wanted"]
    names = sorted(given["vectors"])
    terms = Terms(session=bytes.fromhex(given["session"]), length=given["length"], bits=given["bits"],
                  modulus_bits=given["modulus_bits"], cohort=len(names), min_survivors=2, corrupt=given["corrupt"])
    people = {u: SumClient(terms, u, np.array(given["vectors"][u], np.uint64), sign=identity(u).sign, credential=b"",
                           identify=identify, random=Drawn(u)) for u in names}
    assert {u: identify(u, b"").hex() for u in names} == wanted["public_identities"]
    server = SumServer(terms, names, identify)
    adverts = {u: c.advertise() for u, c in people.items()}
    assert {u: [a.cipher_key.hex(), a.mask_key.hex(), a.signature.hex()] for u, a in adverts.items()} == wanted["adverts"]
    for a in adverts.values():
        server.accept(a)
    shares: Any = {u: people[u].receive(m) for u, m in server.close().items()}
    assert server._root.hex() == wanted["root"]
    assert server._graph.threshold == wanted["threshold"]
    assert {u: s.commitment.hex() for u, s in shares.items()} == wanted["commitments"]
    assert {u: {names[i]: box.hex() for i, box in s.sealed.items()} for u, s in shares.items()} == wanted["sealed"]
    for s in shares.values():
        server.accept(s)
    masked: Any = {u: people[u].receive(m) for u, m in server.close().items()}
    for u in wanted["masked"]:
        assert masked[u].data.hex() == wanted["masked"][u]
        server.accept(masked[u])
    survivors: Any = server.close()
    assert {m.alive.hex() for m in survivors.values()} == {wanted["alive"]}
    consents: Any = {u: people[u].receive(m) for u, m in survivors.items()}
    assert {u: c.signature.hex() for u, c in consents.items()} == wanted["consents"]
    for c in consents.values():
        server.accept(c)
    unmask: Any = {u: people[u].receive(m) for u, m in server.close().items()}
    assert {u: {names[i]: s.hex() for i, s in m.shares.items()} for u, m in unmask.items()} == wanted["unmask"]
    for m in unmask.values():
        server.accept(m)
    server.close()
    assert server.result is not None
    assert server.result.values.tolist() == wanted["sum"]
    assert list(server.result.survivors) == sorted(wanted["masked"])


@pytest.mark.parametrize("case", WRITTEN["rings"])
def test_the_neighbours_on_a_ring(case: dict[str, Any]) -> None:
    given = case["given"]
    graph = Graph(given["clients"], 20, 5, bytes.fromhex(given["session"]), bytes.fromhex(given["root"]))
    assert graph.degree == given["degree"]
    assert [list(graph.neighbours(i)) for i in range(given["clients"])] == case["wanted"]

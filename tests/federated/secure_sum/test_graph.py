from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import hypergeom

from fivefold.federated.secure_sum.graph import COMPLETE_UP_TO, LOST_BITS, UNSAFE_BITS, Graph, shape


@pytest.mark.parametrize(("clients", "corrupt", "dropout"), [(128, 20, 5), (500, 33, 5), (1000, 20, 10), (1000, 10, 10), (10_000, 5, 5)])
def test_the_ring_is_as_safe_as_the_tails_say_and_no_larger(clients: int, corrupt: int, dropout: int) -> None:
    degree, threshold = shape(clients, corrupt, dropout)
    assert degree < clients - 1
    bad, gone = clients * corrupt // 100, clients * dropout // 100

    def unsafe(k: int, t: int) -> float:
        # somebody with so many corrupt neighbours that two sets of survivors find t consents each
        return float(clients * hypergeom.sf(2 * t - (k + 1) - 1, clients - 1, bad, k))

    def lost(k: int, t: int) -> float:
        return float(clients * hypergeom.sf(k - t, clients - 1, gone, k))

    assert unsafe(degree, threshold) < 2.0**-UNSAFE_BITS <= unsafe(degree, threshold - 1)
    assert lost(degree, threshold) < 2.0**-LOST_BITS
    smaller = degree - 2
    torn = clients * ((corrupt + dropout) / 100) ** (smaller // 2) >= 2.0**-UNSAFE_BITS
    assert torn or all(unsafe(smaller, t) >= 2.0**-UNSAFE_BITS or lost(smaller, t) >= 2.0**-LOST_BITS for t in range(smaller // 2 + 1, smaller + 2))


def test_up_to_a_hundred_everybody_is_everybodys_neighbour() -> None:
    assert COMPLETE_UP_TO == 100
    assert shape(100, 33, 10) == (99, 67)
    assert shape(16, 33, 10) == (15, 11)
    assert shape(3, 33, 10) == (2, 2)
    assert shape(2, 0, 0) == (1, 2)


def test_where_no_ring_will_do_the_graph_is_complete() -> None:
    assert shape(101, 49, 30)[0] == 100


@given(clients=st.integers(2, 100), corrupt=st.integers(0, 49))
def test_the_threshold_withstands_a_server_with_as_many_corrupt_clients(clients: int, corrupt: int) -> None:
    threshold = shape(clients, corrupt, 10).threshold
    assert 2 * threshold > clients + clients * corrupt // 100
    assert threshold <= clients


@settings(max_examples=15, deadline=None)
@given(clients=st.integers(101, 400), root=st.binary(min_size=32, max_size=32))
def test_neighbours_are_mutual_distinct_and_as_many_as_the_degree(clients: int, root: bytes) -> None:
    graph = Graph(clients, 10, 5, bytes(32), root)
    found = [graph.neighbours(i) for i in range(clients)]
    for i, near in enumerate(found):
        assert len(set(near)) == len(near) == graph.degree
        assert i not in near
        assert list(near) == sorted(near)
        assert all(i in found[j] for j in near)


def test_another_root_is_another_ring() -> None:
    one, other = (Graph(200, 10, 5, bytes(32), bytes([i]) * 32).neighbours(0) for i in (1, 2))
    assert one != other

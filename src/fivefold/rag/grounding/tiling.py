"""Two sentences laid over each other: the runs of tokens they share, longest first, wherever they stand.

Greedy string tiling, M. J. Wise, "String similarity via greedy string tiling and running Karp-Rabin matching" (1993).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple


class Tile(NamedTuple):
    """`length` tokens from `left` of the one are those from `right` of the other."""

    left: int
    right: int
    length: int


def tiles(
    left: Sequence[str], right: Sequence[str], left_apart: Collection[int] = (), right_apart: Collection[int] = ()
) -> tuple[Tile, ...]:
    """Runs of equal tokens, each token of either side in one run at most; of equal lengths the leftmost goes first.

    `left_apart` and `right_apart` are the places of tokens that punctuation parts from the one before: a run goes on
    past one only where it is parted on both sides.
    """

    def follow(i: int, j: int) -> bool:
        return (i in left_apart) == (j in right_apart)

    where: dict[str, list[int]] = {}
    for j, token in enumerate(right):
        where.setdefault(token, []).append(j)
    free_left, free_right = [True] * len(left), [True] * len(right)
    found: list[Tile] = []
    while True:
        best = Tile(0, 0, 0)
        for i, token in enumerate(left):
            if not free_left[i]:
                continue
            for j in where.get(token, ()):
                # a run is measured from its first token only
                inside = i and j and free_left[i - 1] and free_right[j - 1] and left[i - 1] == right[j - 1]
                if (inside and follow(i, j)) or not free_right[j]:
                    continue
                n = 0
                while (
                    i + n < len(left)
                    and j + n < len(right)
                    and free_left[i + n]
                    and free_right[j + n]
                    and left[i + n] == right[j + n]
                    and (not n or follow(i + n, j + n))
                ):
                    n += 1
                if n > best.length:
                    best = Tile(i, j, n)
        if not best.length:
            return tuple(found)
        found.append(best)
        for n in range(best.length):
            free_left[best.left + n] = free_right[best.right + n] = False

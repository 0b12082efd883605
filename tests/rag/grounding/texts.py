"""Generated text: anything at all, and prose of plain sentences."""

from __future__ import annotations

from hypothesis import strategies as st

PIECES = [". ", "! ", "? ", "\n", "\n\n", "`", "``", "```", "[1]", " [2]", "[1, 2] ", "Dr. ", "e.g. ", "3.5", "- ", "1. ", "# ", "| ", "A.", "The ", "word ", "。", "\"", ")", " ", "é", "ß", "👍", "不", "1,200", "not ", "…", "x", "\u2028", "\r\n"]

anything = st.one_of(st.text(max_size=80), st.lists(st.sampled_from(PIECES), max_size=30).map("".join))

NOUNS = ["pump", "valve", "sensor", "filter", "motor", "cable", "panel", "tank", "robot", "engine"]
VERBS = ["moved", "stopped", "heated", "cooled", "tested", "filled", "opened", "closed"]
NAMES = ["Berlin", "Oslo", "Lagos", "Quito", "Hanoi", "Perth"]


@st.composite
def facts(draw: st.DrawFn) -> tuple[str, int, str, bool]:
    """A sentence with a number, a name and maybe a negation; and these three."""
    noun, other = draw(st.lists(st.sampled_from(NOUNS), min_size=2, max_size=2, unique=True))
    number, name, denied = draw(st.integers(2, 9999)), draw(st.sampled_from(NAMES)), draw(st.booleans())
    verb = draw(st.sampled_from(["run", "start", "leak", "break"]))
    did = "did not" if denied else "did"
    return f"The {noun} {did} {verb} beside the {other} after {number} days in {name}.", number, name, denied

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from fivefold.backends.log.streams import Arrival
from fivefold.backends.pubsub.envelope import arrived, sent
from fivefold.ports.streams import Message

NAMES = st.text(st.sampled_from("abé."), min_size=1, max_size=3) | st.sampled_from(["fivefold.key", "goog", "x" * 300, ""])
BYTES = st.binary(max_size=5) | st.sampled_from([b"text", b"\xff", "é".encode(), b"x" * 1025])


@given(BYTES, st.none() | BYTES, st.lists(st.tuples(NAMES, BYTES), max_size=4), st.none() | st.integers(0, 3))
@example(b"", None, [], None)
@example(b"", b"", [("b", b"1"), ("a", b"2")], 0)
def test_what_is_put_in_is_taken_out(value: bytes, key: bytes | None, headers: list[tuple[str, bytes]], partition: int | None) -> None:
    message = Message(value, key, tuple(headers))
    fields = sent(message, partition)
    assert fields["data"] or fields["attributes"]
    assert len(fields["ordering_key"]) <= 1024
    assert bool(fields["ordering_key"]) == (key is not None)
    # as it travels: attributes lose their order
    attributes = dict(sorted(fields["attributes"].items(), reverse=True))
    assert arrived("7", fields["data"], attributes, fields["ordering_key"], 4) == Arrival(b"7", message, partition)


def test_what_is_a_text_is_left_plain_for_others() -> None:
    assert sent(Message(b"v", b"key", (("a", b"1"), ("b", b"2"))), None) == {
        "data": b"v", "attributes": {"a": "1", "b": "2"}, "ordering_key": "key"}


def test_messages_of_others_are_read_whatever_they_hold() -> None:
    assert arrived("7", b"v", {"b": "2", "a": "é"}, "", 1).message == Message(b"v", None, (("a", "é".encode()), ("b", b"2")))
    strange = {"fivefold.key": "no base64!", "fivefold.headers": "AAAA", "fivefold.partition": "9", "a": "1"}
    assert arrived("7", b"", strange, "k", 4) == Arrival(b"7", Message(b"", b"k", (("a", b"1"),)), None)

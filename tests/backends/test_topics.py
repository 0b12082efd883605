from __future__ import annotations

import itertools

import pytest

from fivefold.backends.topics import out_of_range, partition_of, settings, spread, topic_name
from fivefold.core.errors import Invalid
from fivefold.core.time import DAY
from fivefold.ports.streams import Message


def test_settings_are_read_with_their_units() -> None:
    asked = {"partitions": "4", "retention": "7d", "max_bytes": "20GB", "max_records": "10", "inbox": "/x"}
    found = settings(asked, "the URL", tuple(asked))
    assert (found.partitions, found.retention, found.max_bytes, found.max_records) == (4, 7 * DAY, 20 * 10**9, 10)
    assert found.rest == {"inbox": "/x"}
    assert settings({}, "the URL", ()).partitions is None


@pytest.mark.parametrize(("name", "text", "said"), [
    ("partitions", "0", "the URL, partitions: '0' is not a number of partitions (accepted: 1 to 1024)"),
    ("partitions", "1025", "is not a number of partitions"), ("partitions", "two", "is not a number of partitions"),
    ("retention", "7", "the URL, retention: '7' is not a duration"), ("max_bytes", "many", "is not a size"),
    ("max_bytes", "0", "is not a size"), ("max_records", "-1", "is not a whole number above 0"),
    ("partition", "4", "the URL: no setting 'partition' (have: partitions, retention, max_bytes, max_records). Did you mean 'partitions'?"),
])
def test_a_wrong_setting_says_what_is_accepted(name: str, text: str, said: str) -> None:
    with pytest.raises(Invalid) as e:
        settings({name: text}, "the URL", ("partitions", "retention", "max_bytes", "max_records"))
    assert said in str(e.value)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a b", "-x", "x" * 250, "ä", "a\n"])
def test_a_name_that_some_broker_refuses_is_invalid(name: str) -> None:
    with pytest.raises(Invalid, match="is not a name of a topic"):
        topic_name(name, "here")


def test_the_partition_of_a_key_is_fixed_for_ever() -> None:
    assert [partition_of(key, 7) for key in (b"", b"a", b"takeoff")] == [0, 4, 5]


def test_messages_without_a_key_take_the_partitions_in_turn() -> None:
    messages = [Message(b"%d" % i) for i in range(6)]
    assert spread(messages, None, 3, itertools.count(2)) == {
        2: [messages[0], messages[3]], 0: [messages[1], messages[4]], 1: [messages[2], messages[5]]}
    assert spread(messages, 1, 3, itertools.count()) == {1: messages}
    assert spread([], None, 1, itertools.count()) == spread([], 2, 3, itertools.count()) == {}


def test_what_cannot_be_read_any_more_is_said_with_the_way_on() -> None:
    assert out_of_range("t", 0, -1, 5, 9) is None
    assert out_of_range("t", 0, 4, 5, 9) is None
    assert out_of_range("t", 0, 9, 5, 9) is None
    assert "the records 4 to 4 are gone" in str(out_of_range("t", 0, 3, 5, 9))
    assert "go on from the oldest with 4" in str(out_of_range("t", 0, 3, 5, 9))
    assert "the newest record is 9" in str(out_of_range("t", 0, 10, 5, 9))

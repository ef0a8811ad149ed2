"""Scripts of keys: which requests of a key fail, and for how long."""

import re
from dataclasses import fields
from decimal import Decimal
from pathlib import Path

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.upstreams._base import safe_message
from groxy.upstreams.sandbox.faults import WORDS
from groxy.upstreams.sandbox.keys import (
    KEY_WORDS,
    Credits,
    Keys,
    KeyScript,
    Turn,
    read_key_script,
)

_GUIDE = Path(__file__).parents[3] / "docs" / "guide" / "sandbox.md"


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def keys(clock):
    return Keys(clock)


def spent(keys, count, key="k"):
    """The words that each of the next requests meets."""
    return [keys.spend(key).words for _ in range(count)]


def test_words_and_fields_are_the_same():
    assert set(KEY_WORDS) == {field.name for field in fields(KeyScript)} - {"each"}


@pytest.mark.parametrize("name", KEY_WORDS)
def test_the_example_of_each_word_is_read(name):
    assert KEY_WORDS[name].example.startswith(name)
    assert read_key_script(KEY_WORDS[name].example) != KeyScript()


def test_the_guide_has_the_words_of_keys_and_scripts_that_work():
    text = _GUIDE.read_text(encoding="utf-8").partition("## Keys that fail")[2]
    words, _, scripts = text.partition("| to play |")
    rows = re.findall(r"^\| `([^`]+)` \|", words, re.MULTILINE)
    assert set(rows) == {word.example for word in KEY_WORDS.values()}
    played = re.findall(r"\| `([^`]+)` \|$", scripts, re.MULTILINE)
    assert len(played) == 7
    for script in played + re.findall(r'"script": "([^"]*)"', words):
        read_key_script(script)


@pytest.mark.parametrize(
    ("words", "script"),
    [
        ("", KeyScript()),
        ("status=503 after=2 no_done", KeyScript(each="status=503 no_done", after=2)),
        ("quota=5:0.5", KeyScript(quota=(5, 0.5))),
        ("blocked", KeyScript(blocked="key")),
        ("credits=0:1", KeyScript(credits=Credits(left=Decimal(0), limit=Decimal(1)))),
        ("models=a", KeyScript(models=("a",))),
        ("files=0, times=1", KeyScript(files=0, times=1)),
    ],
)
def test_words_are_read(words, script):
    assert read_key_script(words) == script


@pytest.mark.parametrize(
    "words",
    ["after=-1", "times=0", "seconds=nan", "quota=5", "quota=0:5", "quota=5:-1", "blocked=all",
     "credits=1", "credits=1:2:yearly", "credits=1e9:2", "credits=-1:2", "models=", "models=a++b",
     "files=1001"],
)  # fmt: skip
def test_a_wrong_value_is_an_error_that_shows_a_right_one(words):
    with pytest.raises(GroxyError) as caught:
        read_key_script(words)
    name = words.partition("=")[0]
    assert caught.value.kind is ErrorKind.BAD_REQUEST
    assert KEY_WORDS[name].example in caught.value.message


@pytest.mark.parametrize("words", ["explode", "status=99"])
def test_words_of_messages_are_checked_at_once(keys, words):
    with pytest.raises(GroxyError):
        keys.put("k", words)
    assert keys.requests() == []


def test_an_unknown_word_is_an_error_that_names_the_known_ones():
    with pytest.raises(GroxyError) as caught:
        read_key_script("explode=now")
    message = caught.value.message
    assert all(name in message for name in (*WORDS, *KEY_WORDS))
    assert safe_message(message) == message


def test_a_key_without_a_script_meets_nothing(keys):
    keys.put("other", "status=500")
    assert keys.spend("k") == keys.look("k") == Turn()


def test_a_script_counts_for_each_request_of_its_key(keys):
    keys.put("k", "status=500")
    assert spent(keys, 3) == ["status=500"] * 3
    assert keys.requests() == [("k", 3)]


def test_a_script_for_all_is_for_those_that_have_none(keys):
    keys.put("*", "status=500")
    keys.put("k", "status=429")
    assert keys.spend("k").words == "status=429"
    assert keys.spend("").words == keys.spend("other").words == "status=500"


def test_failures_begin_after_some_requests_and_end_after_some(keys):
    keys.put("k", "status=500 after=2 times=3")
    assert spent(keys, 7) == ["", "", *["status=500"] * 3, "", ""]


def test_looking_counts_nothing_and_sees_what_comes(keys):
    keys.put("k", "status=500 after=1 times=1")
    assert [keys.look("k").words for _ in range(3)] == [""] * 3
    keys.spend("k")
    assert keys.look("k").words == "status=500"
    keys.spend("k")
    assert keys.look("k").words == ""


def test_failures_end_after_some_seconds(keys, clock):
    keys.put("k", "status=500 seconds=5")
    assert keys.spend("k").words == "status=500"
    clock.now += 4.9
    assert keys.spend("k").words == "status=500"
    clock.now += 0.1
    assert keys.spend("k").words == keys.look("k").words == ""


def test_the_seconds_begin_when_the_failures_do(keys, clock):
    keys.put("k", "status=500 after=1 seconds=5")
    clock.now += 100
    assert keys.spend("k").words == ""
    clock.now += 4.9
    assert keys.spend("k").words == "status=500"
    clock.now += 0.2
    assert keys.spend("k").words == ""


def test_what_only_shapes_an_answer_has_no_end(keys):
    keys.put("k", "pace=20 status=500 times=1 limits=5:4:1")
    assert spent(keys, 2) == ["pace=20 status=500 limits=5:4:1", "pace=20 limits=5:4:1"]


def test_a_new_script_begins_anew_and_none_ends_it(keys):
    keys.put("k", "status=500 times=1")
    assert spent(keys, 2) == ["status=500", ""]
    keys.put("k", "status=500 times=1")
    assert spent(keys, 1) == ["status=500"]
    keys.put("k", " ")
    assert keys.requests() == []


def test_a_quota_lets_so_many_requests_through_in_its_window(keys, clock):
    keys.put("k", "quota=2:10")
    assert keys.look("k").limits == (2, 2, 10.0)
    turns = [keys.spend("k") for _ in range(3)]
    assert [turn.is_over for turn in turns] == [False, False, True]
    assert [turn.limits for turn in turns] == [(2, 1, 10.0), (2, 0, 10.0), (2, 0, 10.0)]
    clock.now += 4
    assert keys.look("k") == keys.spend("k")
    assert keys.look("k").limits == (2, 0, 6.0)
    clock.now += 6
    turn = keys.spend("k")
    assert (turn.is_over, turn.limits) == (False, (2, 1, 10.0))


def test_all_scripts_can_be_forgotten(keys):
    keys.put("k", "status=500 files=1")
    (file,) = keys.shelf.page("k", 1, {})["data"]
    keys.shelf.delete("k", 1, file["id"])
    keys.clear()
    assert keys.spend("k") == Turn()
    assert keys.shelf.page("k", 1, {})["data"] == [file]


def test_of_too_many_keys_the_oldest_is_forgotten(clock):
    keys = Keys(clock, size=2)
    for key in ("a", "b", "a", "c"):
        keys.put(key, "status=500")
    assert [key for key, _ in keys.requests()] == ["a", "c"]


def test_a_key_without_end_is_refused(keys):
    with pytest.raises(GroxyError) as caught:
        keys.put("k" * 1001, "status=500")
    assert caught.value.param == "key"

"""The script in a request."""

import re
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.parts import Text
from groxy.upstreams._base import safe_message
from groxy.upstreams.sandbox.faults import (
    WORDS,
    Repeats,
    Script,
    read_script,
    take_script,
    without_failures,
)
from tests.upstreams.sandbox.asking import request

_GUIDE = Path(__file__).parents[3] / "docs" / "guide" / "sandbox.md"


def _text(asked):
    return [part.text for part in asked.messages[-1].parts if isinstance(part, Text)]


def test_words_and_fields_are_the_same():
    assert set(WORDS) == {field.name for field in fields(Script)}


@pytest.mark.parametrize("name", WORDS)
def test_the_example_of_each_word_is_read(name):
    assert WORDS[name].example.startswith(name)
    assert read_script(WORDS[name].example) != Script()


@pytest.mark.parametrize("name", WORDS)
def test_each_word_is_in_the_guide_with_its_example(name):
    rows = re.findall(r"^\| `([^`]+)` \|", _GUIDE.read_text(encoding="utf-8"), re.MULTILINE)
    assert WORDS[name].example in rows


def test_the_guide_has_no_word_that_is_not_known():
    text = _GUIDE.read_text(encoding="utf-8")
    words = text.partition("## Making it fail")[2].partition("## Keys that fail")[0]
    rows = re.findall(r"^\| `([^`]+)` \|", words, re.MULTILINE)
    assert set(rows) == {word.example for word in WORDS.values()}
    for script in re.findall(r"\[\[sandbox:([^\]…`]*)\]\]", text):
        read_script(script)
    for script in re.findall(r"x-sandbox: ([^\"'`…]+)", text):
        read_script(script)


@pytest.mark.parametrize("name", WORDS)
def test_each_word_has_an_example_to_paste(name):
    text = _GUIDE.read_text(encoding="utf-8")
    examples = re.findall(r"^(?:say|stream) '.*\[\[sandbox: (.*)\]\]'$", text, re.MULTILINE)
    assert any(name == word.partition("=")[0] for line in examples for word in line.split())


def test_a_marker_is_read_and_taken_out():
    script, asked = take_script(request("Hello [[sandbox: status=429 retry_after=1.5]] there"))
    assert script == Script(status=429, retry_after=1.5)
    assert _text(asked) == ["Hello  there"]


def test_a_request_without_marker_stays_as_it_is():
    asked = request("Hello [[other: status=429]]")
    assert take_script(asked) == (Script(), asked)


def test_only_the_last_message_of_the_user_counts():
    script, _ = take_script(
        request(
            messages=[
                {"role": "user", "content": "[[sandbox: status=500]]"},
                {"role": "assistant", "content": "[[sandbox: status=501]]"},
                {"role": "user", "content": "again"},
                {"role": "tool", "tool_call_id": "c", "content": "[[sandbox: status=502]]"},
            ]
        )
    )
    assert script == Script()


def test_markers_in_several_parts_add_up():
    parts = [
        {"type": "text", "text": "[[sandbox: no_done]]a"},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        {"type": "text", "text": "b[[sandbox: split=3, pace=5]]"},
    ]
    script, asked = take_script(request(messages=[{"role": "user", "content": parts}]))
    assert script == Script(no_done=True, split=3, pace=5)
    assert _text(asked) == ["a", "b"]


def test_the_header_comes_first_and_the_marker_has_the_last_word():
    script, _ = take_script(request("[[sandbox: status=404]]"), "status=500 no_done")
    assert script == Script(status=404, no_done=True)


@pytest.mark.parametrize(
    ("words", "script"),
    [
        ("", Script()),
        ("no_credits", Script(no_credits=403)),
        ("no_credits=429", Script(no_credits=429)),
        ("cut_after=0", Script(cut_after=0)),
        ("stall_after=2:0.5", Script(stall_after=(2, 0.5))),
        ("no_done=true, repeat_role=1", Script(no_done=True, repeat_role=True)),
        ("pace=0", Script(pace=0)),
        ("limits=5:0", Script(limits=(5, 0, 60.0))),
        ("token_limits=5:5:0.5", Script(token_limits=(5, 5, 0.5))),
    ],
)
def test_words_are_read(words, script):
    assert read_script(words) == script


@pytest.mark.parametrize(
    "words",
    [
        "status",
        "status=200",
        "status=600",
        "status=-4",
        "status=٤٠٠",
        "status=4e2",
        "shape=soap",
        "retry_after=soon",
        "retry_after=nan",
        "slow_first=-1",
        "slow_first=1e9",
        "stall_after=5",
        "stall_after=5:x",
        "cut_after=99999999999999999999",
        "no_credits=402",
        "no_done=7",
        "usage=some",
        "tokens=0",
        "split=0",
        "times=0",
        "limits=5",
        "limits=0:0",
        "limits=5:6",
        "limits=5:4:nan",
        "token_limits=many:5:1",
    ],
)
def test_a_wrong_value_is_an_error_that_shows_a_right_one(words):
    with pytest.raises(GroxyError) as caught:
        read_script(words)
    name = words.partition("=")[0]
    assert caught.value.kind is ErrorKind.BAD_REQUEST
    assert f"`{name}`" in caught.value.message
    assert WORDS[name].example in caught.value.message


def test_an_unknown_word_is_an_error_that_names_the_known_ones():
    with pytest.raises(GroxyError) as caught:
        read_script("status=500 explode=now")
    message = caught.value.message
    assert "`explode`" in message
    assert all(name in message for name in WORDS)
    assert safe_message(message) == message, "the gateway would not pass it on as it is"


@pytest.mark.parametrize("text", ["[[sandbox: status=500]", "[[sandbox status=500]]", "[[sandbox"])
def test_half_a_marker_is_an_error(text):
    with pytest.raises(GroxyError) as caught:
        take_script(request(text))
    assert "[[sandbox: status=429]]" in caught.value.message


def test_many_half_markers_take_no_time():
    with pytest.raises(GroxyError):
        take_script(request("[[sandbox:" * 100_000))


@given(st.text(max_size=60))
def test_any_words_are_read_or_refused(words):
    with suppress(GroxyError):
        assert isinstance(read_script(words), Script)


def test_without_its_failures_a_script_still_shapes():
    script = read_script(" ".join(word.example for word in WORDS.values()))
    calm = without_failures(script)
    assert calm == Script(
        pace=20,
        tokens=500,
        cached=1000,
        fragments=True,
        limits=(100, 42, 30.0),
        token_limits=(50_000, 49_000, 30.0),
        takes=5.0,
        links=True,
    )
    assert without_failures(replace(calm)) == calm


def test_calls_are_counted_by_message():
    repeats = Repeats()
    assert [repeats.call(b"a") for _ in range(3)] == [0, 1, 2]
    assert repeats.call(b"b") == 0


def test_the_count_forgets_the_oldest():
    repeats = Repeats(size=2)
    for message in (b"a", b"b", b"a", b"c"):
        repeats.call(message)
    assert repeats.call(b"a") == 2
    assert repeats.call(b"b") == 0

"""What was made is told in the words of chat and Responses."""

import json
import re

import pytest

from groxy.api.media_replies import (
    ChatMediaReply,
    ResponsesMediaReply,
    Shown,
    Told,
    film_text,
    pictures_text,
)
from groxy.core.errors import ErrorKind, GroxyError
from groxy.dialects._base import Frame
from groxy.dialects.chat import DIALECT as CHAT
from groxy.dialects.responses import DIALECT as RESPONSES

FRAME = Frame(reply_id="abc", created=7, count_input=lambda: 0)
ONE = Shown(link="http://a/1?x=1&y=2", content=b"abc", content_type="image/png")
TOLD = Told(text="![image](http://a/1)", pictures=[ONE], cost_ticks=9)
ERROR = GroxyError(ErrorKind.REFUSED, "No.")


def chat(**fields):
    body = {"model": "m", "messages": [{"role": "user", "content": "a cat"}]} | fields
    return ChatMediaReply(CHAT.decode_request(json.dumps(body).encode()), FRAME)


def responses(**fields):
    body = {"model": "m", "input": "a cat"} | fields
    return ResponsesMediaReply(RESPONSES.decode_request(json.dumps(body).encode()), FRAME)


def events(written):
    found = re.findall(rb"^data: (.*)$", written, re.MULTILINE)
    return [json.loads(one) if one != b"[DONE]" else "[DONE]" for one in found]


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("url", "http://a/1?x=1&y=2"),
        ("markdown", "![image](http://a/1?x=1&y=2)"),
        ("base64", "![image](data:image/png;base64,YWJj)"),
    ],
)
def test_pictures_are_shown_in_each_form(form, expected):
    assert pictures_text([ONE, ONE], [], form) == f"{expected}\n\n{expected}"


def test_a_picture_without_a_link_is_shown_itself():
    shown = Shown(content=b"abc", content_type="image/png")
    assert pictures_text([shown], [], "url") == "![image](data:image/png;base64,YWJj)"


def test_what_is_missing_is_told():
    text = pictures_text([ONE], ["Too rude.", "Too rude."], "url")
    assert text.endswith("_2 pictures were not made: Too rude._")
    assert "1 picture was not made" in pictures_text([ONE], ["No."], "url")


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("url", "http://a/1?x=1&y=2"),
        ("markdown", "[video](http://a/1?x=1&y=2)"),
        ("html", '<video controls src="http://a/1?x=1&amp;y=2"></video>'),
    ],
)
def test_a_film_is_shown_in_each_form(form, expected):
    assert film_text("http://a/1?x=1&y=2", form) == expected


def test_a_chat_stream_has_role_thoughts_answer_and_end():
    reply = chat()
    *chunks, done = events(reply.progress("Making.") + reply.progress("5 s") + reply.finish(TOLD))
    assert done == "[DONE]"
    deltas = [one["choices"][0]["delta"] for one in chunks]
    assert deltas[0] == {"role": "assistant", "content": ""}
    assert [one["reasoning_content"] for one in deltas[1:3]] == ["Making.\n", "5 s\n"]
    assert deltas[3] == {"content": "![image](http://a/1)"}
    reasons = [one["choices"][0]["finish_reason"] for one in chunks]
    assert reasons == [None, None, None, None, "stop"]
    assert {one["id"] for one in chunks} == {"chatcmpl-abc"}
    assert all("usage" not in one for one in chunks)


def test_a_chat_stream_has_usage_only_when_asked():
    reply = chat(stream=True, stream_options={"include_usage": True}, usage={"include": True})
    *_, last, _ = events(reply.finish(TOLD))
    assert last["choices"] == []
    assert last["usage"]["cost_in_usd_ticks"] == 9


def test_a_whole_chat_reply():
    reply = json.loads(chat().whole(TOLD))
    assert reply["object"] == "chat.completion"
    (choice,) = reply["choices"]
    assert choice["message"]["content"] == "![image](http://a/1)"
    assert choice["finish_reason"] == "stop"


def test_a_stream_that_broke_off_ends_with_the_error():
    begun = chat()
    begun.progress("Making.")
    assert events(begun.fail(ERROR))[-1]["error"]["code"] == "content_policy_violation"
    begun_here = responses()
    begun_here.progress("Making.")
    *_, failed, done = events(begun_here.fail(ERROR))
    assert (failed["type"], done) == ("response.failed", "[DONE]")
    assert failed["response"]["status"] == "failed"
    assert failed["response"]["output"][0]["type"] == "reasoning"


def test_a_responses_stream_has_its_events_in_order():
    reply = responses()
    *told, done = events(reply.progress("Making.") + reply.finish(TOLD))
    assert done == "[DONE]"
    assert [one["type"].removeprefix("response.") for one in told] == [
        "created",
        "in_progress",
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
        "output_item.added",
        "image_generation_call.in_progress",
        "image_generation_call.generating",
        "image_generation_call.completed",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert [one["sequence_number"] for one in told] == list(range(len(told)))
    indexes = [one["output_index"] for one in told if "output_index" in one]
    assert indexes == sorted(indexes)
    assert told[8]["item"]["result"] is None
    assert told[12]["item"]["result"] == "YWJj"
    kinds = [one["type"] for one in told[-1]["response"]["output"]]
    assert kinds == ["reasoning", "image_generation_call", "message"]


def test_a_whole_responses_reply():
    reply = json.loads(responses(metadata={"a": "b"}).whole(TOLD))
    assert (reply["id"], reply["object"], reply["status"]) == ("resp_abc", "response", "completed")
    call, message = reply["output"]
    assert (call["type"], call["status"], call["result"]) == (
        "image_generation_call",
        "completed",
        "YWJj",
    )
    assert call["output_format"] == "png"
    assert message["content"][0]["text"] == "![image](http://a/1)"
    assert reply["metadata"] == {"a": "b"}
    assert reply["store"] is False
    assert reply["usage"]["cost_in_usd_ticks"] == 9


def test_a_revised_prompt_is_told_with_the_picture():
    told = Told(text="x", pictures=[Shown(content=b"a", revised_prompt="a big cat")])
    call = json.loads(responses().whole(told))["output"][0]
    assert call["revised_prompt"] == "a big cat"

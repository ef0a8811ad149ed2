import json

from groxy.dialects.messages import DIALECT as MESSAGES
from groxy.dialects.responses import DIALECT as RESPONSES
from tests.gateway.stage import (
    END,
    ROLE,
    Reply,
    Seat,
    Stage,
    chunk,
    good,
    refusing,
    streamed,
    whole,
)


def sent(seat):
    return json.loads(seat.asked[0].body)


async def test_the_upstream_gets_its_own_model_id_key_and_path():
    seat = Seat(good())

    await Stage(seat).ask(model="grok-4")

    assert seat.asked[0].url == "https://api.x.ai/v1/chat/completions"
    assert seat.asked[0].headers["Authorization"] == "Bearer xai-0"
    assert sent(seat)["model"] == "grok-4.3"


async def test_an_effort_that_the_models_name_fixes_is_sent():
    seat = Seat(good())

    await Stage(seat).ask(model="grok-4.3-high", reasoning_effort="low")

    assert sent(seat)["reasoning_effort"] == "high"


async def test_fields_that_nobody_knows_are_sent_on():
    seat = Seat(good())

    await Stage(seat).ask(some_new_field={"deep": [1, 2]})

    assert sent(seat)["some_new_field"] == {"deep": [1, 2]}


async def test_models_that_nobody_checked_cannot_serve_in_place_of_the_one_asked_for():
    for dialect, more in ((RESPONSES, {"input": "a"}), (MESSAGES, {"max_tokens": 9})):
        seat = Seat(refusing(400))
        said = {"messages": [{"role": "user", "content": "a"}]} if "input" not in more else {}
        others = {"models": ["dear-one"], "fallbacks": ["dear-one"]}
        body = json.dumps({"model": "grok-4.3", **said, **more, **others}).encode()

        await Stage(seat).send(body, dialect=dialect)

        assert sent(seat)["model"] == "grok-4.3"
        assert not others.keys() & sent(seat).keys()


async def test_a_proxys_own_fallbacks_are_not_sent_on_and_that_is_told():
    seat = Seat(good())

    client = await Stage(seat).ask(fallbacks=["dear-one"])

    assert "fallbacks" not in sent(seat)
    assert client.headers["x-groxy-adjusted"] == "fallbacks dropped"


async def test_usage_is_always_asked_for_on_streams_and_passed_on_only_when_asked_for():
    seat = Seat(streamed("a"))

    client = await Stage(seat).ask(stream=True)

    assert sent(seat)["stream_options"] == {"include_usage": True}
    assert b'"usage"' not in client.body


async def test_usage_is_passed_on_when_asked_for():
    client = await Stage(Seat(streamed("a"))).ask(
        stream=True, stream_options={"include_usage": True}
    )

    assert client.body.count(b'"usage"') == 1


async def test_a_whole_reply_to_a_streaming_request_becomes_a_stream():
    reply = Reply(script=[whole("Hi")], content_type="application/json")

    client = await Stage(Seat(reply)).ask(stream=True)

    assert b'"content":"Hi"' in client.body
    assert client.body.endswith(b"data: [DONE]\n\n")


async def test_an_error_with_status_200_is_an_error():
    body = b'{"code":"The service is currently unavailable","error":"try later"}'
    reply = Reply(script=[body], content_type="application/json")
    stage = Stage(Seat(reply), Seat(good("ok")))

    await stage.ask()

    assert stage.books.attempts[0].outcome == "upstream_unavailable"
    assert b"ok" in stage.client.body


async def test_a_page_of_html_is_no_reply():
    reply = Reply(script=[b"<html>hello</html>"], content_type="text/html")
    stage = Stage(Seat(reply))

    await stage.ask()

    assert stage.client.status == 502
    assert stage.books.attempts[0].outcome == "upstream_bad_reply"


async def test_an_endless_error_body_is_read_only_as_far_as_it_matters():
    reply = refusing(500)
    reply.script = [b"x" * 65_536] * 1_000
    read = []
    chunks = reply.chunks

    async def counted():
        async for piece in chunks():
            read.append(len(piece))
            yield piece

    reply.chunks = counted  # type: ignore[method-assign]
    await Stage(Seat(reply)).ask()

    assert sum(read) <= 3 * 65_536


async def test_reasoning_that_xai_counts_apart_is_entered_as_output():
    usage = {
        "prompt_tokens": 32,
        "completion_tokens": 9,
        "total_tokens": 135,
        "completion_tokens_details": {"reasoning_tokens": 94},
    }
    reply = Reply(script=[whole(usage=usage)], content_type="application/json")
    stage = Stage(Seat(reply))

    client = await stage.ask()

    assert (stage.entry.output_tokens, stage.entry.reasoning_tokens) == (103, 94)
    assert client.json["usage"]["completion_tokens"] == 103


async def test_of_cumulative_usage_the_last_counts():
    script = [ROLE]
    for tokens in (1, 2, 3):
        usage = {"prompt_tokens": 10, "completion_tokens": tokens, "total_tokens": 10 + tokens}
        script.append(chunk({"content": "x"}, None, usage=usage))
    script += [chunk({}, "stop"), END[-1]]
    stage = Stage(Seat(Reply(script=script)))

    await stage.ask(stream=True)

    assert (stage.entry.input_tokens, stage.entry.output_tokens) == (10, 3)


async def test_the_first_event_and_the_end_are_timed():
    stage = Stage(Seat(Reply(script=[0.1, *streamed("a").script])))

    await stage.ask(stream=True)

    (attempt,) = stage.books.attempts
    assert 90_000 < attempt.first_event_us <= attempt.duration_us


async def test_a_stream_that_never_comes_to_the_point_is_left_for_another_account():
    empty = chunk({"content": "", "padding": "x" * 10_000})
    talker = Reply(script=[empty] * 1000)
    stage = Stage(Seat(talker), Seat(streamed("Hi")))

    client = await stage.ask(stream=True)

    assert b'"Hi"' in client.body
    assert b"padding" not in client.body
    assert talker.is_closed
    assert stage.books.attempts[0].outcome == "upstream_bad_reply"

import asyncio
import json

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from tests.gateway.stage import (
    BROKEN,
    DOWN,
    ROLE,
    Client,
    Reply,
    Seat,
    Stage,
    chunk,
    good,
    refusing,
    streamed,
    whole,
)

WRONG_KEY = refusing(400, b'{"code":"x","error":"Incorrect API key provided: xa***yz."}')


async def test_a_whole_reply_reaches_the_client():
    client = await Stage(Seat(good("Hi"))).ask()

    assert client.status == 200
    assert client.json["choices"][0]["message"]["content"] == "Hi"
    assert client.headers["x-groxy-attempts"] == "1"
    assert client.is_complete


async def test_a_stream_reaches_the_client_and_ends_with_done():
    client = await Stage(Seat(streamed("a", "b"))).ask(stream=True)

    assert client.headers["content-type"].startswith("text/event-stream")
    assert client.headers["x-accel-buffering"] == "no"
    assert "content-length" not in client.headers
    assert client.body.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("stream", [False, True])
async def test_the_last_bytes_leave_only_after_the_entry_is_written(stream):
    stage = Stage(Seat(streamed("a") if stream else good()))
    seen = []
    stage.books.on_submit = lambda: seen.append((stage.client.is_complete, stage.client.body))

    await stage.ask(stream=stream)

    ((was_complete, body_then),) = seen
    assert not was_complete
    assert b"[DONE]" not in body_then
    assert stage.client.is_complete


@pytest.mark.parametrize("stream", [False, True])
async def test_a_reply_that_cannot_be_entered_is_withheld(stream):
    stage = Stage(Seat(streamed("a") if stream else good("secret")))
    stage.books.failure = GroxyError(ErrorKind.STORE_DOWN, "No books.", retry_after_s=1)

    client = await stage.ask(stream=stream)

    assert b"[DONE]" not in client.body
    assert b"secret" not in client.body
    assert b"store_unavailable" in client.body


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "failure",
    [DOWN, refusing(500), refusing(503), refusing(401), WRONG_KEY, refusing(429)],
    ids=["down", "500", "503", "401", "xai-wrong-key", "429"],
)
async def test_before_the_first_event_another_account_takes_over(stream, failure):
    stage = Stage(Seat(failure), Seat(streamed("ok") if stream else good("ok")))

    client = await stage.ask(stream=stream)

    assert client.status == 200
    assert b"ok" in client.body
    assert client.headers["x-groxy-attempts"] == "2"
    assert [entry.outcome == "ok" for entry in stage.books.attempts] == [False, True]


@pytest.mark.parametrize(
    "script",
    [
        [b'data: {"error":{"message":"overloaded","code":503}}\n\n'],
        [ROLE, b"data: garbage\n\n"],
        [ROLE, BROKEN],
        [],
        [b"data: [DONE]\n\n"],
    ],
    ids=["error event", "garbage", "cut after the role", "nothing", "done at once"],
)
async def test_a_stream_that_fails_before_its_first_output_is_tried_elsewhere(script):
    stage = Stage(Seat(Reply(script=script)), Seat(streamed("ok")))

    client = await stage.ask(stream=True)

    assert b"ok" in client.body
    assert client.body.count(b'"role"') == 1
    assert client.body.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize(
    "end",
    [
        [BROKEN],
        [b"data: garbage\n\n"],
        [b'data: {"error":{"message":"overloaded","code":503}}\n\n'],
        [],
    ],
    ids=["cut", "garbage", "error event", "end without an end"],
)
async def test_after_the_first_event_the_stream_ends_with_an_error_and_no_done(end):
    first = Seat(Reply(script=[ROLE, chunk({"content": "part"}), *end]))
    second = Seat(streamed("other"))

    client = await Stage(first, second).ask(stream=True)

    assert second.asked == []
    assert b"part" in client.body
    assert b"[DONE]" not in client.body
    last = json.loads(client.body.strip().rsplit(b"data: ", 1)[1])
    assert last["error"].keys() == {"message", "type", "code", "param", "status"}


@pytest.mark.parametrize("status", [400, 422])
async def test_what_is_wrong_with_the_request_is_not_tried_elsewhere(status):
    second = Seat(good())
    stage = Stage(Seat(refusing(status, b'{"error":"temperature is odd"}')), second)

    client = await stage.ask()

    assert (client.status, second.asked) == (400, [])
    assert "temperature is odd" in client.json["error"]["message"]
    assert stage.directory.accounts[0].failures == 0


async def test_when_all_fail_the_caller_is_told_to_wait_if_waiting_helps():
    client = await Stage(Seat(refusing(429, retry_after="7")), Seat(DOWN)).ask()

    assert client.status == 429
    assert client.headers["retry-after"] == "7"
    assert client.headers["x-should-retry"] == "false"


async def test_an_accounts_failure_says_nothing_about_the_account():
    client = await Stage(Seat(WRONG_KEY)).ask()

    assert client.status == 502
    assert b"xa***yz" not in client.body
    assert b"xai-0" not in client.body


async def test_no_more_accounts_are_tried_than_the_limit():
    stage = Stage(Seat(DOWN), Seat(DOWN), Seat(DOWN))

    client = await stage.ask()

    assert client.status == 502
    assert stage.entry.attempts == 3


async def test_asked_sent_and_served_are_entered_apart():
    stage = Stage(Seat(good()))

    await stage.ask(model="grok-4")

    entry = stage.entry
    assert (entry.model_asked, entry.model_sent, entry.model_served) == (
        "grok-4",
        "grok-4.3",
        "grok-4.3",
    )


async def test_the_upstreams_own_bill_is_the_cost():
    stage = Stage(Seat(good()))

    await stage.ask()

    assert stage.entry.cost_ticks == 777
    assert stage.books.attempts[0].cost_source == "upstream"
    assert (stage.entry.input_tokens, stage.entry.output_tokens) == (10, 5)


async def test_without_a_bill_the_catalog_prices_it():
    usage = {"prompt_tokens": 1_000, "completion_tokens": 100, "total_tokens": 1_100}
    reply = Reply(script=[whole(usage=usage)], content_type="application/json")
    stage = Stage(Seat(reply))

    await stage.ask()

    # grok-4.3: 1.25 and 2.50 dollars a million.
    assert stage.entry.cost_ticks == 1_000 * 12_500 + 100 * 25_000
    assert stage.books.attempts[0].cost_source == "catalog"


async def test_usage_that_is_missing_is_counted_and_marked():
    reply = Reply(script=[whole("four words it is", usage=None)], content_type="application/json")
    stage = Stage(Seat(reply))

    client = await stage.ask()

    assert stage.entry.usage_estimated
    assert (stage.entry.input_tokens, stage.entry.output_tokens) == (3, 4)
    assert client.json["usage"]["total_tokens"] == 7


async def test_a_failed_request_costs_its_caller_nothing_but_is_in_the_books():
    script: list[bytes | Exception] = [
        ROLE,
        chunk({"content": "part"}, None, usage={"prompt_tokens": 9, "completion_tokens": 1}),
        BROKEN,
    ]
    stage = Stage(Seat(Reply(script=script)))

    await stage.ask(stream=True)

    assert stage.entry.outcome == "upstream_stream_broken"
    assert stage.entry.cost_ticks == 0
    assert stage.books.attempts[0].cost_ticks > 0


async def test_a_client_that_leaves_ends_the_upstream_and_owes_what_was_produced():
    usage = {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}
    seat = Seat(Reply(script=[ROLE, chunk({"content": "part"}, None, usage=usage), 60.0]))
    stage = Stage(seat)
    asyncio.get_running_loop().call_later(0.1, stage.client.left.set)

    await asyncio.wait_for(stage.ask(stream=True), 2)

    assert seat.given[0].is_closed
    assert stage.entry.outcome == "client_disconnected"
    assert stage.entry.input_tokens == 9
    assert stage.entry.cost_ticks > 0
    assert not stage.client.is_complete


async def test_a_stream_that_ended_well_keeps_its_connection():
    seat = Seat(streamed("a"))

    await Stage(seat).ask(stream=True)

    assert (seat.given[0].is_released, seat.given[0].is_closed) == (True, False)


async def test_silence_before_the_first_event_is_broken_and_failover_still_works():
    slow = Reply(script=[0.5, BROKEN])
    stage = Stage(Seat(slow), Seat(streamed("ok")), keepalive_s=0.1)

    client = await stage.ask(stream=True)

    assert client.body.startswith(b": keepalive\n\n")
    assert b"ok" in client.body
    assert client.body.endswith(b"data: [DONE]\n\n")


async def test_an_error_behind_a_comment_comes_in_the_stream():
    stage = Stage(Seat(Reply(script=[0.4, BROKEN])), keepalive_s=0.1)

    client = await stage.ask(stream=True)

    assert client.status == 200
    assert b'"error"' in client.body
    assert b"[DONE]" not in client.body


async def test_what_was_changed_for_an_upstream_is_told():
    client = await Stage(Seat(good())).ask(stop=["x"])

    assert client.headers["x-groxy-adjusted"] == "stop dropped"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"nope", "invalid_json"),
        (b'{"model":"grok-4.3","messages":[]}', "invalid_value"),
        (b'{"model":"nope","messages":[{"role":"user","content":"x"}]}', "model_not_found"),
        (
            b'{"model":"grok-imagine-image","messages":[{"role":"user","content":"x"}]}',
            "invalid_value",
        ),
    ],
)
async def test_bad_input_reaches_no_upstream_costs_nothing_and_is_in_the_books(body, code):
    seat = Seat(good())
    stage = Stage(seat)

    await stage.send(body)

    assert stage.client.status == 400
    assert stage.client.json["error"]["code"] == code
    assert seat.asked == []
    assert (stage.entry.outcome, stage.entry.cost_ticks) == (code, 0)


async def test_a_defect_of_ours_is_answered_and_entered():
    stage = Stage(Seat(RuntimeError("a bug")))

    client = await stage.ask()

    assert (client.status, stage.entry.outcome) == (500, "internal_error")
    assert b"a bug" not in client.body


async def test_no_account_is_left_in_flight():
    stage = Stage(Seat(DOWN), Seat(good()))

    await stage.ask()

    assert [account.in_flight for account in stage.directory.accounts] == [0, 0]


async def test_what_was_changed_is_told_at_the_head_of_a_stream():
    client = await Stage(Seat(streamed("a"))).ask(stream=True, stop=["x"])

    assert client.headers["x-groxy-adjusted"] == "stop dropped"


async def test_a_429_without_a_time_gets_the_one_that_its_account_rests():
    client = await Stage(Seat(refusing(429))).ask()

    assert (client.status, client.headers["retry-after"]) == (429, "1")


async def test_the_shortest_wait_of_all_accounts_is_told():
    seats = [Seat(refusing(429, retry_after=wait)) for wait in ("600", "20", "300")]

    client = await Stage(*seats).ask()

    assert client.headers["retry-after"] == "20"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_request_that_the_server_ends_is_told_and_entered_and_not_owed(stream):
    usage = {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}
    begun = [ROLE, chunk({"content": "part"}, None, usage=usage)] if stream else []
    seat = Seat(Reply(script=[*begun, 60.0]))
    stage = Stage(seat)
    task = asyncio.get_running_loop().create_task(stage.ask(stream=stream))
    await asyncio.sleep(0.1)

    task.cancel()
    client = await task

    assert seat.given[0].is_closed
    assert client.is_complete
    assert b"stopped" in client.body
    assert b"[DONE]" not in client.body
    assert (stage.entry.outcome, stage.entry.cost_ticks) == ("internal_error", 0)
    (attempt,) = stage.books.attempts
    assert attempt.outcome == "internal_error"
    assert attempt.input_tokens == (9 if stream else 0)


@pytest.mark.parametrize("stream", [False, True])
async def test_an_attempt_that_crashes_is_entered_as_such(stream):
    stage = Stage(Seat(RuntimeError("a bug")))

    await stage.ask(stream=stream)

    (attempt,) = stage.books.attempts
    assert attempt.outcome == "internal_error"
    assert attempt.duration_us >= 0
    assert [account.in_flight for account in stage.directory.accounts] == [0]


async def test_a_client_that_stops_reading_is_no_fault_of_the_account():
    class Stuck(Client):
        async def send(self, body, *, is_last):
            await asyncio.sleep(60)

    seat = Seat(Reply(script=[ROLE, chunk({"content": "part"}), 60.0]))
    stage = Stage(seat, idle_s=0.4)
    stage.client = Stuck()

    await asyncio.wait_for(stage.ask(stream=True), 5)

    assert stage.entry.outcome == "client_disconnected"
    assert seat.given[0].is_closed
    assert stage.directory.accounts[0].failures == 0


async def test_a_client_that_leaves_before_anything_came_owes_what_the_upstream_read():
    stage = Stage(Seat(Reply(script=[60.0])))
    asyncio.get_running_loop().call_later(0.1, stage.client.left.set)

    await asyncio.wait_for(stage.ask(), 2)

    assert (stage.entry.outcome, stage.entry.status) == ("client_disconnected", 499)
    assert (stage.entry.input_tokens, stage.entry.output_tokens) == (3, 0)
    assert stage.client.status == 0, "there is nobody to answer"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_an_upstream_that_refuses_owes_nothing(stream):
    stage = Stage(Seat(Reply(500, script=[60.0], content_type="application/json")))
    asyncio.get_running_loop().call_later(0.1, stage.client.left.set)

    await asyncio.wait_for(stage.ask(stream=stream), 2)

    assert stage.entry.outcome == "client_disconnected"
    assert (stage.entry.input_tokens, stage.entry.cost_ticks) == (0, 0)


async def test_a_client_that_leaves_before_the_request_has_gone_out_owes_nothing():
    class Connecting(Seat):
        async def send(self, outgoing):
            await asyncio.sleep(60)
            raise AssertionError("nobody waits so long")

    stage = Stage(Connecting())
    asyncio.get_running_loop().call_later(0.1, stage.client.left.set)

    await asyncio.wait_for(stage.ask(), 2)

    assert stage.entry.outcome == "client_disconnected"
    assert (stage.entry.input_tokens, stage.entry.cost_ticks) == (0, 0)


async def test_no_account_is_asked_after_the_client_has_left():
    second = Seat(good())
    stage = Stage(Seat(Reply(script=[60.0])), second)
    asyncio.get_running_loop().call_later(0.1, stage.client.left.set)

    await asyncio.wait_for(stage.ask(), 2)

    assert second.asked == []


async def test_no_account_is_asked_after_the_time_for_all_is_up():
    second = Seat(good())
    stage = Stage(Seat(Reply(script=[60.0])), second, total_s=0.3)

    client = await asyncio.wait_for(stage.ask(), 3)

    assert (client.status, second.asked) == (504, [])


async def test_a_failure_that_cannot_be_entered_is_answered_as_a_failure_of_the_books():
    stage = Stage(Seat(DOWN))
    stage.books.failure = GroxyError(ErrorKind.STORE_DOWN, "No books.", retry_after_s=1)

    client = await stage.ask()

    assert (client.status, client.headers["retry-after"]) == (503, "1")

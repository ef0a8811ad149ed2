"""Waiting for room, rotating and pausing, through the whole pipeline."""

import asyncio
import time
from dataclasses import replace

import pytest

from groxy.core.errors import ErrorKind
from groxy.core.terms import Terms
from groxy.gateway.rotation import Rotation
from groxy.routing.account import Rest, Status
from groxy.upstreams._base import Credentials
from groxy.wire.json import encode
from tests.awake import awake_s
from tests.gateway.stage import DOWN, Client, Reply, Seat, Stage, good, refusing, whole


def limited(stage, **limits):
    stage.gateway.limits = replace(stage.gateway.limits, **limits)
    return stage


def busy(stage, index=0):
    """Let an account have as many requests open as it may."""
    account = stage.directory.accounts[index]
    account.most_in_flight = account.in_flight = 1
    account.note_terms()
    return account


def slow(seconds):
    return Reply(script=[seconds, whole()], content_type="application/json")


async def asked(stage):
    """Ask once more, for a client of its own."""
    stage.client = Client()
    return await stage.ask()


# ------------------------------------------------------------------------------------- waiting


async def test_a_request_waits_for_an_account_to_become_free():
    stage = limited(Stage(Seat(good())), capacity_wait_s=3.0)
    account = busy(stage)

    async def free():
        await asyncio.sleep(0.05)
        stage.directory.end(account, 0)

    began, awake = time.perf_counter(), awake_s()
    client, _ = await asyncio.gather(stage.ask(), free())

    assert client.status == 200
    assert time.perf_counter() - began > 0.04
    assert awake_s() - awake < 0.25


async def test_a_request_waits_for_a_short_rest_to_end():
    stage = limited(Stage(Seat(good())), capacity_wait_s=3.0)
    account = stage.directory.accounts[0]
    until = stage.directory.now() + 0.1
    account.model_rests["grok-4.3"] = Rest(until, ErrorKind.UPSTREAM_LIMITED)
    account.note_terms()

    assert (await stage.ask()).status == 200


async def test_nobody_waits_for_a_rest_that_takes_longer_than_the_patience():
    stage = limited(Stage(Seat(good())), capacity_wait_s=2.0)
    stage.directory.rest(
        stage.directory.accounts[0], stage.directory.now() + 60, ErrorKind.UPSTREAM_LIMITED
    )

    began = awake_s()
    client = await stage.ask()

    assert (client.status, client.headers["retry-after"]) == (429, "60")
    assert awake_s() - began < 0.5


async def test_who_has_waited_long_enough_is_told_when_to_come_back():
    stage = limited(Stage(Seat(good())), capacity_wait_s=0.1)
    busy(stage)

    client = await stage.ask()

    assert (client.status, client.headers["retry-after"]) == (429, "1")
    assert client.json["error"]["code"] == "rate_limit_exceeded"
    assert stage.seats[0].asked == []


async def test_nobody_waits_where_waiting_does_not_help():
    stage = limited(Stage(Seat(good())), capacity_wait_s=5.0)
    account = stage.directory.accounts[0]
    account.stand(Status.EXPIRED, "credential_rejected", 0.0)

    began = awake_s()
    client = await stage.ask()

    assert client.status == 503
    assert int(client.headers["retry-after"]) > 0
    assert awake_s() - began < 0.5


async def test_a_client_that_leaves_while_it_waits_is_let_go():
    stage = limited(Stage(Seat(good())), capacity_wait_s=30.0)
    busy(stage)
    stage.client.left.set()

    async with asyncio.timeout(3):
        await stage.ask()

    assert stage.entry.outcome == ErrorKind.CANCELLED.value


async def test_more_requests_than_there_is_room_for_are_served_one_after_the_other():
    stage = limited(Stage(Seat(slow(0.02))), capacity_wait_s=5.0)
    account = stage.directory.accounts[0]
    account.most_in_flight = 2
    account.note_terms()
    most = 0

    async def watch():
        nonlocal most
        while True:
            most = max(most, account.in_flight)
            await asyncio.sleep(0)

    watching = asyncio.get_running_loop().create_task(watch())
    clients = [Client() for _ in range(12)]

    async def ask(client):
        own = limited(Stage(Seat(good())), capacity_wait_s=5.0)
        own.gateway.router, own.gateway.directory = stage.gateway.router, stage.directory
        own.client = client
        await own.ask()

    await asyncio.gather(*map(ask, clients))
    watching.cancel()

    assert [client.status for client in clients] == [200] * 12
    assert most == 2
    assert account.in_flight == 0


# ------------------------------------------------------------------------------------ rotating


async def test_an_added_status_lets_another_account_try():
    stage = limited(
        Stage(Seat(refusing(400, b'{"error":"no"}')), Seat(good())),
        rotation=Rotation(also_on=frozenset({400})),
    )

    assert (await stage.ask()).status == 200
    assert stage.directory.accounts[0].failures == 0


async def test_an_excluded_status_ends_the_request():
    stage = limited(
        Stage(Seat(refusing(503)), Seat(good())), rotation=Rotation(never_on=frozenset({503}))
    )

    assert (await stage.ask()).status == 502
    assert stage.seats[1].asked == []


async def test_after_an_upstreams_own_fault_there_is_a_pause_and_after_an_accounts_none():
    took = []
    for answer in (refusing(503), refusing(429)):
        stage = limited(Stage(Seat(answer), Seat(good())), rotation=Rotation(backoff_s=0.0))
        stage.gateway.limits = replace(
            stage.gateway.limits, rotation=_Paused(backoff_s=0.15, backoff_max_s=0.15)
        )
        began = time.perf_counter()
        assert (await stage.ask()).status == 200
        took.append(time.perf_counter() - began)

    assert took[0] > 0.15 > took[1]


class _Paused(Rotation):
    """Pauses as long as it may."""

    def pause_s(self, error, failures):
        return self.backoff_s if super().pause_s(error, failures) else 0.0


async def test_a_pause_is_over_with_the_deadline():
    stage = limited(
        Stage(Seat(DOWN), Seat(good()), total_s=0.3),
        rotation=_Paused(backoff_s=30.0, backoff_max_s=30.0),
    )

    async with asyncio.timeout(3):
        assert (await stage.ask()).status == 504


# ------------------------------------------------------------------------- what becomes of it


async def test_a_rate_limit_rests_the_model_and_not_the_account():
    stage = Stage(Seat(refusing(429, retry_after="30"), good()))

    assert (await stage.ask()).status == 429
    account = stage.directory.accounts[0]
    assert set(account.model_rests) == {"grok-4.3"}
    assert account.status(stage.directory.now()) is Status.ACTIVE


async def test_tokens_and_cost_are_counted_at_the_account():
    stage = Stage(Seat(good()))

    await stage.ask()

    (account,) = stage.directory.accounts
    entry = stage.entry
    assert account.tally.uses == 1
    assert account.tally.tokens == entry.input_tokens + entry.output_tokens > 0
    assert account.tally.cost_ticks == entry.cost_ticks > 0
    assert account in stage.directory.touched


async def test_headers_tell_what_is_left():
    headers = {"x_ratelimit_limit_requests": "100", "x_ratelimit_remaining_requests": "7"}
    stage = Stage(Seat(_told(good(), headers)))

    await stage.ask()

    window = stage.directory.accounts[0].windows["official"]
    assert (window.remaining, window.total, window.source.value) == (7, 100, "real")


async def test_an_account_that_says_that_nothing_is_left_is_passed_over():
    headers = {"x_ratelimit_limit_requests": "100", "x_ratelimit_remaining_requests": "0"}
    stage = Stage(Seat(_told(good("a"), headers)), Seat(good("b")))

    await stage.ask()
    client = await asked(stage)

    assert client.json["choices"][0]["message"]["content"] == "b"


def _told(reply, headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(reply.status, reply.script, reply.content_type, named)


async def test_the_trail_says_who_was_to_be_asked_and_who_was_passed_over():
    stage = Stage(Seat(good()), Seat(good()), Seat(good()))
    stage.directory.rest(
        stage.directory.accounts[0], stage.directory.now() + 60, ErrorKind.UPSTREAM_LIMITED
    )

    await stage.ask()

    route = stage.entry.route
    assert '"strategy":"quota","of":3' in route
    assert '["seat-0","cooling"]' in route
    assert route.index("seat-1") < route.index("seat-2")


async def test_terms_of_another_model_keep_an_account_out():
    stage = Stage(Seat(good("a")), Seat(good("b")))
    account = stage.directory.accounts[0]
    account.terms = Terms(models=("grok-4.7*",))
    stage.directory.generation += 1

    client = await stage.ask()

    assert client.json["choices"][0]["message"]["content"] == "b"


@pytest.mark.parametrize("stream", [False, True])
async def test_nothing_stays_in_flight_whatever_happens(stream):
    for answer in (good(), refusing(500), DOWN, Reply(script=[DOWN])):
        stage = Stage(Seat(answer))
        await stage.ask(stream=stream)

        assert stage.directory.accounts[0].in_flight == 0


# ------------------------------------------------------------------------------------- secrets


async def test_an_upstream_that_repeats_the_credential_does_not_tell_it_to_callers():
    refusal = encode({"error": {"message": "Not with Odd+form+of+a+secret+9, please."}})
    stage = Stage(Seat(refusing(400, refusal)))
    stage.directory.accounts[0].credentials = Credentials(api_key="Odd+form+of+a+secret+9")

    client = await stage.ask()

    assert client.status == 400
    assert client.json["error"]["message"] == "Not with ***, please."

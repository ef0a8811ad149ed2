"""Upstreams that fail in every way, at every moment: what the client sees, who is asked, the books.

Each lane has two accounts (or more); the first is asked first. See `lanes`.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from groxy.core.errors import ErrorKind, facts_of
from tests.e2e.lanes import Deal, Lane, make_lanes, wait_for_lists
from tests.e2e.pools import NO_CREDITS, WRONG_KEY, Operator, key_is_wrong
from tests.e2e.running import Gateway, Reply, config_toml, poll, running
from tests.e2e.scripted import (
    TEXT,
    TICKS,
    USAGE,
    Behaviour,
    Seat,
    Upstream,
    breaks_off,
    chunk_of,
    chunks_of,
    cut,
    drops,
    end_stream,
    fails,
    says,
    silent,
    stall,
    streams,
    whole_reply,
)

pytestmark = pytest.mark.e2e

_TIMEOUT_S = 1.0
_SETTINGS = f"""
[attempts]
connect_timeout_s = 1.0
first_event_timeout_s = {_TIMEOUT_S}
idle_timeout_s = {_TIMEOUT_S}
capacity_wait_s = 0
"""
_HTML = b"<html><head><title>502</title></head><body>Bad gateway</body></html>"
_AS_HTML = {"Content-Type": "text/html; charset=utf-8"}
_ERROR = {"error": {"message": "Internal trouble", "type": "server_error", "code": "internal"}}


@dataclass(frozen=True)
class Fault:
    """A way to fail before the first event, and what the gateway should make of it."""

    kind: ErrorKind
    whole: Behaviour
    stream: Behaviour
    status: int = 200
    """The upstream's status in the books; 0 when there was none."""
    state: str = "active"
    """How the account stands afterwards. One that expires has a wrong key, and a check says so."""
    rests_model: bool = False
    """True where only the model that was asked for rests afterwards."""

    def script(self, seat: Seat, *, is_stream: bool) -> None:
        """Let an account fail so at its next call."""
        seat.will(self.stream if is_stream else self.whole)
        if self.state == "expired":
            seat.key = key_is_wrong()


def _both(
    kind: ErrorKind,
    behaviour: Behaviour,
    status: int,
    state: str = "active",
    *,
    rests_model: bool = False,
) -> Fault:
    return Fault(kind, behaviour, behaviour, status, state, rests_model)


_K = ErrorKind
FAULTS = {
    "drops the connection": _both(_K.UPSTREAM_DOWN, drops, 0),
    "401": _both(_K.UPSTREAM_AUTH, fails(401, _ERROR), 401, "expired"),
    "wrong key as 400": _both(_K.UPSTREAM_AUTH, fails(400, WRONG_KEY), 400, "expired"),
    "no credits as 403": _both(_K.UPSTREAM_QUOTA, fails(403, NO_CREDITS), 403, "cooling"),
    "429": _both(
        _K.UPSTREAM_LIMITED,
        fails(429, {"error": "Too many requests"}, {"Retry-After": "600"}),
        429,
        rests_model=True,
    ),
    "500": _both(_K.UPSTREAM_DOWN, fails(500, _ERROR), 500),
    "503": _both(_K.UPSTREAM_DOWN, fails(503, b""), 503),
    "HTML as 502": _both(_K.UPSTREAM_DOWN, fails(502, _HTML, _AS_HTML), 502),
    "HTML as 200": Fault(
        _K.BAD_REPLY, fails(200, _HTML, _AS_HTML), fails(200, _HTML, _AS_HTML), 200
    ),
    "error as 200": _both(
        _K.UPSTREAM_DOWN, says({"error": {"message": "Overloaded", "code": 503}}), 200
    ),
    "redirect": _both(_K.BAD_REPLY, fails(302, b"", {"Location": "http://127.0.0.1:1/"}), 302),
    "garbage": Fault(
        _K.BAD_REPLY,
        says(b'{"choices": [{'),
        streams(chunks_of()[0], b'{"choices": [{', then=end_stream),
    ),
    "error as first event": Fault(
        _K.UPSTREAM_DOWN,
        says({"error": {"message": "Overloaded", "code": 503}}),
        streams(chunks_of()[0], {"error": {"message": "x", "code": 503}}, then=end_stream),
    ),
    "cut before the first event": Fault(
        _K.STREAM_BROKEN, breaks_off, streams(chunks_of()[0], then=cut)
    ),
    "nothing at all": Fault(_K.BAD_REPLY, says(b""), streams(then=end_stream)),
    "silence": _both(_K.UPSTREAM_TIMEOUT, silent, 0),
    "slow first event": Fault(
        _K.UPSTREAM_TIMEOUT, silent, streams(chunks_of()[0], then=stall), status=200
    ),
}
_KIND_ON_STREAM = {
    "HTML as 200": ErrorKind.STREAM_BROKEN,
    "nothing at all": ErrorKind.STREAM_BROKEN,
}
_STATUS_ON_WHOLE = {"slow first event": 0}

MID_STREAM = {
    "cut": (_K.STREAM_BROKEN, streams(*chunks_of(), then=cut)),
    "garbage": (_K.BAD_REPLY, streams(*chunks_of(), b'{"choices": [', then=end_stream)),
    "an error event": (
        _K.UPSTREAM_DOWN,
        streams(*chunks_of(), {"error": {"message": "x", "code": 502}}, then=end_stream),
    ),
    "a failed choice": (
        _K.BAD_REPLY,
        streams(*chunks_of(), chunk_of({}, "error"), then=end_stream),
    ),
    "stall": (_K.UPSTREAM_TIMEOUT, streams(*chunks_of(), then=stall)),
    "an end without a finish": (_K.STREAM_BROKEN, streams(*chunks_of(), then=end_stream)),
}
_LANES = 2 * 2 * len(FAULTS) + len(MID_STREAM) + 40


@pytest.fixture(scope="module")
def lanes(upstream) -> list[Lane]:
    return make_lanes(upstream, _LANES)


@pytest.fixture(scope="module")
def wide(upstream) -> list[Lane]:
    """Lanes with more accounts than are tried for one request."""
    return make_lanes(upstream, 2, seats=4, name="wide")


@pytest.fixture(scope="module")
def gateway(upstream, lanes, wide, tmp_path_factory) -> Iterator[Gateway]:
    every = [*lanes, *wide]
    config = config_toml(*(lane.accounts_toml() for lane in every), extra=_SETTINGS)
    with running(Gateway(folder=tmp_path_factory.mktemp("faults"), config=config)) as gateway:
        wait_for_lists(gateway, every)
        yield gateway


@pytest.fixture(scope="module")
def deal(gateway, lanes) -> Deal:
    return Deal(lanes)


@pytest.fixture
def lane(deal):
    return deal.one()


def _states(gateway: Gateway, lane: Lane) -> list[str]:
    """Return how each account of a lane stands."""
    return [_token(gateway, lane, place)["status"] for place in range(len(lane.seats))]


def _resting(gateway: Gateway, lane: Lane) -> list[list[str]]:
    """Return the models that rest, of each account of a lane."""
    rests = [_token(gateway, lane, place)["cooling"] for place in range(len(lane.seats))]
    return [[one["model"] for one in rest["models"]] if rest else [] for rest in rests]


def _token(gateway: Gateway, lane: Lane, place: int) -> Any:
    return Operator(gateway).token(f"{lane.model}-{place + 1}")


def _check_states(gateway: Gateway, lane: Lane, wanted: list[str]) -> None:
    """Check how the accounts of a lane stand, once rejected credentials are checked."""
    poll(
        lambda: _states(gateway, lane) == wanted,
        within_s=5,
        what=f"standing {wanted}, not {_states(gateway, lane)},",
    )


def _kind(name: str, fault: Fault, *, is_stream: bool) -> ErrorKind:
    return _KIND_ON_STREAM.get(name, fault.kind) if is_stream else fault.kind


def _attempts_of(gateway: Gateway, reply: Reply) -> list[tuple[str, str, int]]:
    """Return account, outcome and status of each attempt in the books."""
    return [(row.account_id, row.outcome, row.status) for row in gateway.attempts(reply.id)]


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("name", FAULTS)
def test_a_failure_before_the_first_event_is_taken_over_by_the_next_account(
    gateway, lane, name, is_stream
):
    fault = FAULTS[name]
    fault.script(lane.seats[0], is_stream=is_stream)
    checks = lane.seats[0].key_calls
    reply = gateway.ask(model=lane.model, stream=is_stream)
    assert (reply.status, reply.text) == (200, TEXT)
    assert reply.headers["x-groxy-attempts"] == "2"
    assert lane.calls == [1, 1]
    status = fault.status if is_stream else _STATUS_ON_WHOLE.get(name, fault.status)
    kind = _kind(name, fault, is_stream=is_stream)
    assert _attempts_of(gateway, reply) == [
        (f"{lane.model}-1", kind.value, status),
        (f"{lane.model}-2", "ok", 200),
    ]
    row = gateway.entry(reply.id)
    assert (row.outcome, row.attempts, row.cost_ticks) == ("ok", 2, TICKS)
    assert gateway.attempts(reply.id)[0].cost_ticks == 0
    _check_states(gateway, lane, [fault.state, "active"])
    assert _resting(gateway, lane) == [[lane.model] if fault.rests_model else [], []]
    assert lane.seats[0].key_calls == checks + (fault.state == "expired")


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("name", FAULTS)
def test_when_every_account_fails_the_client_gets_the_error_and_pays_nothing(
    gateway, lane, name, is_stream
):
    fault = FAULTS[name]
    for seat in lane.seats:
        fault.script(seat, is_stream=is_stream)
    reply = gateway.ask(model=lane.model, stream=is_stream)
    kind = _kind(name, fault, is_stream=is_stream)
    facts = facts_of(kind)
    assert reply.status == facts.status
    assert reply.headers["content-type"] == "application/json"
    assert (reply.error["code"], reply.error["type"]) == (kind.value, facts.type)
    assert reply.headers["x-groxy-attempts"] == "2"
    assert reply.headers["x-should-retry"] == "false"
    assert reply.headers.get("retry-after") == ("600" if name == "429" else None)
    assert lane.calls == [1, 1]
    row = gateway.entry(reply.id)
    assert (row.outcome, row.status, row.attempts) == (kind.value, facts.status, 2)
    assert (row.cost_ticks, row.input_tokens, row.output_tokens) == (0, 0, 0)
    assert [row.cost_ticks for row in gateway.attempts(reply.id)] == [0, 0]
    _check_states(gateway, lane, [fault.state] * 2)
    assert _resting(gateway, lane) == [[lane.model] if fault.rests_model else []] * 2


@pytest.mark.parametrize("name", MID_STREAM)
def test_a_failure_in_mid_stream_ends_the_stream_with_an_error_and_no_done(gateway, lane, name):
    kind, behaviour = MID_STREAM[name]
    lane.seats[0].will(behaviour)
    reply = gateway.ask(model=lane.model, stream=True)
    assert (reply.status, reply.text) == (200, TEXT)
    assert b"[DONE]" not in reply.body
    assert reply.error["code"] == kind.value
    assert all(not event["choices"][0]["finish_reason"] for event in reply.events[:-1])
    assert lane.calls == [1, 0], "another account must not try once an event has left"
    row = gateway.entry(reply.id)
    assert (row.outcome, row.status, row.attempts) == (kind.value, facts_of(kind).status, 1)
    assert (row.cost_ticks, row.output_tokens) == (0, 0), "a broken reply is not owed"
    (attempt,) = gateway.attempts(reply.id)
    assert (attempt.outcome, attempt.usage_estimated) == (kind.value, True)
    assert attempt.output_tokens > 0, "what was produced is known to the operator"


def test_a_stream_cut_after_its_finish_counts_as_broken(gateway, lane):
    lane.seats[0].will(streams(*chunks_of(), chunk_of({}, "stop"), then=cut))
    reply = gateway.ask(model=lane.model, stream=True)
    assert not reply.ends_well
    assert gateway.entry(reply.id).outcome == ErrorKind.STREAM_BROKEN.value


def test_a_missing_done_is_added(gateway, lane):
    end = {**chunk_of({}), "choices": [], "usage": USAGE}
    lane.seats[0].will(streams(*chunks_of(), chunk_of({}, "stop"), end, then=end_stream))
    reply = gateway.ask(model=lane.model, stream=True)
    assert reply.ends_well
    assert reply.text == TEXT
    row = gateway.entry(reply.id)
    assert (row.outcome, row.cost_ticks, row.output_tokens) == ("ok", TICKS, 7)


def test_a_whole_reply_for_a_stream_becomes_a_stream(gateway, lane):
    lane.seats[0].will(says(whole_reply()))
    reply = gateway.ask(model=lane.model, stream=True)
    assert reply.ends_well
    assert reply.text == TEXT
    assert gateway.entry(reply.id).cost_ticks == TICKS


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
def test_an_account_that_cannot_be_reached_is_left_for_the_next(
    gateway, tmp_path, upstream, is_stream
):
    with Upstream() as dying:
        first = dying.seat("gone", ("reach",))
        second = upstream.seat(f"there-{is_stream}", ("reach",))
        lane = Lane(model="reach", seats=[first, second])
        own = Gateway(folder=tmp_path, config=config_toml(lane.accounts_toml()))
        with running(own):
            wait_for_lists(own, [lane])
            dying.stop_listening()
            reply = own.ask(model="reach", stream=is_stream)
            assert (reply.status, reply.text) == (200, TEXT)
            assert _attempts_of(own, reply) == [
                ("reach-1", ErrorKind.UPSTREAM_DOWN.value, 0),
                ("reach-2", "ok", 200),
            ]


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, {"code": "invalid-argument", "error": "Bad value."}, "invalid_value"),
        (422, {"error": "Failed to deserialize the JSON body"}, "invalid_value"),
        (400, {"error": "This model's maximum prompt length is 9"}, "context_length_exceeded"),
        (403, {"error": "Content violates usage guidelines."}, "content_policy_violation"),
        (413, b"", "request_too_large"),
    ],
)
def test_what_the_caller_did_wrong_is_not_tried_elsewhere(gateway, lane, status, body, kind):
    lane.seats[0].will(fails(status, body))
    reply = gateway.ask(model=lane.model)
    assert reply.error["code"] == kind
    assert lane.calls == [1, 0]
    assert "x-should-retry" not in reply.headers
    assert _states(gateway, lane) == ["active", "active"]
    assert _resting(gateway, lane) == [[], []]
    assert _token(gateway, lane, 0)["fail_count"] == 0


def test_no_more_accounts_are_tried_than_the_settings_say(gateway, wide):
    lane = wide[0]
    for seat in lane.seats:
        seat.will(fails(500))
    reply = gateway.ask(model=lane.model)
    assert reply.headers["x-groxy-attempts"] == "3"
    assert sum(lane.calls) == 3
    assert len(gateway.attempts(reply.id)) == 3


def test_the_third_account_serves_when_two_fail_each_in_its_own_way(gateway, wide):
    lane = wide[1]
    lane.seats[0].will(fails(403, NO_CREDITS))
    lane.seats[1].will(streams(chunks_of()[0], then=cut))
    reply = gateway.ask(model=lane.model, stream=True)
    assert (reply.text, reply.ends_well) == (TEXT, True)
    assert reply.headers["x-groxy-attempts"] == "3"
    assert lane.calls[:2] == [1, 1]
    kinds = [row.outcome for row in gateway.attempts(reply.id)]
    assert kinds == [_K.UPSTREAM_QUOTA.value, _K.STREAM_BROKEN.value, "ok"]
    row = gateway.entry(reply.id)
    assert (row.attempts, row.cost_ticks) == (3, TICKS)


def test_the_third_failure_in_a_row_lets_an_account_go_last(gateway, lane):
    lane.seats[0].will(fails(500), fails(500), fails(500))
    # Another conversation each time: one that goes on would stay where it was served.
    for turn in range(2):
        gateway.ask(f"Hello {turn}", model=lane.model)
    assert _states(gateway, lane) == ["active", "active"]
    gateway.ask(model=lane.model)
    assert _states(gateway, lane) == ["cooling", "active"]
    assert gateway.account_states()["cooling"] >= 1
    gateway.ask("Hello, and who is first now?", model=lane.model)
    assert lane.calls == [3, 4]


def test_a_success_forgets_the_failures_before_it(gateway, lane):
    lane.seats[0].will(fails(500), fails(500))
    for turn in range(3):
        gateway.ask(f"Hello {turn}", model=lane.model)
    assert lane.calls == [3, 2]
    lane.seats[0].will(fails(500))
    gateway.ask(model=lane.model)
    assert lane.calls == [4, 3]
    assert _states(gateway, lane) == ["active", "active"]


def test_an_account_at_its_limit_is_not_asked_again_while_it_rests(gateway, lane):
    lane.seats[0].will(fails(429, b"", {"Retry-After": "600"}))
    gateway.ask(model=lane.model)
    reply = gateway.ask(model=lane.model)
    assert reply.headers["x-groxy-attempts"] == "1"
    assert lane.calls == [1, 2]


def test_when_all_accounts_rest_the_client_is_told_when_to_come_back(gateway, lane):
    for seat in lane.seats:
        seat.will(fails(429, b"", {"Retry-After": "600"}))
    gateway.ask(model=lane.model)
    reply = gateway.ask(model=lane.model)
    assert (reply.status, reply.error["code"]) == (429, "rate_limit_exceeded")
    assert 590 <= int(reply.headers["retry-after"]) <= 600
    assert lane.calls == [1, 1]
    assert gateway.entry(reply.id).attempts == 0


def test_a_429_has_retry_after_though_the_upstream_gave_none(gateway, lane):
    for seat in lane.seats:
        seat.will(fails(429, b""))
    reply = gateway.ask(model=lane.model)
    assert reply.status == 429
    assert int(reply.headers["retry-after"]) >= 1


def test_the_shortest_wait_of_all_accounts_is_told(gateway, lane):
    for seat, wait_s in zip(lane.seats, ("600", "20"), strict=True):
        seat.will(fails(429, b"", {"Retry-After": wait_s}))
    reply = gateway.ask(model=lane.model)
    assert reply.headers["retry-after"] == "20"


def test_an_account_serves_again_after_its_rest(gateway, lane):
    for seat in lane.seats:
        seat.will(fails(429, b"", {"Retry-After": "1"}))
    assert gateway.ask(model=lane.model).status == 429
    reply = poll(lambda: _ok(gateway.ask(model=lane.model)), what="serving again")
    assert reply.text == TEXT


def _ok(reply: Reply) -> Reply | None:
    return reply if reply.status == 200 else None


def test_a_rate_limit_tells_more_than_the_failure_after_it(gateway, lane):
    lane.seats[0].will(fails(429, b"", {"Retry-After": "30"}))
    lane.seats[1].will(fails(500))
    reply = gateway.ask(model=lane.model)
    assert (reply.status, reply.headers["retry-after"]) == (429, "30")


def test_models_of_an_account_with_a_wrong_key_are_not_listed(gateway, lane):
    assert lane.model in _listed(gateway)
    for seat in lane.seats:
        seat.will(fails(401))
        seat.key = key_is_wrong()
    gateway.ask(model=lane.model)
    _check_states(gateway, lane, ["expired", "expired"])
    assert lane.model not in _listed(gateway)


def test_a_rejection_that_the_check_does_not_confirm_expires_nobody(gateway, lane):
    seat = lane.seats[0].will(fails(401))
    checks = seat.key_calls
    assert gateway.ask(model=lane.model).status == 200
    poll(lambda: seat.key_calls > checks, within_s=5, what="checking the key")
    # The one that is asked after it was found good: what the check led to is in force by then.
    lane.seats[1].will(fails(401)).key = key_is_wrong()
    assert gateway.ask(model=lane.model).error["code"] == _K.UPSTREAM_AUTH.value
    _check_states(gateway, lane, ["cooling", "expired"])
    assert lane.calls == [1, 2], "it is not asked while it rests"
    assert lane.model in _listed(gateway)


def _listed(gateway: Gateway) -> list[str]:
    return [model["id"] for model in gateway.get("/v1/models", gateway.auth).json["data"]]


def test_no_failure_shows_an_account_an_address_or_a_key(gateway, lane):
    secret = f"xai-secret-of-{lane.model}-1"
    said = f"Key {secret} of http://127.0.0.1:1/v1 is wrong"
    lane.seats[0].will(fails(400, {"error": said}))
    reply = gateway.ask(model=lane.model)
    assert reply.status == 400
    for part in (secret, "127.0.0.1", f"{lane.model}-1"):
        assert part not in reply.body.decode()
        assert part not in json.dumps(dict(reply.headers))


@pytest.mark.parametrize("name", ["500", "no credits as 403"])
def test_attempts_are_counted_by_their_outcome(gateway, lane, name):
    kind = FAULTS[name].kind.value
    before = gateway.metric("groxy_attempts_total", "xai", kind)
    lane.seats[0].will(FAULTS[name].whole)
    gateway.ask(model=lane.model)
    assert gateway.metric("groxy_attempts_total", "xai", kind) == before + 1


def test_a_bill_beyond_all_bounds_does_not_stop_the_books(gateway, lane):
    lane.seats[0].will(says(whole_reply(usage={**USAGE, "cost_in_usd_ticks": 10**30})))
    gateway.ask(model=lane.model)
    reply = gateway.ask(model=lane.model)
    assert reply.status == 200
    assert gateway.entry(reply.id).outcome == "ok"


@pytest.mark.parametrize("model", ["grok-\ud800", "x" * 100_000, "a\x00b", "[/red]\x1b[2J"])
def test_a_hostile_model_name_from_upstream_does_not_stop_the_books(gateway, lane, model):
    lane.seats[0].will(says(whole_reply(model=model)))
    gateway.ask(model=lane.model)
    assert gateway.ask(model=lane.model).status == 200

"""Every way in which an account can fail: the client's view, the calls, the account, the books.

The accounts are looked at and looked after through the admin API, as an operator does it.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from groxy.core.errors import ErrorKind, facts_of
from tests.e2e.pools import (
    NO_CREDITS,
    WRONG_KEY,
    KeyedUpstream,
    Pool,
    Pools,
    key_is_blocked,
    key_is_good,
    key_is_unknown,
    key_is_wrong,
    ms_from_now,
)
from tests.e2e.running import Gateway, Reply, config_toml, poll, running
from tests.e2e.scripted import (
    TEXT,
    TICKS,
    Behaviour,
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
)

pytestmark = pytest.mark.e2e

_BILLING_S, _CONFIRM_S, _LIMITED_S = 900, 40, 20
_SETTINGS = f"""
[attempts]
connect_timeout_s = 1.0
first_event_timeout_s = 0.4
idle_timeout_s = 0.4
backoff_s = 0.01
[cooling]
billing_s = {_BILLING_S}
confirm_s = {_CONFIRM_S}
limited_s = {_LIMITED_S}
[refresh]
every_s = 0
"""
_K = ErrorKind
_OVERLOADED = {"error": {"message": "Overloaded", "code": 503}}
_BLOCKED = {"code": "permission-denied", "error": "Your API key has been blocked."}
_ABSENT = {"code": "not-found", "error": "Model not found: whatever"}


@dataclass(frozen=True, kw_only=True)
class Rest:
    """How an account stands after a failure."""

    status: str = "active"
    reason: str = ""
    for_s: int = 0
    """Until when it rests, from the failure on; 0 for no end that is known."""
    model: bool = False
    """Only the model rests."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A way to fail, and what the gateway should make of it."""

    kind: ErrorKind
    whole: Behaviour
    stream: Behaviour | None = None
    """Another one for streams."""
    kind_on_stream: ErrorKind | None = None
    sent: int = 0
    """The upstream's status; 0 for none at all."""
    sent_on_stream: int | None = None
    after: Rest = Rest()
    key: Behaviour | None = None
    """What is told of the key when it is checked."""
    counts: bool = True
    """It counts against the account."""
    wait: str | None = None
    """The client's Retry-After, where nobody else could serve."""

    def of(self, *, is_stream: bool) -> tuple[Behaviour, ErrorKind, int]:
        """Return what is done, what it is taken for, and the upstream's status."""
        if not is_stream:
            return self.whole, self.kind, self.sent
        sent = self.sent if self.sent_on_stream is None else self.sent_on_stream
        return self.stream or self.whole, self.kind_on_stream or self.kind, sent


_EXPIRED = Rest(status="expired", reason="credential_rejected")
_DOUBTED = Rest(status="cooling", reason=_K.UPSTREAM_AUTH.value, for_s=_CONFIRM_S)
_UNPAID = Rest(status="cooling", reason=_K.UPSTREAM_QUOTA.value, for_s=_BILLING_S)

ROTATING = {
    "wrong key": Fault(
        kind=_K.UPSTREAM_AUTH,
        whole=fails(400, WRONG_KEY),
        sent=400,
        key=key_is_wrong(),
        after=_EXPIRED,
    ),
    "wrong key, says one who is mistaken": Fault(
        kind=_K.UPSTREAM_AUTH, whole=fails(401), sent=401, key=key_is_good(), after=_DOUBTED
    ),
    "wrong key, and nobody to confirm it": Fault(
        kind=_K.UPSTREAM_AUTH, whole=fails(401), sent=401, key=key_is_unknown(), after=_DOUBTED
    ),
    "key blocked": Fault(
        kind=_K.UPSTREAM_AUTH,
        whole=fails(403, _BLOCKED),
        sent=403,
        key=key_is_blocked(),
        after=_EXPIRED,
    ),
    "no credits as 403": Fault(
        kind=_K.UPSTREAM_QUOTA, whole=fails(403, NO_CREDITS), sent=403, after=_UNPAID
    ),
    "no credits as 429": Fault(
        kind=_K.UPSTREAM_QUOTA, whole=fails(429, NO_CREDITS), sent=429, after=_UNPAID
    ),
    "429 that says how long": Fault(
        kind=_K.UPSTREAM_LIMITED,
        whole=fails(429, {"error": "Too many requests"}, {"Retry-After": "600"}),
        sent=429,
        after=Rest(reason=_K.UPSTREAM_LIMITED.value, for_s=600, model=True),
        wait="600",
    ),
    "429 that does not": Fault(
        kind=_K.UPSTREAM_LIMITED,
        whole=fails(429),
        sent=429,
        after=Rest(reason=_K.UPSTREAM_LIMITED.value, for_s=_LIMITED_S, model=True),
        wait=str(_LIMITED_S),
    ),
    "500": Fault(kind=_K.UPSTREAM_DOWN, whole=fails(500), sent=500),
    "503 that says how long": Fault(
        kind=_K.UPSTREAM_DOWN, whole=fails(503, b"", {"Retry-After": "7"}), sent=503, wait="7"
    ),
    "404 for the model": Fault(
        kind=_K.MODEL_ABSENT, whole=fails(404, _ABSENT), sent=404, counts=False
    ),
    "reset before the head": Fault(kind=_K.UPSTREAM_DOWN, whole=drops),
    "silence": Fault(kind=_K.UPSTREAM_TIMEOUT, whole=silent),
    "slow first event": Fault(
        kind=_K.UPSTREAM_TIMEOUT,
        whole=silent,
        stream=streams(chunks_of()[0], then=stall),
        sent_on_stream=200,
    ),
    "cut before the first event": Fault(
        kind=_K.STREAM_BROKEN,
        whole=breaks_off,
        stream=streams(chunks_of()[0], then=cut),
        sent=200,
    ),
    "garbage": Fault(
        kind=_K.BAD_REPLY,
        whole=says(b'{"choices": [{'),
        stream=streams(chunks_of()[0], b'{"choices": [{', then=end_stream),
        sent=200,
    ),
    "HTML": Fault(
        kind=_K.BAD_REPLY,
        kind_on_stream=_K.STREAM_BROKEN,
        whole=fails(200, b"<html>Bad gateway</html>", {"Content-Type": "text/html"}),
        sent=200,
    ),
    "nothing in a 200": Fault(
        kind=_K.BAD_REPLY,
        kind_on_stream=_K.STREAM_BROKEN,
        whole=says(b""),
        stream=streams(then=end_stream),
        sent=200,
    ),
    "an error in a 200": Fault(
        kind=_K.UPSTREAM_DOWN,
        whole=says(_OVERLOADED),
        stream=streams(chunks_of()[0], _OVERLOADED, then=end_stream),
        sent=200,
    ),
    "no credits in a 200": Fault(
        kind=_K.UPSTREAM_QUOTA,
        whole=says(NO_CREDITS),
        stream=streams(chunks_of()[0], NO_CREDITS, then=end_stream),
        sent=200,
        after=_UNPAID,
    ),
}
CALLERS_OWN = {
    "bad argument": (400, {"code": "invalid-argument", "error": "Bad value."}, "invalid_value"),
    "unreadable body": (422, {"error": "Failed to deserialize the JSON body"}, "invalid_value"),
    "too long": (
        400,
        {"error": "This model's maximum prompt length is 9"},
        "context_length_exceeded",
    ),
    "policy": (403, {"error": "Content violates usage guidelines."}, "content_policy_violation"),
    "too large": (413, {"error": "Too large"}, "request_too_large"),
}
MID_STREAM = {
    "cut": (_K.STREAM_BROKEN, streams(*chunks_of(), then=cut), Rest()),
    "stall": (_K.UPSTREAM_TIMEOUT, streams(*chunks_of(), then=stall), Rest()),
    "garbage": (_K.BAD_REPLY, streams(*chunks_of(), b'{"choices": [', then=end_stream), Rest()),
    "an error event": (
        _K.UPSTREAM_DOWN,
        streams(*chunks_of(), _OVERLOADED, then=end_stream),
        Rest(),
    ),
    "no credits": (_K.UPSTREAM_QUOTA, streams(*chunks_of(), NO_CREDITS, then=end_stream), _UNPAID),
    "at its limit": (
        _K.UPSTREAM_LIMITED,
        streams(*chunks_of(), {"error": {"message": "Slow down", "code": 429}}, then=end_stream),
        Rest(reason=_K.UPSTREAM_LIMITED.value, for_s=_LIMITED_S, model=True),
    ),
    "a failed choice": (
        _K.BAD_REPLY,
        streams(*chunks_of(), chunk_of({}, "error"), then=end_stream),
        Rest(),
    ),
    "an end without a finish": (
        _K.STREAM_BROKEN,
        streams(*chunks_of(), then=end_stream),
        Rest(),
    ),
}
_FORMS = pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])


@pytest.fixture(scope="module")
def keyed() -> Iterator[KeyedUpstream]:
    with KeyedUpstream() as server:
        yield server


@pytest.fixture(scope="module")
def gateway(tmp_path_factory) -> Iterator[Gateway]:
    config = config_toml(extra=_SETTINGS)
    with running(Gateway(folder=tmp_path_factory.mktemp("pools"), config=config)) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def pools(gateway, keyed) -> Pools:
    return Pools(gateway, keyed)


def _check_account(pool: Pool, place: int, kind: ErrorKind, after: Rest) -> None:
    """Check how an account stands after one failure of this kind."""
    if after.model:
        token = pool.token(place)
        assert (token["status"], token["reason"]) == ("active", "")
        (rest,) = token["cooling"]["models"]
        assert (rest["model"], rest["reason"]) == (pool.model, after.reason)
        assert after.for_s - 10 < ms_from_now(rest["until"]) <= after.for_s
        assert token["cooling"]["until"] is None
    else:
        wanted = (after.status, after.reason) if after.reason else (after.status,)
        token = pool.settled(place, *wanted)
        _check_cooling(token, after)
    assert token["health"] < 1
    # Counts are on their way to the store now and then, and seen neither here nor there meanwhile.
    token = poll(lambda: _counted(pool, place), within_s=5, what="counting the failure")
    assert (token["fail_count"], token["last_error"]) == (1, kind.value)


def _counted(pool: Pool, place: int) -> Any:
    """Return an account once a failure is counted."""
    token = pool.token(place)
    return token if token["fail_count"] else None


def _check_cooling(token: Any, after: Rest) -> None:
    if after.status != "cooling":
        assert token["cooling"] is None
        return
    assert token["cooling"]["reason"] == after.reason
    assert after.for_s - 10 < ms_from_now(token["cooling"]["until"]) <= after.for_s
    assert token["cooling"]["models"] == []


def _check_untouched(pool: Pool, place: int) -> None:
    """Check that nothing is held against an account."""
    token = pool.token(place)
    assert (token["status"], token["cooling"], token["fail_count"]) == ("active", None, 0)
    assert (token["health"], token["last_error"], token["in_flight"]) == (1, "", 0)


# ---------------------------------------------------------------- failures that another one mends


@_FORMS
@pytest.mark.parametrize("name", ROTATING)
def test_a_failure_is_taken_over_and_leaves_its_mark_on_the_account(pools, name, is_stream):
    fault = ROTATING[name]
    behaviour, kind, sent = fault.of(is_stream=is_stream)
    pool = pools.make(2)
    pool.key(0, fault.key or key_is_good())
    pool.seats[0].will(behaviour)
    reply = pool.ask(stream=is_stream)
    assert (reply.status, reply.text) == (200, TEXT)
    assert reply.headers["x-groxy-attempts"] == "2"
    assert is_stream <= reply.ends_well
    assert pool.calls == [1, 1]
    _check_books(pool, reply, kind, sent)
    if fault.counts:
        _check_account(pool, 0, kind, fault.after)
    else:
        _check_untouched(pool, 0)
    _check_untouched(pool, 1)


def _check_books(pool: Pool, reply: Reply, kind: ErrorKind, sent: int) -> None:
    assert pool.operator.line(reply) == ("ok", 200, 2, TICKS)
    trail = pool.operator.trail(reply)
    assert pool.operator.tries(reply) == [
        (pool.names[0], kind.value, sent),
        (pool.names[1], "ok", 200),
    ]
    assert [one["cost_ticks"] for one in trail["attempts"]] == [0, TICKS]
    assert trail["request"]["account"]["name"] == pool.names[1]
    assert [one["account"]["name"] for one in trail["route"]["candidates"]] == pool.names


@_FORMS
@pytest.mark.parametrize("name", ROTATING)
def test_an_account_that_fails_alone_costs_nothing_and_its_error_is_told(pools, name, is_stream):
    fault = ROTATING[name]
    behaviour, kind, sent = fault.of(is_stream=is_stream)
    pool = pools.make(1)
    pool.key(0, fault.key or key_is_good())
    pool.seats[0].will(behaviour)
    reply = pool.ask(stream=is_stream)
    facts = facts_of(kind)
    assert (reply.status, reply.headers["content-type"]) == (facts.status, "application/json")
    assert (reply.error["code"], reply.error["type"]) == (kind.value, facts.type)
    assert reply.status != 401, "what is wrong with an account is not the caller's key"
    assert reply.headers.get("retry-after") == fault.wait
    assert pool.calls == [1]
    assert pool.operator.line(reply) == (kind.value, facts.status, 1, 0)
    assert pool.operator.tries(reply) == [(pool.names[0], kind.value, sent)]


@pytest.mark.parametrize("name", ["wrong key", "no credits as 403", "429 that says how long"])
def test_an_account_that_rests_is_not_asked_and_the_caller_is_told_when(pools, name):
    fault = ROTATING[name]
    pool = pools.make(1)
    pool.key(0, fault.key or key_is_good())
    pool.seats[0].will(fault.whole)
    pool.ask()
    _check_account(pool, 0, fault.kind, fault.after)
    reply = pool.ask()
    assert pool.calls == [1]
    is_limit = fault.kind is _K.UPSTREAM_LIMITED
    wanted = (429, "rate_limit_exceeded") if is_limit else (503, "no_account_available")
    assert (reply.status, reply.error["code"]) == wanted
    assert int(reply.headers["retry-after"]) >= 1
    assert pool.operator.line(reply) == (wanted[1], wanted[0], 0, 0)
    route = pool.operator.route(pool.model)
    assert (route["served"], route["able"]) == (False, 0)
    (judged,) = [one for one in route["accounts"] if one["id"] == pool.ids[0]]
    assert [why["code"] for why in judged["why_not"]] == [
        {"expired": "expired", "cooling": "cooling"}.get(fault.after.status, "model_cooling")
    ]


@_FORMS
def test_an_account_that_cannot_be_reached_is_left_for_the_next(pools, is_stream):
    with KeyedUpstream() as dying:
        pool = pools.make(2, places=[dying])
        dying.stop_listening()
        reply = pool.ask(stream=is_stream)
        assert (reply.status, reply.text) == (200, TEXT)
        _check_books(pool, reply, _K.UPSTREAM_DOWN, 0)
        _check_account(pool, 0, _K.UPSTREAM_DOWN, Rest())


def test_five_accounts_fail_in_five_ways_and_the_sixth_serves(pools):
    pool = pools.make(6)
    with pools.operator.settings(attempts={"max_attempts": 6}):
        pool.key(0, key_is_wrong())
        ways = ("wrong key", "no credits as 403", "429 that says how long", "500", "garbage")
        for seat, name in zip(pool.seats, ways, strict=False):
            seat.will(ROTATING[name].whole)
        reply = pool.ask()
    assert (reply.status, reply.text, reply.headers["x-groxy-attempts"]) == (200, TEXT, "6")
    assert pool.calls == [1] * 6
    kinds = [outcome for _, outcome, _ in pool.operator.tries(reply)]
    assert kinds == [*(ROTATING[name].kind.value for name in ways), "ok"]
    assert pool.operator.line(reply) == ("ok", 200, 6, TICKS)
    pool.settled(0, "expired")
    assert [pool.token(at)["status"] for at in range(1, 6)] == ["cooling", *["active"] * 4]


# ----------------------------------------------------------------- failures that are the caller's


@_FORMS
@pytest.mark.parametrize("name", CALLERS_OWN)
def test_what_the_caller_did_wrong_is_not_tried_elsewhere_and_harms_no_account(
    pools, name, is_stream
):
    status, body, code = CALLERS_OWN[name]
    pool = pools.make(2)
    pool.seats[0].always(fails(status, body))
    reply = [pool.ask(stream=is_stream) for _ in range(4)][-1]
    assert reply.error["code"] == code
    assert "x-should-retry" not in reply.headers
    assert pool.calls == [4, 0]
    assert pool.operator.line(reply) == (code, reply.status, 1, 0)
    assert pool.operator.tries(reply) == [(pool.names[0], code, status)]
    _check_untouched(pool, 0)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/messages/count_tokens", {"messages": [{"role": "user", "content": "Hello"}]}),
        ("/v1/tokenize", {"text": "Hello"}),
        ("/v1/tokenize-text", {"text": "Hello"}),
        ("/v1/responses/input_tokens", {"input": "Hello"}),
    ],
)
@pytest.mark.parametrize("status", [401, 403, 429, 500])
def test_counting_tokens_never_changes_an_account(pools, keyed, path, body, status):
    pool = pools.make(1)
    name = pool.names[0]
    keyed.others[name, "v1/tokenize-text"] = fails(status, {"error": "no"})
    before = pool.token()
    for _ in range(4):
        reply = _post(pools.gateway, path, body | {"model": pool.model})
        assert reply.status == 200, reply.body
    assert pool.token() == before
    assert pool.ask().status == 200


def test_tokenizing_does_ask_the_account(pools, keyed):
    """Or the test above would prove nothing."""
    pool = pools.make(1)
    keyed.others[pool.names[0], "v1/tokenize-text"] = fails(500)
    _post(pools.gateway, "/v1/tokenize", {"text": "Hello", "model": pool.model})
    assert keyed.other_calls[pool.names[0]] == ["v1/tokenize-text"]


def _post(gateway: Gateway, path: str, body: dict[str, Any]) -> Reply:
    return gateway.request("POST", path, json.dumps(body).encode(), gateway.auth)


def test_listing_models_never_changes_an_account(pools):
    pool = pools.make(1)
    before = pool.token()
    for path in ("/v1/models", f"/v1/models/{pool.model}", "/v1/language-models"):
        assert pools.gateway.get(path, pools.gateway.auth).status == 200
    assert pool.token() == before


# -------------------------------------------------------------------------------- in mid-stream


@pytest.mark.parametrize("name", MID_STREAM)
def test_a_failure_in_mid_stream_ends_the_stream_and_leaves_its_mark_on_the_account(pools, name):
    kind, behaviour, after = MID_STREAM[name]
    pool = pools.make(2)
    pool.seats[0].will(behaviour)
    reply = pool.ask(stream=True)
    assert (reply.status, reply.text) == (200, TEXT)
    assert b"[DONE]" not in reply.body
    assert reply.error["code"] == kind.value
    assert all(not event["choices"][0]["finish_reason"] for event in reply.events[:-1])
    assert pool.calls == [1, 0], "another account must not try once an event has left"
    assert pool.operator.line(reply) == (kind.value, facts_of(kind).status, 1, 0)
    assert pool.operator.tries(reply) == [(pool.names[0], kind.value, 200)]
    (attempt,) = pool.operator.trail(reply)["attempts"]
    assert attempt["tokens"]["output"] > 0
    assert attempt["tokens"]["estimated"]
    _check_account(pool, 0, kind, after)
    _check_untouched(pool, 1)

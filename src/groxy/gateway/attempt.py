"""One attempt: one candidate is asked, and its reply read or relayed.

In: a candidate and the decoded request. Out: the reply's last bytes, which wait for the books; or
a `GroxyError`, after which the pipeline decides whether another candidate may try. What the
attempt used and cost is noted in its trail in either case.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import aclosing
from typing import Protocol, TypeVar

import msgspec

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.money import Price
from groxy.core.tokens import TokenCounter
from groxy.core.usage import Usage
from groxy.dialects._base import Asked, Dialect, EmbeddedError, StreamRelay, Tally, WholeReply
from groxy.gateway.budget import Budget
from groxy.gateway.lanes import Lane, Lanes
from groxy.gateway.rounds import read_refusal
from groxy.ledger.costs import BY_CATALOG, BY_UPSTREAM, attempt_cost, list_cost
from groxy.ledger.prices import Tariff
from groxy.ledger.trail import NOTHING, OK, Attempt
from groxy.routing.router import Candidate
from groxy.upstreams._base import ErrorReply
from groxy.wire.http import Outgoing, Reply
from groxy.wire.json import Fields, encode

_MAX_REPLY_BYTES = 64 * 1024 * 1024
_MAX_HELD_BYTES = 1024 * 1024
"""Of a stream before its first output: roles and the like, a few hundred bytes usually."""
_OK_STATUS = 200
_OTHER_MODELS = ("models", "fallbacks")
"""What may serve in place of `model`: OpenRouter's word, and LiteLLM's (their docs, 2026-08)."""
_CONTENT_HEADERS = {"Content-Type": "application/json"}

T = TypeVar("T")
PassOn = Callable[[bytes], Awaitable[None]]
"""Sends bytes of a stream to the client."""


class Watch(Protocol):
    """Runs work under watch."""

    async def __call__(self, work: Coroutine[None, None, T]) -> T:
        """Return what the work returns."""
        ...


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What all attempts of a request have in common."""

    dialect: Dialect
    asked: Asked
    lanes: Lanes
    conversation: str
    """What its conversation is called upstream; empty when it is none."""
    counter: TokenCounter
    tariff: Tariff
    """The prices that hold for it, whatever they become meanwhile."""
    charge_of: Callable[[int, int], int]
    """What its caller pays, of what it costs by bill or list, and by list."""
    budget: Callable[[], Budget | None]
    """What one stream may use up; None for what it likes."""
    heard: Callable[[], None]
    """Notes that the upstream sent something."""


class AttemptRun:
    """Asks one candidate."""

    def __init__(self, question: Question, candidate: Candidate, attempt: Attempt) -> None:
        self._question = question
        self.candidate = candidate
        self._upstream = candidate.account.upstream
        self.attempt = attempt
        self._relay: StreamRelay | None = None
        self._is_cached = False
        self.adjusted: list[str] = []
        """What was changed in the request for this upstream."""
        self.tally = Tally()
        """What is known of the reply."""
        self.carries_sealed = True
        """False when sealed thoughts do not reach the caller; see `Lane`."""
        self.record = b""
        """The reply as its dialect keeps it, once it is complete."""
        self.claim: Callable[[], None] = _nobody_else
        """Called before a whole reply counts: ends this attempt when another one serves."""
        self.watched: Watch = _unwatched
        """Runs work so that it ends when a deadline passes or the client leaves."""
        self.is_outrun = False
        """True when it was ended because another attempt serves."""
        self.ended_by: GroxyError | None = None
        """Why it was ended from outside, where not for another attempt."""
        self.is_cut = False
        """True when its stream was ended because its budget was used up."""

    @property
    def account_id(self) -> str:
        """The account that is asked."""
        return self.candidate.account.id

    async def whole(self) -> bytes:
        """Ask for a whole reply and return it."""
        usage = None
        try:
            lane, body = await self.watched(self._fetch_whole())
            self.attempt.first_event = time.perf_counter()
            whole = self._read_whole(lane, body)
            self.claim()
            self.tally, usage = whole.tally, whole.reported_usage()
        except BaseException as error:
            self._note_end(self._kind_of(error), usage)
            raise
        written = whole.encode(self._shown(self._note_end(None, usage)))
        self.record = whole.record
        return written

    async def stream(self, pass_on: PassOn) -> bytes:
        """Ask for a stream, pass it on, and return its last bytes."""
        try:
            relay = await self.watched(self._fetch_stream(pass_on))
        except BaseException as error:
            reported = self._relay.reported_usage() if self._relay is not None else None
            self._note_end(self._kind_of(error), reported)
            raise
        written = relay.finish(self._shown(self._note_end(None, relay.reported_usage())))
        self.record = relay.record
        return written

    def break_off(self, error: GroxyError) -> bytes:
        """Return the end of a stream that broke off after it had begun."""
        if self._relay is None:
            return self._question.dialect.encode_stream_error(error)
        return self._relay.fail(error)

    async def _fetch_whole(self) -> tuple[Lane, bytes]:
        lane = await self._question.lanes.to(self.candidate)
        reply = await self._send(lane, is_stream=False)
        try:
            return lane, await reply.read(_MAX_REPLY_BYTES)
        finally:
            reply.close()

    async def _fetch_stream(self, pass_on: PassOn) -> StreamRelay:
        lane = await self._question.lanes.to(self.candidate)
        relay = self._relay = lane.relay(self._upstream.usage_rules)
        self.tally = relay.tally
        reply = await self._send(lane, is_stream=True)
        try:
            await self._pass(reply, relay, pass_on)
        except BaseException:
            reply.close()
            raise
        if self.is_cut:
            reply.close()
        else:
            reply.release()
        return relay

    async def _send(self, lane: Lane, *, is_stream: bool) -> Reply:
        """Send the request; return the reply if it is a good one."""
        candidate, upstream = self.candidate, self._upstream
        account = candidate.account
        self.carries_sealed = lane.carries_sealed
        fields, headers = self._outgoing(lane, is_stream=is_stream)
        outgoing = Outgoing(
            url=upstream.address(account.credentials) + lane.path,
            headers=_CONTENT_HEADERS | account.headers | headers,
            body=encode(fields),
            on_sent=self.attempt.note_sent,
        )
        reply = await account.transport.send(outgoing)
        self.attempt.status = reply.status
        rates = upstream.read_limits(reply.headers)
        if rates is not None:
            account.note_rates(candidate.target.mode, rates, time.time_ns() / 1e9)
        if reply.status != _OK_STATUS:
            try:
                raise await read_refusal(account, reply)
            finally:
                reply.close()
        self._is_cached = upstream.read_headers(reply.headers).is_cached
        return reply

    def _outgoing(self, lane: Lane, *, is_stream: bool) -> tuple[Fields, dict[str, str]]:
        """Return the body for this upstream, and the headers that its conversation needs."""
        candidate, upstream, question = self.candidate, self._upstream, self._question
        target = candidate.target
        fields, words = lane.outgoing(
            model=candidate.model_sent, effort=target.effort, stream=is_stream
        )
        words = words + _without_other_models(fields, question.asked)
        words += upstream.prepare(fields, target.facts, candidate.dialect)
        self.adjusted = words
        if question.asked.preferences.require_parameters:
            for word in words:
                name, _, verb = word.rpartition(" ")
                if verb == "dropped":
                    message = f"No account left takes `{name}`, and `provider` requires that."
                    raise GroxyError(ErrorKind.UNSUPPORTED, message, param=name)
        if not question.conversation:
            return fields, {}
        return fields, upstream.keep_together(fields, question.conversation, candidate.dialect)

    async def _pass(self, reply: Reply, relay: StreamRelay, pass_on: PassOn) -> None:
        """Pass a stream on; what comes before the first output is held until that is there."""
        held, budget = b"", self._question.budget()
        async with aclosing(self._pieces(reply, relay)) as pieces:
            async for piece in pieces:
                if self.attempt.first_event:
                    if piece:
                        await pass_on(piece)
                else:
                    held += piece
                    if not relay.tally.has_output:
                        _check_held(held)
                        continue
                    self.attempt.first_event = time.perf_counter()
                    await pass_on(held)
                if budget is not None and await self._is_spent(budget, relay, pass_on):
                    return
        if relay.failure is not None:
            raise self._meaning(relay.failure)
        if not relay.is_complete:
            raise GroxyError(ErrorKind.STREAM_BROKEN, "The upstream broke off its reply.")

    async def _is_spent(self, budget: Budget, relay: StreamRelay, pass_on: PassOn) -> bool:
        """End the stream when its budget is used up and there is no more; return whether it is."""
        if relay.is_complete or budget.covers(relay.tally) or await budget.extend():
            return False
        self.is_cut = True
        last = relay.cut()
        if last:
            await pass_on(last)
        return True

    async def _pieces(self, reply: Reply, relay: StreamRelay) -> AsyncGenerator[bytes, None]:
        """Yield what a reply has for the client, as it comes.

        Once there was something, also when nothing came of a chunk: what is not shown, such as
        thoughts, is used up all the same.
        """
        if "json" in reply.headers.get("content-type", ""):
            yield relay.feed_whole(await reply.read(_MAX_REPLY_BYTES))
            return
        heard, has_begun = self._question.heard, False
        async with aclosing(reply.chunks()) as chunks:
            async for chunk in chunks:
                heard()
                piece = relay.feed(chunk)
                has_begun = has_begun or bool(piece)
                if has_begun:
                    yield piece
                if relay.is_done:
                    return
        yield relay.close()

    def _read_whole(self, lane: Lane, body: bytes) -> WholeReply:
        try:
            return lane.read_whole(body, self._upstream.usage_rules)
        except EmbeddedError as error:
            raise self._meaning(error) from None

    def _meaning(self, failure: Exception) -> GroxyError:
        """Return what an error in place of a reply, or in the middle of one, means."""
        if isinstance(failure, EmbeddedError):
            return self._upstream.read_error(ErrorReply(status=_OK_STATUS, body=failure.payload))
        if isinstance(failure, GroxyError):
            return failure
        raise failure

    def _note_end(self, error: ErrorKind | None, reported: Usage | None) -> Usage:
        """Note how the attempt ended, and what it used and cost; return the usage."""
        attempt, served = self.attempt, self.tally.model_served
        attempt.ended = time.perf_counter()
        attempt.outcome = error.value if error else OK
        attempt.model_served = served
        usage = reported or self._estimated(error)
        price = self._price(served)
        attempt.usage = usage
        attempt.cost_ticks, attempt.cost_source = attempt_cost(
            usage, price, is_cached=self._is_cached
        )
        attempt.list_ticks = (
            attempt.cost_ticks
            if attempt.cost_source == BY_CATALOG
            else list_cost(usage, price, is_cached=self._is_cached) or 0
        )
        if attempt.cost_source == BY_UPSTREAM and attempt.list_ticks and error is None:
            self.candidate.account.note_price(attempt.cost_ticks, attempt.list_ticks)
        return usage

    def _price(self, served: str) -> Price | None:
        """Return the price of the model that served, else of the one that was to."""
        model, tariff = self.candidate.target.model, self._question.tariff
        for name in (served, model.id if model else ""):
            priced = tariff.of(name) if name else None
            if priced is not None and priced.price is not None:
                return priced.price
        return None

    def _kind_of(self, error: BaseException) -> ErrorKind:
        """Return what an attempt that ended like this is entered as.

        A crash must not look served; one that was outrun was ended by us, as a client does it.
        """
        if isinstance(error, GroxyError):
            return error.kind
        if self.ended_by is not None:
            return self.ended_by.kind
        is_ended = self.is_outrun and isinstance(error, asyncio.CancelledError)
        return ErrorKind.CANCELLED if is_ended else ErrorKind.INTERNAL

    def _shown(self, usage: Usage) -> Usage:
        """Return the usage to tell: with its cost, where the caller asked for that."""
        if not self._question.asked.wants_cost:
            return usage
        attempt = self.attempt
        ticks = self._question.charge_of(attempt.cost_ticks, attempt.list_ticks)
        return msgspec.structs.replace(usage, cost_ticks=ticks)

    def _estimated(self, error: ErrorKind | None) -> Usage:
        """Count what the upstream did not report: what it read, and what it had produced."""
        attempt = self.attempt
        has_worked = error is None or self.tally.has_output
        is_working = attempt.was_sent and attempt.status in (0, _OK_STATUS)
        if not has_worked and not (error is ErrorKind.CANCELLED and is_working):
            return NOTHING
        question = self._question
        prompt = question.dialect.prompt_text(question.asked)
        return Usage(
            input_tokens=max(question.counter.count(prompt), 1),
            output_tokens=question.counter.count("".join(self.tally.output)),
            estimated=True,
        )


def _without_other_models(fields: Fields, asked: Asked) -> list[str]:
    """Take out models that nobody has checked: the caller may not be allowed to use them."""
    checked = ("models",) if asked.fallbacks else ()
    found = [name for name in _OTHER_MODELS if name in fields and name not in checked]
    for name in found:
        del fields[name]
    return [f"{name} dropped" for name in found]


def _check_held(held: bytes) -> None:
    if len(held) > _MAX_HELD_BYTES:
        raise GroxyError(ErrorKind.BAD_REPLY, "The upstream sent much, but no answer.")


async def _unwatched(work: Coroutine[None, None, T]) -> T:
    return await work


def _nobody_else() -> None:
    """No other attempt runs beside this one."""

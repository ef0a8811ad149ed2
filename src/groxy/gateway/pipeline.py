"""The steps of one request, in the order that the package's docstring numbers them."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import cast

import msgspec

from groxy.core.errors import ErrorKind, GroxyError, NextStep
from groxy.core.money import Price
from groxy.core.tokens import TokenCounter, input_tokens
from groxy.dialects._base import Asked, CallersEnd, Counting, Dialect, Frame, UpstreamsEnd
from groxy.gateway.attempt import AttemptRun, Question
from groxy.gateway.lanes import Fetch, Lanes
from groxy.gateway.marks import binding_field, flagged_tools, own_conversation
from groxy.gateway.memory import Memory
from groxy.gateway.vigil import Client, Deadlines, Vigil
from groxy.ledger.journal import Journal
from groxy.ledger.trail import OK, Trail
from groxy.observe.logs import Logger, RequestLine, get_logger, log_request
from groxy.observe.metrics import Metrics
from groxy.policy.keys import Caller
from groxy.routing.accounts import Directory
from groxy.routing.router import Candidate, Router, Wanted
from groxy.store.kept import KeptRow

_OK_STATUS = 200
_JSON_HEADERS = [(b"content-type", b"application/json")]
_STREAM_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
]
_BILLED_OUTCOMES = frozenset({OK, ErrorKind.CANCELLED.value})


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A request as `api` hands it in: who asks what, in which dialect."""

    request_id: str
    dialect: Dialect
    caller: Caller
    body: bytes
    conversation: str = ""
    """The caller's own word for the conversation, from a header."""
    app_title: str = ""
    app_url: str = ""
    """The application that asks, as it says itself (OpenRouter's X-Title and HTTP-Referer)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The settings of attempts and streams."""

    deadlines: Deadlines
    streams_by_default: bool
    logs_requests: bool
    counting: Counting = Counting.OPENAI


@dataclass(slots=True, kw_only=True)
class Gateway:
    """Answers requests. All parts are handed in; see `app`."""

    router: Router
    directory: Directory
    journal: Journal
    metrics: Metrics
    counter: TokenCounter
    price_of: Callable[[str], Price | None]
    limits: Limits
    ends: Mapping[str, UpstreamsEnd]
    """The dialects that upstreams are asked in on behalf of others, by name."""
    memory: Memory
    fetch: Fetch
    log: Logger = field(default_factory=lambda: get_logger("gateway"))

    async def answer(self, call: Call, client: Client) -> None:
        """Answer one request, whatever happens, and enter it in the books exactly once."""
        await _Answer(self, call, client).run()


class _Answer:
    """One request on its way through the pipeline."""

    _vigil: Vigil

    def __init__(self, gateway: Gateway, call: Call, client: Client) -> None:
        self._gateway = gateway
        self._call = call
        self._client = client
        self._trail = Trail(
            request_id=call.request_id,
            key_id=call.caller.key_id,
            dialect=call.dialect.name,
            app_title=call.app_title,
            app_url=call.app_url,
        )
        self._run: AttemptRun | None = None
        """The newest attempt."""
        self._kept: list[KeptRow] = []
        """What is to be kept of the reply, written together with its entry."""
        self._flagged: list[str] = []
        """Tools that were called though nobody offered them."""
        self._error: GroxyError | None = None
        self._has_started = False
        self._has_begun = False
        """True once an event has left for the client: from then on no other account may try."""

    async def run(self) -> None:
        """Decode, plan, attempt; enter in the books; send the last bytes."""
        last_bytes = b""
        try:
            asked = self._decode()
            if self._trail.is_stream:
                with self._gateway.metrics.open_streams.track_inprogress():
                    last_bytes = await self._reply_to(asked)
            else:
                last_bytes = await self._reply_to(asked)
        except GroxyError as error:
            self._error = error
        except asyncio.CancelledError:  # the gateway stops, and has waited long enough
            message = "The gateway was stopped before the reply was complete. Try again."
            self._error = GroxyError(ErrorKind.INTERNAL, message)
        except Exception as error:  # a defect of ours must not take the books with it
            self._gateway.log.exception("request crashed", request=self._call.request_id)
            message = "The gateway made a mistake. Quote the request id when you report it."
            self._error = GroxyError(ErrorKind.INTERNAL, message, detail=repr(error))
        finally:
            await self._settle()
        await self._finish(last_bytes)

    def _decode(self) -> Asked:
        asked = self._call.dialect.decode_request(self._call.body)
        self._trail.model_asked = asked.model
        default = self._gateway.limits.streams_by_default
        self._trail.is_stream = default if asked.stream is None else asked.stream
        return asked

    async def _reply_to(self, asked: Asked) -> bytes:
        """Return the reply's last bytes; note what of it is to be kept."""
        memory, call = self._gateway.memory, self._call
        owner, home, whole = call.caller.key_id, "", asked
        if asked.continues or asked.keeps:
            whole, home = await memory.recall(call.dialect, asked, owner)
        last_bytes = await self._attempts(whole, self._wanted(whole, home))
        run = self._run
        if run is None:
            return last_bytes
        if asked.keeps:
            self._kept.append(
                memory.reply_row(
                    call.dialect, asked, run.record, owner=owner, account_id=run.account_id
                )
            )
        if run.tally.sealed and run.tally.call_ids and not call.dialect.carries_sealed:
            self._kept.append(memory.thoughts_row(run.tally.sealed, run.tally.call_ids, owner))
        self._flagged = flagged_tools(run.tally.called, asked.tool_names)
        return last_bytes

    def _wanted(self, asked: Asked, home: str) -> Wanted:
        conversation = self._call.conversation or asked.conversation
        return Wanted(
            model=asked.model,
            carriers=asked.carriers or self._call.dialect.carriers,
            has_tools=bool(asked.tool_names),
            preferences=asked.preferences,
            fallbacks=asked.fallbacks,
            conversation=own_conversation(self._call.caller.key_id, conversation),
            bound_by=binding_field(asked) if asked.carriers else "",
            home=home,
        )

    async def _attempts(self, asked: Asked, wanted: Wanted) -> bytes:
        """Ask candidates until one serves; return the reply's last bytes."""
        gateway = self._gateway
        plan = gateway.router.plan(wanted)
        break_silence = self._break_silence if self._trail.is_stream else None
        async with Vigil(self._client, gateway.limits.deadlines, break_silence) as vigil:
            self._vigil = vigil
            question = Question(
                dialect=self._call.dialect,
                asked=asked,
                lanes=self._lanes(asked),
                conversation=wanted.conversation,
                vigil=vigil,
                counter=gateway.counter,
                price_of=gateway.price_of,
            )
            failures: list[GroxyError] = []
            for candidate in plan.candidates:
                try:
                    last_bytes = await self._attempt(question, candidate)
                except GroxyError as error:
                    failures.append(error)
                    if self._has_begun or vigil.is_over or not _may_try_another(error):
                        raise
                else:
                    self._note_served(wanted, candidate)
                    return last_bytes
            raise _most_telling(failures)

    def _lanes(self, asked: Asked) -> Lanes:
        gateway, call = self._gateway, self._call
        owner = call.caller.key_id

        def count_input() -> int:
            # Only dialects that others carry tell tokens before the upstream does.
            return input_tokens(cast("CallersEnd", call.dialect).canonical(asked), gateway.counter)

        return Lanes(
            call.dialect,
            asked,
            Frame(
                reply_id=call.request_id.removeprefix("req_"),
                created=self._trail.at_ms // 1000,
                count_input=count_input,
                counting=gateway.limits.counting,
            ),
            ends=gateway.ends,
            fetch=gateway.fetch,
            thoughts=lambda call_ids: gateway.memory.thoughts(call_ids, owner),
        )

    def _note_served(self, wanted: Wanted, candidate: Candidate) -> None:
        attempt = self._trail.attempts[-1]
        self._gateway.router.note_served(
            wanted,
            candidate,
            first_event_s=attempt.first_event - attempt.began,
            output_tokens=attempt.usage.output_tokens,
            duration_s=attempt.ended - attempt.began,
        )

    async def _attempt(self, question: Question, candidate: Candidate) -> bytes:
        account, gateway = candidate.account, self._gateway
        attempt = self._trail.begin_attempt(
            upstream=account.upstream.name,
            account_id=account.id,
            model_sent=candidate.model_sent,
        )
        run = self._run = AttemptRun(question, candidate, attempt)
        self._trail.upstream_dialect = candidate.dialect
        account.in_flight += 1
        try:
            last_bytes = await (run.stream(self._pass_on) if self._trail.is_stream else run.whole())
        except GroxyError as error:
            gateway.directory.note_failure(account, error)
            if error.kind is ErrorKind.UPSTREAM_LIMITED and error.retry_after_s is None:
                error.retry_after_s = account.rest_until - gateway.directory.now()
            gateway.log.info(
                "attempt failed",
                request=self._call.request_id,
                account=account.id,
                upstream=account.upstream.name,
                outcome=error.kind.value,
                detail=error.detail,
            )
            raise
        finally:
            account.in_flight -= 1
        gateway.directory.note_success(account)
        return last_bytes

    async def _pass_on(self, piece: bytes) -> None:
        """Send a piece of a stream to the client."""
        await self._vigil.sending()
        if not self._has_started:
            await self._start(_OK_STATUS, _STREAM_HEADERS)
        self._has_begun = True
        await self._client.send(piece, is_last=False)
        self._vigil.sent()

    async def _break_silence(self) -> None:
        """Keep the client's connection alive while the upstream is silent."""
        if not self._has_started:
            await self._start(_OK_STATUS, _STREAM_HEADERS)
        await self._client.send(self._call.dialect.keepalive, is_last=False)

    async def _settle(self) -> None:
        """Enter the request in the books, and count it."""
        outcome, status = OK, _OK_STATUS
        if self._run is not None:
            self._trail.reply_id = self._run.tally.reply_id
            self._trail.finish_reason = self._run.tally.finish_reason
        if self._error is not None:
            outcome, status = self._error.kind.value, self._error.facts.status
        entry, attempts = self._trail.entries(
            outcome=outcome, status=status, is_owed=outcome in _BILLED_OUTCOMES
        )
        try:
            kept = self._kept if self._error is None else ()
            committed = self._gateway.journal.submit(entry, attempts, kept)
            self._count(outcome)  # Meanwhile: the disk takes longer.
            await committed
        except GroxyError as error:
            self._error = error
            self._gateway.log.error(
                "entry not written", request=entry.id, outcome=outcome, detail=error.detail
            )
            outcome = error.kind.value
        self._gateway.metrics.request_done(
            dialect=entry.dialect,
            outcome=outcome,
            duration_s=time.perf_counter() - self._trail.began,
        )

    def _count(self, outcome: str) -> None:
        """Count the attempts in the metrics, and log the request."""
        gateway, trail = self._gateway, self._trail
        for attempt in trail.attempts:
            gateway.metrics.attempt_done(
                upstream=attempt.upstream,
                outcome=attempt.outcome,
                usage=attempt.usage,
                cost_ticks=attempt.cost_ticks,
            )
        last = trail.attempts[-1] if trail.attempts else None
        if last is not None and last.first_event:
            gateway.metrics.first_event(
                upstream=last.upstream, seconds=last.first_event - trail.began
            )
        if gateway.limits.logs_requests:
            line = RequestLine(
                request=trail.request_id,
                key=trail.key_id,
                dialect=trail.dialect,
                stream=trail.is_stream,
                model=trail.model_asked[:128],
                served=last.model_served if last else "",
                account=last.account_id if last else "",
                attempts=len(trail.attempts),
                outcome=outcome,
                input_tokens=last.usage.input_tokens if last else 0,
                output_tokens=last.usage.output_tokens if last else 0,
                ms=round((time.perf_counter() - trail.began) * 1000, 2),
            )
            log_request(line)

    async def _finish(self, last_bytes: bytes) -> None:
        """Send what the client still has to get."""
        error = self._error
        if error is not None and error.kind is ErrorKind.CANCELLED:
            return
        if error is not None:
            await self._finish_with(error)
        elif self._trail.is_stream:
            if not self._has_started:
                await self._start(_OK_STATUS, _STREAM_HEADERS)
            if self._flagged:
                note = f": tools called that were not offered: {', '.join(self._flagged)}\n\n"
                last_bytes = note.encode() + last_bytes
            await self._client.send(last_bytes, is_last=True)
        else:
            await self._start(_OK_STATUS, _JSON_HEADERS + _length(last_bytes))
            await self._client.send(last_bytes, is_last=True)

    async def _finish_with(self, error: GroxyError) -> None:
        dialect = self._call.dialect
        if self._has_started:
            has_begun = self._has_begun and self._run is not None
            written = (
                self._run.break_off(error)
                if has_begun and self._run is not None
                else dialect.encode_stream_error(error)
            )
            await self._client.send(written, is_last=True)
            return
        body = dialect.encode_error(error)
        await self._start(error.facts.status, _error_headers(error, self._trail) + _length(body))
        await self._client.send(body, is_last=True)

    async def _start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self._has_started = True
        trailing = [(b"x-groxy-attempts", b"%d" % len(self._trail.attempts))]
        if self._run is not None and self._run.adjusted:
            trailing.append((b"x-groxy-adjusted", ", ".join(self._run.adjusted).encode()))
        if self._flagged:
            trailing.append((b"x-groxy-flagged", ", ".join(self._flagged).encode()))
        await self._client.start(status, headers + trailing)


def _length(body: bytes) -> list[tuple[bytes, bytes]]:
    return [(b"content-length", b"%d" % len(body))]


def _error_headers(error: GroxyError, trail: Trail) -> list[tuple[bytes, bytes]]:
    headers = list(_JSON_HEADERS)
    if error.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % max(round(error.retry_after_s + 0.499), 1)))
    if len(trail.attempts) > 1:
        # Official SDKs retry by themselves; here the gateway has already done so.
        headers.append((b"x-should-retry", b"false"))
    return headers


def _may_try_another(error: GroxyError) -> bool:
    return error.facts.next_step is NextStep.OTHER_ACCOUNT


def _most_telling(failures: list[GroxyError]) -> GroxyError:
    """Return the failure that helps a caller most, when every candidate failed.

    What the caller can mend comes first, then what waiting mends (the shortest wait), then the
    last that happened.
    """
    for kind in (ErrorKind.UNSUPPORTED, ErrorKind.UPSTREAM_LIMITED):
        found = [error for error in failures if error.kind is kind]
        if found:
            return min(found, key=lambda error: error.retry_after_s or 0.0)
    return failures[-1]

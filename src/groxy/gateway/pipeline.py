"""The steps of one request, in the order that the package's docstring numbers them."""

import asyncio
import hashlib
from collections.abc import Coroutine
from dataclasses import dataclass, replace

from groxy.core.errors import ErrorKind, GroxyError
from groxy.dialects._base import Asked
from groxy.gateway.attempt import AttemptRun
from groxy.gateway.attempts import Attempts
from groxy.gateway.marks import binding_field, flagged_tools, own_conversation
from groxy.gateway.means import Call, Means
from groxy.gateway.settling import settle
from groxy.gateway.tab import Tab
from groxy.gateway.vigil import Client, Vigil
from groxy.ledger.trail import Trail
from groxy.routing.router import Wanted
from groxy.store.kept import KeptRow

_OK_STATUS = 200
_JSON_HEADERS = [(b"content-type", b"application/json")]
_STREAM_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
]
_LARGE_BYTES = 64 * 1024
"""A body from which on hashing it is felt; it takes half a millisecond for each megabyte."""
_CUT_NOTE = b": ended here, because what was held for this reply is used up\n\n"


@dataclass(slots=True, kw_only=True)
class Gateway(Means):
    """Answers requests. All parts are handed in; see `app`."""

    def answer(self, call: Call, client: Client) -> Coroutine[None, None, None]:
        """Answer one request, whatever happens, and enter it in the books exactly once."""
        return _Answer(self, call, client).run()


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
        self._tab = Tab(gateway, call.caller, self._trail)
        self._tries: Attempts | None = None
        self._kept: list[KeptRow] = []
        """What is to be kept of the reply, written together with its entry."""
        self._flagged: list[str] = []
        """Tools that were called though nobody offered them."""
        self._sent = hashlib.sha256()
        """Of what the client got, but for what breaks the silence."""
        self._error: GroxyError | None = None
        self._has_started = False
        if call.recording is not None:
            call.recording.stream_error = call.dialect.encode_stream_error

    async def run(self) -> None:
        """Decode, plan, attempt; enter in the books; send the last bytes."""
        last_bytes = b""
        try:
            # Nothing is spent on what could not be entered in the books.
            self._gateway.journal.require_open()
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
            await self._settle(last_bytes)
        await self._finish(last_bytes)
        # Both know this object, the error by its traceback. Such a circle leaves all of a request
        # to the garbage collector, which took a fifth of the CPU time.
        self._tries = self._error = None

    def _decode(self) -> Asked:
        call = self._call
        if len(call.body) < _LARGE_BYTES:
            self._hash_request()
        else:
            # While the upstream is reading it.
            asyncio.get_running_loop().call_soon(self._hash_request)
        asked = call.asked or call.dialect.decode_request(call.body)
        self._trail.model_asked = asked.model
        default = self._gateway.limits.streams_by_default
        self._trail.is_stream = default if asked.stream is None else asked.stream
        return asked

    def _hash_request(self) -> None:
        if self._trail.request_sha256 is None:
            self._trail.request_sha256 = hashlib.sha256(self._call.body).digest()

    async def _reply_to(self, asked: Asked) -> bytes:
        """Return the reply's last bytes; note what of it is to be kept."""
        memory, call = self._gateway.memory, self._call
        owner, home, whole = call.caller.key_id, "", asked
        if asked.continues or asked.keeps:
            whole, home = await memory.recall(call.dialect, asked, owner)
        whole = await self._tab.open_for_text(call.dialect, whole)
        whole.decoded = asked.decoded = None
        last_bytes = await self._attempts(whole, self._wanted(whole, home))
        run = self._run
        if run is None:
            return last_bytes
        self._trail.is_cut = run.is_cut
        if asked.keeps:
            self._kept.append(
                memory.reply_row(
                    call.dialect, asked, run.record, owner=owner, account_id=run.account_id
                )
            )
        if run.tally.sealed and run.tally.call_ids and not run.carries_sealed:
            self._kept.append(memory.thoughts_row(run.tally.sealed, run.tally.call_ids, owner))
        self._flagged = flagged_tools(run.tally.called, asked.tool_names)
        return self._notes() + last_bytes

    def _notes(self) -> bytes:
        """Return what a stream says in comments before its end: its headers had left by then."""
        notes = b""
        if self._trail.is_stream and self._flagged:
            notes += (
                f": tools called that were not offered: {', '.join(self._flagged)}\n\n".encode()
            )
        if self._trail.is_cut:
            notes += _CUT_NOTE
        return notes

    def _wanted(self, asked: Asked, home: str) -> Wanted:
        conversation = self._call.conversation or asked.conversation
        wished = asked.preferences
        if self._call.prefer_tags:
            wished = replace(wished, prefer_tags=self._call.prefer_tags)
        return Wanted(
            model=asked.model,
            carriers=asked.carriers or self._call.dialect.carriers,
            has_tools=bool(asked.tool_names),
            preferences=wished,
            fallbacks=asked.fallbacks,
            conversation=own_conversation(self._call.caller.key_id, conversation),
            bound_by=binding_field(asked) if asked.carriers else "",
            home=home,
        )

    async def _attempts(self, asked: Asked, wanted: Wanted) -> bytes:
        """Ask candidates until one serves; return the reply's last bytes."""
        gateway = self._gateway
        break_silence = self._break_silence if self._trail.is_stream else None
        async with Vigil(self._client, gateway.limits.deadlines, break_silence) as vigil:
            self._vigil = vigil
            attempts = self._tries = Attempts(
                gateway, self._call, self._trail, vigil, self._pass_on, self._tab
            )
            gateway.open_calls.enter(self._trail.key_id, vigil)
            try:
                return await attempts.serve(asked, wanted)
            finally:
                gateway.open_calls.leave(self._trail.key_id, vigil)

    @property
    def _run(self) -> AttemptRun | None:
        """The newest attempt, or the one that serves."""
        return None if self._tries is None else self._tries.run

    async def _pass_on(self, piece: bytes) -> None:
        """Send a piece of a stream to the client."""
        await self._vigil.sending()
        if not self._has_started:
            await self._start(_OK_STATUS, _STREAM_HEADERS)
        self._sent.update(piece)
        await self._client.send(piece, is_last=False)
        self._vigil.sent()

    async def _break_silence(self) -> None:
        """Keep the client's connection alive while the upstream is silent."""
        if not self._has_started:
            await self._start(_OK_STATUS, _STREAM_HEADERS)
        await self._client.send(self._call.dialect.keepalive, is_last=False)

    async def _settle(self, last_bytes: bytes) -> None:
        """Enter the request in the books, and count it."""
        self._hash_request()
        if self._run is not None:
            self._trail.reply_id = self._run.tally.reply_id
            self._trail.finish_reason = self._run.tally.finish_reason
        if self._error is None:
            self._sent.update(last_bytes)
            self._trail.reply_sha256 = self._sent.digest()
        self._error = await settle(
            self._gateway,
            self._tab,
            self._error,
            kept=self._kept,
            is_empty=self._is_empty,
            recording=self._call.recording,
        )

    @property
    def _is_empty(self) -> bool:
        """True for a reply that has nothing in it: it costs its caller nothing.

        Who did not wait for it owes what the upstream had read by then; else it could be made to
        read, at the operator's expense, as much and as often as anybody likes.
        """
        if self._error is not None:
            return False
        run, last = self._run, self._trail.last
        if run is None or last is None:
            return True
        has_nothing = last.usage.output_tokens == 0 and not any(run.tally.output)
        return has_nothing and self._tab.expects_output

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
            await self._client.send(last_bytes, is_last=True)
        else:
            await self._start(_OK_STATUS, _JSON_HEADERS + _length(last_bytes))
            await self._client.send(last_bytes, is_last=True)

    async def _finish_with(self, error: GroxyError) -> None:
        dialect = self._call.dialect
        if self._has_started:
            tries = self._tries
            run = tries.run if tries is not None and tries.has_begun else None
            written = dialect.encode_stream_error(error) if run is None else run.break_off(error)
            await self._client.send(written, is_last=True)
            return
        body = dialect.encode_error(error)
        headers = _error_headers(error, self._trail) + _length(body)
        await self._start(error.facts.status, headers)
        await self._client.send(body, is_last=True)

    async def _start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self._has_started = True
        trailing = [(b"x-groxy-attempts", b"%d" % len(self._trail.attempts))]
        adjusted = [*self._tab.adjusted, *(self._run.adjusted if self._run is not None else ())]
        if adjusted:
            trailing.append((b"x-groxy-adjusted", ", ".join(adjusted).encode()))
        if self._flagged:
            trailing.append((b"x-groxy-flagged", ", ".join(self._flagged).encode()))
        await self._client.start(status, headers + trailing + self._tab.headers)


def _length(body: bytes) -> list[tuple[bytes, bytes]]:
    return [(b"content-length", b"%d" % len(body))]


def _error_headers(error: GroxyError, trail: Trail) -> list[tuple[bytes, bytes]]:
    headers = list(_JSON_HEADERS)
    headers += error.headers
    if error.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % max(round(error.retry_after_s + 0.499), 1)))
    if len(trail.attempts) > 1:
        # Official SDKs retry by themselves; here the gateway has already done so.
        headers.append((b"x-should-retry", b"false"))
    return headers

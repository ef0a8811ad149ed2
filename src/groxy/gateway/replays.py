"""Replays: a request that is sent again with its idempotency key gets the reply of the first one.

In: a key's name, and what runs the request. Out: a recording to follow. Of all requests with one
name, in all processes, one runs at a time; the others follow it, or get what is stored of it. The
reply is stored in the transaction that enters the request in the books: whatever dies, there are
both or neither. What is in no books and must not happen twice is announced in the store before it
begins; when its end is not known, it is not begun again.

Stored are replies that went well, and errors that the same body would meet again. All other errors
let go of the key.
"""

import asyncio
import hashlib
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import msgspec

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.ids import new_id
from groxy.gateway.recording import MAX_BYTES, Recording, too_large
from groxy.observe.logs import Logger, get_logger
from groxy.state._base import SharedState
from groxy.store.kept import PENDING, Kept, KeptRow, KeptStore

KIND = "replay"
_DONE, _TOO_LARGE = "done", "too_large"
_HOUR_MS = 3_600_000
_LEASE_S = 10.0
_RENEW_EVERY_S = 3.0
_LOOK_EVERY_S = 0.1
_LASTING = frozenset(
    {
        ErrorKind.BAD_REQUEST,
        ErrorKind.BAD_JSON,
        ErrorKind.UNSUPPORTED,
        ErrorKind.TOO_LARGE,
        ErrorKind.CONTEXT_TOO_LONG,
        ErrorKind.REFUSED,
    }
)
"""What the body itself is the reason of. FORBIDDEN, NOT_FOUND and unknown models are not among
them: the operator or the caller can change that, and then the same body is answered."""

Run = Callable[[Recording], Coroutine[Any, Any, None]]
"""Runs a request, into a recording; what it raises was not sent."""


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def name_of(owner: str, path: str, key: str) -> str:
    """Return the name of an idempotency key: one for each owner, path and key."""
    seed = f"{owner}\0{path}\0{key}".encode()
    return "replay_" + hashlib.sha256(seed).hexdigest()[:56]


class _Head(msgspec.Struct, frozen=True, array_like=True):
    """What is stored of a reply beside its body."""

    fingerprint: str
    request_id: str
    status: int
    headers: list[tuple[str, str]]


_head_encoder, _head_decoder = msgspec.json.Encoder(), msgspec.json.Decoder(_Head)


@dataclass(slots=True, kw_only=True)
class Replays:
    """All idempotency keys in use in one process, and what is stored of those before."""

    kept: KeptStore
    state: SharedState
    spawn: Callable[[Coroutine[Any, Any, None]], None]
    """Runs a coroutine until the gateway stops, which waits for it."""
    hours: Callable[[], int]
    """For how long a reply is kept."""
    wait_s: Callable[[], float]
    """For how long one waits for the same request in another process."""
    clock_ms: Callable[[], int] = _now_ms
    max_bytes: int = MAX_BYTES
    lease_s: float = _LEASE_S
    renew_every_s: float = _RENEW_EVERY_S
    look_every_s: float = _LOOK_EVERY_S
    log: Logger = field(default_factory=lambda: get_logger("replays"))
    _open: dict[str, Recording] = field(default_factory=dict)
    _leases: dict[str, str] = field(default_factory=dict)
    """Who holds the lease of a name: each recording is a holder of its own."""
    _timer: asyncio.TimerHandle | None = None

    def open(self, opened: Recording, run: Run, *, is_in_books: bool) -> Recording:
        """Return the recording of `opened`'s name that is under way; `opened`, which then begins.

        Without `is_in_books` the request is announced in the store before it runs.
        """
        recording = self._open.get(opened.name)
        if recording is not None:
            return recording
        self._open[opened.name] = opened
        self.spawn(self._lead(opened, run, is_in_books=is_in_books))
        return opened

    @property
    def count(self) -> int:
        """How many are under way here."""
        return len(self._open)

    async def _lead(self, recording: Recording, run: Run, *, is_in_books: bool) -> None:
        """Bring about the reply to one name, whatever happens."""
        try:
            if await self._is_ours(recording):
                await self._record(recording, run, is_in_books=is_in_books)
        except GroxyError as error:
            recording.fail(error)
        except asyncio.CancelledError:  # the gateway stops
            recording.fail(_stopped())
        except Exception as error:  # a defect of ours must not leave followers waiting
            self.log.exception("replay crashed", request=recording.request_id)
            message = "The gateway made a mistake. Quote the request id when you report it."
            recording.fail(GroxyError(ErrorKind.INTERNAL, message, detail=repr(error)))
        finally:
            if not recording.is_spooled:
                await self._let_go(recording)

    # -------------------------------------------------------------------------------- whose turn

    async def _is_ours(self, recording: Recording) -> bool:
        """Return True when it is for us to run the request; False when its reply was stored.

        Waits while another process runs it. Raises STORE_DOWN while that cannot be known.
        """
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + self.wait_s()
        name, holder = recording.name, new_id("rec_")
        while not await self.state.take_lease(name, holder, ttl_s=self.lease_s):
            if await self._found(recording, is_alone=False):
                return False
            if loop.time() >= ends_at:
                raise _still_running()
            await asyncio.sleep(self.look_every_s)
        self._leases[name] = holder
        self._arm()
        # Whoever had it before stored its reply before it let go.
        return not await self._found(recording, is_alone=True)

    async def _found(self, recording: Recording, *, is_alone: bool) -> bool:
        """Load what is stored into a recording; False when there is nothing yet."""
        kept = await self.kept.get(recording.name, recording.owner, KIND)
        if kept is None or (kept.state == PENDING and not is_alone):
            return False
        head, _, body = kept.content.partition(b"\n")
        stored = _head_decoder.decode(head)
        recording.request_id = stored.request_id
        recording.fingerprint = bytes.fromhex(stored.fingerprint)
        if kept.state == PENDING:
            recording.fail(_unknown_end())
        elif kept.state == _TOO_LARGE:
            recording.fail(too_large())
        else:
            headers = [(name.encode(), value.encode("latin-1")) for name, value in stored.headers]
            recording.load(stored.status, headers, body)
        return True

    async def _let_go(self, recording: Recording) -> None:
        """Give the name back: the next request with it finds what is stored, or runs."""
        name = recording.name
        self._open.pop(name, None)
        holder = self._leases.pop(name, None)
        if holder is not None:
            with suppress(GroxyError):  # Then it ends by itself, soon.
                await self.state.drop_lease(name, holder)

    # ------------------------------------------------------------------------------------ the run

    async def _record(self, recording: Recording, run: Run, *, is_in_books: bool) -> None:
        if not is_in_books:
            await self.kept.keep([self._row(recording, PENDING)])
        recording.decide()
        failure = _stopped()
        try:
            await run(recording)
        except GroxyError as error:
            failure = error
        except asyncio.CancelledError:
            pass  # What it sent until then is entered all the same.
        await self._conclude(recording, is_in_books=is_in_books)
        if not recording.is_complete:
            recording.fail(failure)
        recording.end()

    async def _conclude(self, recording: Recording, *, is_in_books: bool) -> None:
        """Store a reply, together with its request's entry if it has one."""
        recording.is_overtaken = not await self._holds(recording.name)
        state = "" if recording.is_overtaken else _state_of(recording)
        rows = [self._row(recording, state)] if state else []
        is_entered = recording.enter is not None
        if recording.enter is not None:
            error = await recording.enter(rows)
            if error is not None:
                recording.fail(error)
                return
        if recording.is_overtaken or (is_entered and rows):
            return
        try:
            # If that fails a key that was announced stays taken: better than to do it twice.
            await self._store(recording, rows, is_announced=not is_in_books)
        except GroxyError as error:
            self.log.error("reply not kept", request=recording.request_id, detail=error.detail)

    async def _holds(self, name: str) -> bool:
        """Return whether it is still for us to run a request.

        The shared state may have forgotten that, or this process may have stood still for so long
        that another one took over. While the state is away nobody can take over.
        """
        try:
            return await self.state.take_lease(name, self._leases[name], ttl_s=self.lease_s)
        except GroxyError:
            return True

    async def _store(
        self, recording: Recording, rows: Sequence[KeptRow], *, is_announced: bool
    ) -> None:
        """Store a reply that is in no books."""
        name, owner = recording.name, recording.owner
        if not is_announced:
            if rows:
                await self.kept.keep(rows)
        elif rows:
            state = _state_of(recording)
            await self.kept.replace(name, owner, state, self._content(recording, state))
        else:
            await self.kept.delete(name, owner, KIND)

    def _content(self, recording: Recording, state: str) -> bytes:
        is_done = state == _DONE
        headers = recording.headers if is_done else []
        head = _Head(
            fingerprint=recording.fingerprint.hex(),
            request_id=recording.request_id,
            status=recording.status,
            headers=[(name.decode(), value.decode("latin-1")) for name, value in headers],
        )
        return _head_encoder.encode(head) + b"\n" + (recording.body if is_done else b"")

    def _row(self, recording: Recording, state: str) -> KeptRow:
        now = self.clock_ms()
        return self.kept.row(
            Kept(
                id=recording.name,
                kind=KIND,
                owner=recording.owner,
                parent=None,
                account_id="",
                state=state,
                created_ms=now,
                expires_ms=now + self.hours() * _HOUR_MS,
                content=self._content(recording, state),
            )
        )

    # ------------------------------------------------------------------------------ while it runs

    def _arm(self) -> None:
        if self._timer is None and self._leases:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self.renew_every_s, self._renew_soon)

    def _renew_soon(self) -> None:
        self._timer = None
        if self._leases:
            self.spawn(self._renew())

    async def _renew(self) -> None:
        """Say that the requests under way here still are, and forget those that are stored."""
        try:
            for name, holder in list(self._leases.items()):
                recording = self._open.get(name)
                if recording is not None and recording.is_over and recording.is_spooled:
                    await self._forget_stored(recording)
                with suppress(GroxyError):
                    await self._renew_one(name, holder)
        finally:
            self._arm()

    async def _renew_one(self, name: str, holder: str) -> None:
        if self._leases.get(name) != holder:
            return
        await self.state.take_lease(name, holder, ttl_s=self.lease_s)
        if self._leases.get(name) != holder:  # It ended meanwhile.
            await self.state.drop_lease(name, holder)

    async def _forget_stored(self, recording: Recording) -> None:
        """Let go of a reply that was spooled, once the database has it."""
        with suppress(GroxyError):
            if await self.kept.get(recording.name, recording.owner, KIND) is not None:
                await self._let_go(recording)


def _state_of(recording: Recording) -> str:
    """Return as what a reply is stored; empty for one that lets go of its key."""
    is_lasting = recording.reason is None or recording.reason in _LASTING
    if not recording.is_complete or not is_lasting:
        return ""
    return _TOO_LARGE if recording.is_too_large else _DONE


def _stopped() -> GroxyError:
    message = "The gateway was stopped before the reply was complete. Try again."
    return GroxyError(ErrorKind.INTERNAL, message)


def _still_running() -> GroxyError:
    message = (
        "The request with this `idempotency-key` is still being answered. Send it again later."
    )
    return GroxyError(
        ErrorKind.CONFLICT,
        message,
        param="idempotency-key",
        code="idempotency_in_progress",
        retry_after_s=5,
    )


def _unknown_end() -> GroxyError:
    message = (
        "The gateway was stopped while it did what this `idempotency-key` asked for. It may be "
        "done; see whether it is, and send another key if it is not."
    )
    return GroxyError(
        ErrorKind.CONFLICT, message, param="idempotency-key", code="idempotency_outcome_unknown"
    )

"""The gate of a gateway that is many processes, exact over all of them: Redis 6.2, or Valkey.

In and out: see `state.gates`. All operations of a process go through one ordered channel: while a
call is under way the next ones gather, then go together. So a claim costs a shared round trip.

A call that failed may have run, may run later, or never. So the process keeps its own truth, what
it holds, and after a failure it begins a new incarnation: it says anew what it holds, and whatever
the server has or gets of the former one counts no more. What the server does with that is in
`_gate_script`. It must have room for its keys: one that evicts some forgets holds.
"""

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from groxy.core.errors import ErrorKind, GroxyError
from groxy.state._gate_script import GATE
from groxy.state._redis_server import RedisServer
from groxy.state.gate_memory import amount_of, clamped, given_of, piece_ms_of
from groxy.state.gates import MAX_TICKS, PIECES, Answer, Claim, Draw, Return, Room, Verdict

ALIVE_S = 10.0
"""How long a process lives without a call."""
_RENEW_AFTER_S = 1.0
_MAX_OPERATIONS = 256
"""In one call: bounds for how long the server does nothing else."""
_TRIES = 3
_MAX_UNHEARD = 100_000
"""Fills to be told again after a failure. Beyond these the next claim may read the books."""

_Words = tuple[Any, ...]
"""An operation as the script reads it."""
_encoder = msgspec.msgpack.Encoder()
_replies = msgspec.msgpack.Decoder(list[Any])
_ANSWERS = {answer.value: answer for answer in Answer}


class _Operation(msgspec.Struct, eq=False):
    """What somebody asked of the gate."""

    words: _Words
    answered: "asyncio.Future[Any]"
    is_optional: bool = False
    """True when nobody needs it if the one who asked has left."""
    gives: Return | None = None
    """What the process holds no more after it, whether anybody heard of it or not."""
    gets: Callable[[Any], Return | None] | None = None
    """Reads of the reply what the process holds then: as what gives it back."""
    is_silent: bool = False
    """True when nobody waits for the answer."""


class _Own:
    """What this process holds, and what it told in vain."""

    def __init__(self) -> None:
        self.places: dict[str, int] = {}
        self.ticks: dict[str, int] = {}
        self.unheard: dict[str, tuple[int, int]] = {}

    def get(self, back: Return) -> None:
        """Hold what `back` would give back."""
        for scope in back.scopes:
            if scope.concurrency:
                self.places[scope.name] = self.places.get(scope.name, 0) + 1
        for draw in back.draws:
            if back.held_ticks:
                self.ticks[draw.purse] = self.ticks.get(draw.purse, 0) + back.held_ticks

    def give(self, back: Return) -> None:
        """Hold no more what `back` gives back."""
        for scope in back.scopes:
            if scope.concurrency:
                _lower(self.places, scope.name, 1)
        for draw in back.draws:
            _lower(self.ticks, draw.purse, given_of(back))

    def keep_unheard(self, filled: Mapping[str, tuple[int, int]]) -> None:
        """Remember fills that the server may not have heard."""
        for purse, (ticks, seq) in filled.items():
            known = self.unheard.pop(purse, None)
            newest = (ticks, seq) if known is None or seq > known[1] else known
            self.unheard[purse] = newest
        while len(self.unheard) > _MAX_UNHEARD:
            del self.unheard[next(iter(self.unheard))]

    def words(self) -> _Words:
        """Return all of it, as the script reads it."""
        return (list(self.places.items()), list(self.ticks.items()), _fills(self.unheard))


class RedisGate:
    """See `state.gates.Gate`. `clock` takes the place of the server's own, for tests."""

    is_far = True

    def __init__(
        self,
        server: RedisServer,
        process: str,
        *,
        window_s: float = 60.0,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._server = server
        # A process that was started again under its name is another one.
        self._me = f"{process}#{secrets.token_hex(8)}"
        self._piece_ms = piece_ms_of(window_s)
        self._clock = clock
        self._own = _Own()
        self._incarnation = 0
        self._number = 0
        self._is_known = False
        """The server has of this process what the process holds, as far as anybody knows."""
        self._renewed_at = 0.0
        self._waiting: list[_Operation] = []
        self._sender: asyncio.Task[None] | None = None

    async def claim(self, claim: Claim) -> Verdict:
        """Grant all of a claim, or refuse it and change nothing."""
        scopes = [
            (one.name, _bound(one.requests), _bound(one.tokens), _bound(one.concurrency))
            for one in claim.scopes
        ]
        tokens, ticks = amount_of(claim.tokens), amount_of(claim.ticks)
        draws = [(draw.purse, clamped(draw.floor)) for draw in claim.draws]
        words = ("claim", scopes, tokens, draws, ticks, max(-1, min(claim.least_ticks, MAX_TICKS)))

        def gets(reply: Any) -> Return | None:  # noqa: ANN401 - of the script
            if reply[0] != Answer.GRANTED.value:
                return None
            return Return(
                scopes=claim.scopes,
                tokens=-tokens,
                piece=reply[8],
                draws=claim.draws,
                held_ticks=reply[1],
            )

        return _verdict_of(await self._ask(words, is_optional=True, gets=gets))

    async def extend(self, draws: Sequence[Draw], ticks: int) -> bool:
        """Hold so much more in each of the purses, or nothing."""
        ticks = amount_of(ticks)
        words = ("extend", [(draw.purse, clamped(draw.floor)) for draw in draws], ticks)
        more = Return(draws=tuple(draws), held_ticks=ticks)
        is_held: bool = await self._ask(
            words, is_optional=True, gets=lambda reply: more if reply else None
        )
        return is_held

    async def give_back(self, back: Return) -> None:
        """Give a claim back; whoever is cancelled here has given it back all the same."""
        await self._ask(_words_of(back), gives=back)

    async def fill(
        self, purses: Mapping[str, tuple[int, int]], *, only_known: bool = False
    ) -> None:
        """Say what the books have in some purses: ticks and seq."""
        await self._ask(("fill", _fills(purses), only_known))

    async def available(self, purse: str) -> tuple[int, int] | None:
        """Return what a purse has and what is held of it; None for an unknown one."""
        reply = await self._ask(("available", purse), is_optional=True)
        return (reply[0], reply[1]) if reply else None

    async def heartbeat(self) -> None:
        """Say that this process lives, where nothing else said so lately."""
        age_s = time.monotonic() - self._renewed_at
        if not self._is_known or age_s >= _RENEW_AFTER_S:
            await self._ask(("beat",), is_optional=True)

    async def leave(self) -> None:
        """Give back all that this process holds; it must claim nothing after that."""
        await self._ask(("leave",))
        self._own = _Own()
        self._is_known = False

    async def close(self) -> None:
        """Close the connections; `leave` comes first."""
        await self._server.close()

    # ------------------------------------------------------------------------------- the channel

    async def _ask(
        self,
        words: _Words,
        *,
        is_optional: bool = False,
        gives: Return | None = None,
        gets: Callable[[Any], Return | None] | None = None,
    ) -> Any:  # noqa: ANN401 - each operation has a reply of its own
        answered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        operation = _Operation(words, answered, is_optional, gives, gets)
        self._put(operation)
        try:
            return await answered
        except asyncio.CancelledError:
            # Whoever asked leaves in the moment in which it was answered.
            if answered.done() and not answered.cancelled() and answered.exception() is None:
                self._undo(operation, answered.result())
            raise

    def _put(self, operation: _Operation) -> None:
        self._waiting.append(operation)
        if self._sender is None:
            # Held here, and every operation in it is answered however it ends.
            self._sender = asyncio.get_running_loop().create_task(self._send_all())
            self._sender.add_done_callback(self._end_sender)

    def _end_sender(self, sender: "asyncio.Task[None]") -> None:
        """Answer those whom a sender left that was stopped, maybe before it began."""
        if sender.cancelled() and self._sender is sender:
            self._sender = None
            self._fail_waiting()

    def _fail_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        self._fail(waiting, _down("the sender was stopped"))

    async def _send_all(self) -> None:
        try:
            while self._waiting:
                batch = self._waiting[:_MAX_OPERATIONS]
                del self._waiting[:_MAX_OPERATIONS]
                batch = [one for one in batch if not (one.is_optional and one.answered.done())]
                if batch:
                    await self._send(batch)
        finally:
            self._sender = None
            self._fail_waiting()  # none, unless this task itself was stopped

    async def _send(self, batch: Sequence[_Operation]) -> None:
        error = _down("the sender was stopped")
        replies: list[Any] | None = None
        try:
            replies = await self._call([operation.words for operation in batch])
        except GroxyError as failure:
            error = failure
        finally:
            if replies is None:
                self._is_known = False
                self._fail(batch, error)
        for operation, reply in zip(batch, replies or (), strict=False):
            self._end(operation, reply)

    async def _call(self, words: Sequence[_Words]) -> list[Any]:
        """Return the replies to operations; first say what is held, if the server may not know."""
        for _ in range(_TRIES):
            is_new = not self._is_known
            if is_new:
                self._incarnation += 1
                self._number = 0
            self._number += 1
            now_ms = int(self._clock() * 1000) if self._clock else 0
            call = (
                *(self._me, self._incarnation, self._number, is_new and self._own.words()),
                *(PIECES, self._piece_ms, int(ALIVE_S * 1000), now_ms, words),
            )
            began_at = time.monotonic()
            packed = await self._server.run(GATE, (), _encoder.encode(call))
            self._is_known = packed != 0
            if packed != 0:
                self._renewed_at = began_at
                if is_new:
                    self._own.unheard.clear()
                return _replies.decode(packed)
        raise _down("the server does not know this process, however often it is told")

    def _end(self, operation: _Operation, reply: Any) -> None:  # noqa: ANN401 - as in `_ask`
        if operation.gives is not None:
            self._own.give(operation.gives)
        got = operation.gets(reply) if operation.gets else None
        if got is not None:
            self._own.get(got)
        if not operation.answered.done():
            operation.answered.set_result(reply)
        elif got is not None:
            self._undo(operation, reply)

    def _fail(self, batch: Sequence[_Operation], error: GroxyError) -> None:
        for operation in batch:
            if operation.gives is not None:
                self._own.give(operation.gives)
                self._own.keep_unheard(operation.gives.filled)
            if not operation.answered.done() and not operation.is_silent:
                operation.answered.set_exception(_copy(error))

    def _undo(self, operation: _Operation, reply: Any) -> None:  # noqa: ANN401 - as in `_ask`
        """Give back what was granted to somebody who had left."""
        got = operation.gets(reply) if operation.gets else None
        if got is not None:
            answered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            self._put(_Operation(_words_of(got), answered, gives=got, is_silent=True))


def _words_of(back: Return) -> _Words:
    scopes = [
        (one.name, _bound(one.requests), _bound(one.tokens), _bound(one.concurrency))
        for one in back.scopes
    ]
    draws = [(draw.purse, clamped(draw.floor)) for draw in back.draws]
    tokens = clamped(back.tokens)
    return ("give back", scopes, tokens, draws, given_of(back), _fills(back.filled), back.piece)


def _fills(purses: Mapping[str, tuple[int, int]]) -> list[_Words]:
    return [(purse, clamped(ticks), seq) for purse, (ticks, seq) in purses.items()]


def _bound(limit: int) -> int:
    """A limit as the script computes it."""
    return min(limit, MAX_TICKS)


def _verdict_of(reply: Sequence[Any]) -> Verdict:
    answer, held, refused_by, unknown, wait_ms, available, requests, tokens, piece = reply
    return Verdict(
        answer=_ANSWERS[answer],
        held_ticks=held,
        refused_by=refused_by,
        unknown=tuple(unknown),
        retry_after_s=wait_ms / 1000,
        available=available,
        requests=_room_of(requests),
        tokens=_room_of(tokens),
        piece=piece,
    )


def _room_of(reply: Sequence[int] | None) -> Room | None:
    if not reply:
        return None
    limit, remaining, reset_ms = reply
    return Room(limit=limit, remaining=remaining, reset_s=reset_ms / 1000)


def _lower(amounts: dict[str, int], name: str, by: int) -> None:
    left = amounts.get(name, 0) - by
    if left > 0:
        amounts[name] = left
    else:
        amounts.pop(name, None)


def _down(detail: str) -> GroxyError:
    message = "The shared state is not available right now. Try again."
    return GroxyError(ErrorKind.STORE_DOWN, message, detail=detail, retry_after_s=1)


def _copy(error: GroxyError) -> GroxyError:
    """Each waiter raises its own: one exception object shared by tasks mixes their tracebacks."""
    return _down(error.detail)

"""Traffic: many callers at once, and a judge of what they got.

Each request says something else, and the upstream says it again, so that an answer that belongs to
another prompt, is cut short or is made up is known for wrong.
"""

import asyncio
import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import count
from types import TracebackType
from typing import Self

import aiohttp

from tests.e2e.running import Caller, Gateway, Reply, calling
from tests.e2e.scripted import Behaviour, Call, Wire, chunks_of, drops, good

_PREFIX = "You said: "
PROPER = frozenset({429, 502, 503, 504})
"""Statuses that a caller may get who did nothing wrong, from a gateway that does not either."""


def said(text: str) -> tuple[str, ...]:
    """Return what an upstream says to a prompt, in the pieces of a stream."""
    return (_PREFIX, *(f"{word} " for word in text.split()))


def expected(text: str) -> str:
    """Return the whole answer to a prompt."""
    return "".join(said(text))


def echoes() -> Behaviour:
    """Answer with what was said."""

    async def behave(call: Call, wire: Wire) -> None:
        await good(said(call.json["messages"][-1]["content"]))(call, wire)

    return behave


def echoes_and_breaks(events: int, *, garbage: bytes = b"") -> Behaviour:
    """Begin to answer; after so many events drop the connection, or send something else and end."""

    async def behave(call: Call, wire: Wire) -> None:
        if not call.streams:
            await (wire.whole(200, garbage) if garbage else drops(call, wire))
            return
        await wire.begin_stream()
        for event in chunks_of(said(call.json["messages"][-1]["content"]))[:events]:
            await wire.event(event)
        if not garbage:
            await asyncio.sleep(0.01)
            wire.cut()
            return
        await wire.event(garbage)
        await wire.end_stream()

    return behave


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a caller got."""

    text: str
    """What was asked."""
    is_stream: bool
    reply: Reply | None
    """None when the gateway could not be reached, or broke the connection."""
    began: float
    took_s: float

    @property
    def is_right(self) -> bool:
        """True for a complete answer to this very prompt."""
        reply = self.reply
        if reply is None or reply.status != 200 or (self.is_stream and not reply.ends_well):
            return False
        return reply.text == expected(self.text)

    @property
    def fault(self) -> str:
        """What is wrong with the answer; empty for a right one and for a proper error."""
        reply = self.reply
        if reply is None:
            return "no answer"
        if self.is_right:
            return ""
        if reply.status == 200:
            return self._fault_of_stream(reply)
        if reply.status not in PROPER:
            return f"status {reply.status}: {reply.body[:200]!r}"
        if reply.error["status"] != reply.status:
            return "the envelope says another status"
        if reply.status in (429, 503) and "retry-after" not in reply.headers:
            return f"{reply.status} without Retry-After: {reply.body[:200]!r}"
        return ""

    def _fault_of_stream(self, reply: Reply) -> str:
        if not reply.error_in_stream:
            return f"a wrong answer: {reply.body[:300]!r}"
        if reply.error["status"] not in PROPER:
            return f"an error that is none: {reply.error}"
        return "" if expected(self.text).startswith(reply.text) else "a wrong beginning"


@dataclass(kw_only=True)
class Traffic:
    """Asks gateways at a constant rate, from a thread of its own; a context manager."""

    gateways: Sequence[Gateway]
    models: Sequence[str]
    rate: float = 30.0
    """Requests a second, all gateways together."""
    most_open: int = 64
    talks: int = 0
    """Conversations that all requests belong to; 0: each is one of its own."""
    seed: int = 1
    answers: list[Answer] = field(default_factory=list)
    _numbers: "count[int]" = field(default_factory=lambda: count(1))
    _ending: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None
    _crash: BaseException | None = None

    def __enter__(self) -> Self:
        """Begin."""
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Ask no more, and wait for every answer."""
        self._ending.set()
        assert self._thread is not None
        self._thread.join(50)
        assert not self._thread.is_alive(), "some requests were never answered"
        if self._crash is not None and error is None:
            raise self._crash

    # --------------------------------------------------------------------------------- the judge

    @property
    def faults(self) -> list[str]:
        """All that is wrong with what was answered so far."""
        return [f"{one.text}: {one.fault}" for one in tuple(self.answers) if one.fault]

    @property
    def statuses(self) -> Counter[int]:
        """How often each status was answered; 0 for none, 1 for an error in a stream."""
        return Counter(_status(one) for one in tuple(self.answers))

    def since(self, moment: float) -> list[Answer]:
        """Return answers to requests that began later, by the monotonic clock."""
        return [one for one in tuple(self.answers) if one.began >= moment]

    # ------------------------------------------------------------------------------- the callers

    def _run(self) -> None:
        try:
            asyncio.run(self._ask_all())
        except BaseException as error:  # noqa: BLE001 - raised again where the test sees it
            self._crash = error

    async def _ask_all(self) -> None:
        draw = random.Random(self.seed)
        open_requests: set[asyncio.Task[None]] = set()
        async with AsyncExitStack() as stack:
            callers = [await stack.enter_async_context(calling(one)) for one in self.gateways]
            began = time.monotonic()
            for number in count(1):
                due = began + number / self.rate
                await asyncio.sleep(max(due - time.monotonic(), 0))
                if self._ending.is_set():
                    break
                if len(open_requests) >= self.most_open:
                    continue
                caller = callers[number % len(callers)]
                model = self.models[number % len(self.models)]
                is_stream = draw.random() < 0.5
                task = asyncio.create_task(self._ask(caller, model, is_stream=is_stream))
                open_requests.add(task)
                task.add_done_callback(open_requests.discard)
            await asyncio.gather(*open_requests)

    async def _ask(self, caller: Caller, model: str, *, is_stream: bool) -> None:
        number = next(self._numbers)
        text = f"{model} question {number} of {number * 7919}"
        talk = {"prompt_cache_key": f"talk-{number % self.talks}"} if self.talks else {}
        began = time.monotonic()
        reply: Reply | None = None
        try:
            reply = await caller.ask(text, model=model, stream=is_stream, **talk)
        except (aiohttp.ClientError, OSError, TimeoutError):
            reply = None
        self.answers.append(
            Answer(
                text=text,
                is_stream=is_stream,
                reply=reply,
                began=began,
                took_s=time.monotonic() - began,
            )
        )


def _status(answer: Answer) -> int:
    if answer.reply is None:
        return 0
    return 1 if answer.reply.status == 200 and not answer.is_right else answer.reply.status

"""Jobs: work on many accounts that goes on after its request was answered.

In: work, as a coroutine that is handed a `Progress`. Out: a document of each job in the shared
state, so that any process can show it, follow it and have it cancelled. It must not know what the
work is. What is lost with its process is gone after a minute: nobody waits for it for ever.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from math import inf
from typing import Any

import msgspec

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.ids import new_id
from groxy.observe.logs import get_logger
from groxy.state._base import SharedState

KEPT_S = 300.0
"""How long a job can be looked at after its end."""
_RUNNING_TTL_S = 60.0
_WRITE_EVERY_S = 0.2
_BEAT_S = 10.0
"""How often the document is written although nothing happened."""
_LOOK_EVERY_S = 0.2
_PING_EVERY_S = 15.0
_MOST_STEPS = 200
"""Steps that are shown one by one; of more between two looks the newest ones are."""
_LAST_TRIES = 5
_PATIENCE_S = 20.0
"""How long the shared state may be out of reach before those who follow are told."""
_GONE = "The process that ran the task is gone. Start it again."

_NO_RESULT = msgspec.Raw(b"null")
_PIECE_BYTES = 64 * 1024
"""Of a long event, before others have their turn."""

Spawn = Callable[[Coroutine[Any, Any, None]], None]
Result = dict[str, Any]


class Step(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What became of one item."""

    number: int
    item: str
    processed: int
    ok: int
    fail: int
    detail: object = None
    error: str = ""


class Document(msgspec.Struct, kw_only=True):
    """A job, as it is kept."""

    task_id: str
    kind: str
    total: int
    status: str = "running"
    """`running`, `done`, `error` or `cancelled`."""
    processed: int = 0
    ok: int = 0
    fail: int = 0
    warning: str = ""
    error: str = ""
    steps: list[Step] = msgspec.field(default_factory=list)
    result: msgspec.Raw = _NO_RESULT
    """As it was encoded once: that of 100,000 accounts is 10 MB, which nobody here looks into."""


class _Look:
    """What those in this process who follow a job saw of it last; it is read once for all."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.followers = 0
        self.at = -inf
        self.document: Document | None = None
        self.error: GroxyError | None = None
        self.news: dict[int, bytes] = {}
        """The events of what happened since so many items were done."""
        self.end = b""
        """The last event, once the job has ended."""

    def news_since(self, document: Document, seen: int) -> bytes:
        """Return the events of what happened since `seen` items were done."""
        if seen not in self.news:
            self.news[seen] = b"".join(map(_event, _progress(document, seen)))
        return self.news[seen]


_decoder = msgspec.json.Decoder(Document)
Work = Callable[["Progress"], Awaitable[Result]]


class Progress:
    """How far work has come; also of work that no job does."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.is_cancelled = False
        self.steps: deque[Step] = deque(maxlen=_MOST_STEPS)
        self.changed = asyncio.Event()

    def cancelled(self) -> bool:
        """True when somebody wants the work to stop."""
        return self.is_cancelled

    async def step(self, item: str, *, detail: object = None, error: str = "") -> None:
        """Note that one item is done, well or with an error."""
        document = self.document
        document.processed += 1
        if error:
            document.fail += 1
        else:
            document.ok += 1
        self.steps.append(
            Step(
                number=document.processed,
                item=item,
                processed=document.processed,
                ok=document.ok,
                fail=document.fail,
                detail=detail,
                error=error,
            )
        )
        self.changed.set()

    def advance(self, count: int, *, fail: int = 0) -> None:
        """Note that so many items are done, of which so many did not go well."""
        self.document.processed += count
        self.document.ok += count - fail
        self.document.fail += fail
        self.changed.set()


def alone(total: int) -> Progress:
    """Return the progress of work that is waited for."""
    return Progress(Document(task_id="", kind="", total=total))


class Jobs:
    """Starts jobs, and tells of those of all processes."""

    def __init__(self, state: SharedState, spawn: Spawn) -> None:
        self._state = state
        self._spawn = spawn
        self._looks: dict[str, _Look] = {}
        self._log = get_logger("admin")

    async def start(self, kind: str, total: int, work: Work, warning: str = "") -> str:
        """Start work; return the id of its job. Raises STORE_DOWN when it could not be followed."""
        document = Document(task_id=new_id("job_"), kind=kind, total=total, warning=warning)
        await self._put(document, _RUNNING_TTL_S)
        self._spawn(self._run(Progress(document), work))
        return document.task_id

    async def find(self, task_id: str) -> Document:
        """Return a job; raise NOT_FOUND `task_not_found` when there is none, or none any more."""
        kept = await self._state.get_job(task_id)
        if kept is None:
            raise _lost()
        return _decoder.decode(kept)

    async def cancel(self, task_id: str) -> None:
        """Ask a job to stop, wherever it runs. What is under way is finished."""
        await self.find(task_id)
        await self._state.cancel_job(task_id, ttl_s=KEPT_S)

    # ----------------------------------------------------------------------------------- running

    async def _run(self, progress: Progress, work: Work) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                teller = tasks.create_task(self._tell(progress))
                await self._work(progress, work)
                teller.cancel()
        finally:
            document = progress.document
            is_stopped = document.status == "running"
            if is_stopped:
                document.status = "error"
                document.error = "The gateway stopped before the task had ended. Start it again."
            document.steps = list(progress.steps)
            await self._put_last(document, 1 if is_stopped else _LAST_TRIES)

    async def _work(self, progress: Progress, work: Work) -> None:
        document = progress.document
        try:
            # What cannot be shown is a mistake, and told as one.
            document.result = msgspec.Raw(msgspec.json.encode(await work(progress)))
            ended = "cancelled" if progress.is_cancelled else "done"
        except GroxyError as error:
            ended, document.error = "error", error.message
            self._log.warning("task failed", task=document.task_id, detail=error.detail)
        except Exception:  # noqa: BLE001 - the last stop: a silent job would be waited for
            self._log.exception("task crashed", task=document.task_id)
            ended, document.error = "error", "The gateway made a mistake."
        document.status = ended

    async def _tell(self, progress: Progress) -> None:
        """Write the document when something happened, and now and then; look for a cancel."""
        document = progress.document
        loop = asyncio.get_running_loop()
        written_at = loop.time()
        while True:
            await asyncio.sleep(_WRITE_EVERY_S)
            try:
                if not progress.is_cancelled:
                    progress.is_cancelled = await self._state.is_job_cancelled(document.task_id)
                if progress.changed.is_set() or loop.time() - written_at >= _BEAT_S:
                    progress.changed.clear()
                    document.steps = list(progress.steps)
                    await self._put(document, _RUNNING_TTL_S)
                    written_at = loop.time()
            except GroxyError as error:
                self._log.warning("task not shown", task=document.task_id, detail=error.detail)

    async def _put(self, document: Document, ttl_s: float) -> None:
        await self._state.put_job(document.task_id, msgspec.json.encode(document), ttl_s=ttl_s)

    async def _put_last(self, document: Document, tries: int) -> None:
        for attempt in range(tries):
            try:
                await self._put(document, KEPT_S)
            except GroxyError as error:
                self._log.warning("task not shown", task=document.task_id, detail=error.detail)
                await asyncio.sleep(attempt)
            else:
                return

    # --------------------------------------------------------------------------------- following

    async def follow(self, task_id: str) -> AsyncIterator[bytes]:
        """Yield a job as server-sent events until it ends: snapshot, progress, and the end.

        A long event comes in pieces.
        """
        look = self._looks.setdefault(task_id, _Look())
        look.followers += 1
        try:
            async for event in self._events(task_id, look):
                yield event
        finally:
            look.followers -= 1
            if not look.followers:
                self._looks.pop(task_id, None)

    async def _seen(self, task_id: str, look: _Look) -> Document:
        """Return a job as it is now, or was a moment ago: each look costs, and many may follow."""
        loop = asyncio.get_running_loop()
        async with look.lock:
            if loop.time() - look.at >= _LOOK_EVERY_S / 2:
                look.error, look.news = None, {}
                try:
                    look.document = await self.find(task_id)
                except GroxyError as error:
                    look.error = error
                look.at = loop.time()
        if look.error is not None or look.document is None:
            raise look.error or _lost()
        return look.document

    async def _events(self, task_id: str, look: _Look) -> AsyncIterator[bytes]:
        document = await self._seen(task_id, look)
        yield _event({"type": "snapshot", **_counts(document), "warning": document.warning})
        loop = asyncio.get_running_loop()
        seen, sent_at, heard_at = document.processed, loop.time(), loop.time()
        while document.status == "running":
            await asyncio.sleep(_LOOK_EVERY_S)
            try:
                document = await self._seen(task_id, look)
            except GroxyError as error:
                if error.kind is ErrorKind.NOT_FOUND:
                    yield _event({"type": "error", "error": _GONE})
                    return
                if loop.time() - heard_at > _PATIENCE_S:
                    yield _event({"type": "error", "error": error.message})
                    return
                continue
            heard_at = loop.time()
            if news := look.news_since(document, seen):
                yield news
                sent_at = loop.time()
            seen = document.processed
            if loop.time() - sent_at >= _PING_EVERY_S:
                yield b": ping\n\n"
                sent_at = loop.time()
        look.end = look.end or _event(_end(document))
        for begin in range(0, len(look.end), _PIECE_BYTES):
            if begin:
                await asyncio.sleep(0)
            yield look.end[begin : begin + _PIECE_BYTES]


def _lost() -> GroxyError:
    message = f"There is no such task. Tasks are kept for {KEPT_S:.0f} seconds after."
    return GroxyError(ErrorKind.NOT_FOUND, message, param="task_id", code="task_not_found")


def _progress(document: Document, seen: int) -> list[dict[str, object]]:
    """Return the events of what happened since `seen` items were done."""
    steps = [step for step in document.steps if step.number > seen]
    if not steps and document.processed > seen:
        return [{"type": "progress", **_counts(document), "status": "running"}]
    return [
        {"type": "progress", **_counts(document), "status": "running", **_told(step)}
        for step in steps
    ]


def _told(step: Step) -> dict[str, object]:
    """Return a step without what it does not have."""
    told: dict[str, object] = msgspec.to_builtins(step)
    told.pop("number")
    return told


def _end(document: Document) -> dict[str, object]:
    event: dict[str, object] = {"type": document.status, **_counts(document)}
    if document.error:
        event["error"] = document.error
    if bytes(document.result) != _NO_RESULT:
        event["result"] = document.result
    return event


def _counts(document: Document) -> dict[str, object]:
    names = ("task_id", "status", "total", "processed", "ok", "fail")
    return {name: getattr(document, name) for name in names}


def _event(content: dict[str, object]) -> bytes:
    return b"data: " + msgspec.json.encode(content) + b"\n\n"

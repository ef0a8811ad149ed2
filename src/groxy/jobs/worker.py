"""The worker: takes jobs on, hands each to what knows its kind, and holds its lease meanwhile.

In: a store of jobs, and a handler for each kind. Out: nothing; what becomes of a job is in the
store. Jobs that nobody holds are looked for again and again, so that those of a process which died
go on here. One broken job stops no other. Must not know what a job is about.
"""

import asyncio
import random
import time
from collections.abc import Collection, Coroutine, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.ids import new_id
from groxy.observe import logs
from groxy.store.jobs import Job, JobStore

_TAKEN_AT_ONCE = 64
_MOST_DEFECTS = 5
"""After so many defects of ours in a row a job is given up: it would break for ever."""
_RETRY_MOST_S = 15.0
_SAVE_RETRY_S = 0.2
_SAVE_RETRY_MOST_S = 5.0
_TAKE_OVER_MS = 60_000
_LOOK_AGAIN_S = 0.05
"""When stopping: at what is about to be done with what cannot be undone."""

T = TypeVar("T")


class LeaseLostError(Exception):
    """Somebody else holds the job now, or it is gone: nothing more may be done to it here."""


class Held:
    """A job that is held here. Only who holds a job may change it."""

    def __init__(self, store: JobStore, job: Job, holder: str) -> None:
        self._store = store
        self.job = job
        self.holder = holder
        self.is_unbroken = False

    @property
    def has_ended(self) -> bool:
        """True when there is nothing left to do."""
        return self.job.completed_ms is not None

    @contextmanager
    def unbroken(self) -> Iterator[None]:
        """Ask for a little patience when the gateway stops: what is done in here cannot be undone.

        It may still be cancelled, and the process may die: the state saved before has to say so.
        """
        self.is_unbroken = True
        try:
            yield
        finally:
            self.is_unbroken = False

    async def request(self) -> bytes:
        """Return what was asked for."""
        return await self._store.request(self.job)

    async def save(self, *, request: bytes | None = None, **changes: Any) -> None:
        """Change the job, durably. With `request` that takes the place of what was asked for.

        Waits for a database that is away: what is known here must not be lost. Raises
        `LeaseLostError` when the job is held elsewhere by then.
        """
        changed = replace(self.job, **(changes | {"updated_ms": now_ms()}))
        await self._patiently(changed, request)
        self.job = changed

    async def _patiently(self, changed: Job, request: bytes | None) -> None:
        delay_s = _SAVE_RETRY_S
        while True:
            try:
                is_held = await self._store.save(changed, self.holder, request=request)
            except GroxyError as error:
                if error.kind is not ErrorKind.STORE_DOWN:
                    raise
            else:
                if not is_held:
                    raise LeaseLostError
                return
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2.0, _SAVE_RETRY_MOST_S)

    async def delete(self) -> None:
        """Forget the job."""
        await self._store.delete(self.job.id, self.job.owner)


class Handler(Protocol):
    """What knows a kind of job."""

    async def work(self, held: Held) -> None:
        """Go on with a job from the state that it is in, until it has ended or is deleted.

        Whatever it raises, the job is tried again later, from the state that was saved last.
        """
        ...

    async def give_up(self, held: Held, error: Exception) -> None:
        """End a job that a defect keeps from ending otherwise."""
        ...


@dataclass(slots=True, kw_only=True)
class Worker:
    """See the module. One for each process."""

    store: JobStore
    handlers: Mapping[str, Handler]
    at_once: int = 512
    """Jobs under way here at the same time; most of them wait for an upstream."""
    lease_s: float = 6.0
    """How long the jobs of a process that died wait for another one."""
    look_every_s: float = 1.0
    stop_s: float = 5.0
    """How long stopping waits for what cannot be undone."""
    holder: str = field(default_factory=lambda: new_id("worker_"))
    _tasks: dict[str, tuple[Held, asyncio.Task[None]]] = field(default_factory=dict)
    _defects: dict[str, int] = field(default_factory=dict)
    _retries: dict[str, int] = field(default_factory=dict)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _log: logs.Logger = field(default_factory=lambda: logs.get_logger("jobs"))

    def wake(self) -> None:
        """Look for jobs now: there is a new one."""
        self._wake.set()

    @property
    def count(self) -> int:
        """How many jobs are under way here."""
        return len(self._tasks)

    async def run(self) -> None:
        """Work for ever; when cancelled, let go of all jobs so that others can go on."""
        renewing = asyncio.get_running_loop().create_task(self._renew_for_ever())
        try:
            while True:
                if await _to_its_end(self._take()):
                    continue
                with suppress(TimeoutError):
                    async with asyncio.timeout(self.look_every_s):
                        await self._wake.wait()
                self._wake.clear()
        finally:
            renewing.cancel()
            await asyncio.wait([renewing])
            await self._stop()

    async def take_over(
        self,
        id: str,  # noqa: A002 - its name
        owner: str,
        *,
        unless: Collection[str] = (),
    ) -> Held | None:
        """Take a job that has not ended from whoever holds it, here or elsewhere.

        None when this owner has no such job, or its status is one of `unless`. Its former holder
        learns of it with its next step.
        """
        holder = new_id("worker_")
        job = await self.store.take_over(id, owner, holder, lease_ms=_TAKE_OVER_MS, unless=unless)
        if job is None:
            return None
        held, task = self._tasks.get(id, (None, None))
        if held is not None and task is not None and not held.is_unbroken:
            task.cancel()
        return Held(self.store, job, holder)

    async def _take(self) -> bool:
        """Take on what nobody holds; return whether there may be more of it."""
        room = min(self.at_once - len(self._tasks), _TAKEN_AT_ONCE)
        if room <= 0:
            return False
        lease_ms = int(self.lease_s * 1000)
        try:
            taken = await self.store.take(
                self.holder, lease_ms=lease_ms, limit=room, kinds=list(self.handlers)
            )
        except GroxyError as error:
            self._log.warning("jobs not read", detail=error.detail or error.message)
            return False
        for job in taken:
            # One that is under way here all along was without a lease while the database was away.
            if job.id not in self._tasks:
                held = Held(self.store, job, self.holder)
                # Kept in the dictionary until it ends, so it is not lost.
                task = asyncio.get_running_loop().create_task(self._work(held))
                self._tasks[job.id] = held, task
        return len(taken) == room

    async def _work(self, held: Held) -> None:
        """Work on one job; whatever happens, say when it may be tried again."""
        job_id = held.job.id
        try:
            await self.handlers[held.job.kind].work(held)
        except LeaseLostError:
            self._log.info("job is held elsewhere", job=job_id)
        except GroxyError as error:
            await self._try_later(held, error.detail or error.message)
        except Exception as error:  # a defect of ours in one job must not stop the others
            self._log.exception("job crashed", job=job_id)
            await self._after_defect(held, error)
        else:
            self._forget(job_id)
            if not held.has_ended:
                await self._release(held, 0.0)
        finally:
            self._tasks.pop(job_id, None)
            self._wake.set()

    async def _after_defect(self, held: Held, error: Exception) -> None:
        job_id = held.job.id
        self._defects[job_id] = self._defects.get(job_id, 0) + 1
        if self._defects[job_id] < _MOST_DEFECTS:
            await self._try_later(held, repr(error))
            return
        self._forget(job_id)
        try:
            await self.handlers[held.job.kind].give_up(held, error)
        except (GroxyError, LeaseLostError) as failure:
            self._log.warning("job not given up", job=job_id, detail=str(failure))
        except Exception:
            self._log.exception("giving a job up crashed", job=job_id)

    async def _try_later(self, held: Held, detail: str) -> None:
        times = self._retries[held.job.id] = self._retries.get(held.job.id, 0) + 1
        most_s = min(2.0 ** min(times - 1, 8), _RETRY_MOST_S)
        delay_s = most_s * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, not a key
        self._log.warning("job put off", job=held.job.id, delay_s=round(delay_s, 1), detail=detail)
        await self._release(held, delay_s)

    def _forget(self, job_id: str) -> None:
        self._defects.pop(job_id, None)
        self._retries.pop(job_id, None)

    async def _release(self, held: Held, delay_s: float) -> None:
        # When that fails the lease runs out, which comes to the same a little later.
        with suppress(GroxyError):
            until_ms = now_ms() + int(delay_s * 1000)
            await self.store.release([held.job.id], held.holder, until_ms=until_ms)

    async def _renew_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self.lease_s / 3.0)
            ids = list(self._tasks)
            if not ids:
                continue
            try:
                lease_ms = int(self.lease_s * 1000)
                kept = await _to_its_end(self.store.renew(ids, self.holder, lease_ms=lease_ms))
            except GroxyError:
                continue  # Nobody else can take them either, as long as the database is away.
            for job_id in ids:
                held, task = self._tasks.get(job_id, (None, None))
                is_lost = job_id not in kept and held is not None and not held.has_ended
                if is_lost and held is not None and task is not None and not held.is_unbroken:
                    task.cancel()

    async def _stop(self) -> None:
        """End all work: at once what can go on from where it is, a little later the rest."""
        under_way = list(self._tasks.values())
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + self.stop_s
        left = {task: held for held, task in under_way}
        told: set[asyncio.Task[None]] = set()
        while left:
            is_late = loop.time() >= ends_at
            for task, held in left.items():
                # Once each: who is told again and again cannot even undo what it has begun.
                if task not in told and (is_late or not held.is_unbroken):
                    task.cancel()
                    told.add(task)
            await asyncio.wait(left, timeout=_LOOK_AGAIN_S)
            left = {task: held for task, held in left.items() if not task.done()}
            if loop.time() >= ends_at + self.stop_s:
                break
        with suppress(GroxyError):
            await self.store.release([held.job.id for held, _ in under_way], self.holder)


async def _to_its_end(work: Coroutine[Any, Any, T]) -> T:
    """Do something that must not be broken off half-way; a cancellation comes after it.

    Jobs that were taken on and are not known here would have to wait for their lease to end.
    """
    task = asyncio.get_running_loop().create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()
        raise


def now_ms() -> int:
    """Return the time that jobs carry: unix milliseconds."""
    return time.time_ns() // 1_000_000

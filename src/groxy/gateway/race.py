"""A race: two attempts at one request, of which the first that has something to say serves.

In: a candidate, those after it, and how to run an attempt. Out: who served, and the last bytes. The
other attempt is ended as soon as one serves, and noted as ended. Nothing of it reaches the client.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Protocol

from groxy.core.errors import GroxyError
from groxy.gateway.attempt import AttemptRun, PassOn
from groxy.gateway.rounds import NoRoomError
from groxy.routing.router import Candidate


class Runner(Protocol):
    """Runs attempts; see `gateway.attempts`."""

    async def finish(self, run: AttemptRun, pass_on: PassOn) -> bytes:
        """Run an attempt that has begun, and note how it went."""
        ...

    async def pass_on(self, piece: bytes) -> None:
        """Pass on a piece of the stream that serves."""
        ...

    async def watch(self, work: Coroutine[None, None, None]) -> None:
        """Wait for work; ends with the error of a deadline or a lost client."""
        ...

    def serves(self, run: AttemptRun) -> None:
        """Note that of several attempts this one serves."""
        ...

    def may_hedge(self) -> bool:
        """Return whether one more request may be hedged now."""
        ...


class Race:
    """See the module."""

    def __init__(
        self, runner: Runner, begin: Callable[[Candidate], AttemptRun], others: list[Candidate]
    ) -> None:
        self._runner = runner
        self._begin = begin
        self._others = others
        """Who may be asked beside the first; who was is taken out of it."""
        self._tasks: dict[asyncio.Task[bytes], AttemptRun] = {}
        self._winner: AttemptRun | None = None

    async def run(self, candidate: Candidate, delay_s: float) -> tuple[Candidate, bytes]:
        """Ask a candidate, and after `delay_s` without an event the next one too."""
        self._start(self._begin(candidate))
        reason: GroxyError | None = None
        try:
            await self._runner.watch(self._until_one_has_served(delay_s))
        except GroxyError as error:
            reason = error
            raise
        finally:
            await self._end_all(reason)
        return self._result()

    def _start(self, run: AttemptRun) -> None:
        async def pass_on(piece: bytes) -> None:
            self._claim(run)
            await self._runner.pass_on(piece)

        run.claim = lambda: self._claim(run)
        # Kept in self, and waited for in `run` whatever happens: a task group would end both when
        # the first one fails, and the other is to go on then.
        task = asyncio.get_running_loop().create_task(self._runner.finish(run, pass_on))
        self._tasks[task] = run

    def _claim(self, run: AttemptRun) -> None:
        """Let an attempt serve, or end it because the other one does."""
        if self._winner is None:
            self._winner = run
            self._runner.serves(run)
            for task, other in self._tasks.items():
                if other is not run:
                    other.is_outrun = True
                    task.cancel()
        elif self._winner is not run:
            run.is_outrun = True
            raise asyncio.CancelledError

    async def _until_one_has_served(self, delay_s: float) -> None:
        done, pending = await asyncio.wait(self._tasks, timeout=delay_s)
        if not done and self._winner is None and self._runner.may_hedge():
            self._start_next()
            pending = set(self._tasks)
        while pending and not any(map(_went_well, done)):
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)

    def _start_next(self) -> None:
        while self._others:
            try:
                run = self._begin(self._others.pop(0))
            except NoRoomError:
                continue
            self._start(run)
            return

    async def _end_all(self, reason: GroxyError | None) -> None:
        """End what still runs, and wait until it has noted its end."""
        for task, run in self._tasks.items():
            if not task.done():
                run.ended_by = reason
                run.is_outrun = reason is None
                task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _result(self) -> tuple[Candidate, bytes]:
        """Return what the attempt brought that serves, or raise why none did."""
        failures: list[BaseException] = []
        for task, run in self._tasks.items():
            if _went_well(task):
                self._runner.serves(run)
                return run.candidate, task.result()
            error = None if task.cancelled() else task.exception()
            if error is not None:
                failures.append(error)
                if run is self._winner:
                    self._runner.serves(run)
                    raise error
        raise failures[-1]


def _went_well(task: asyncio.Task[bytes]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is None

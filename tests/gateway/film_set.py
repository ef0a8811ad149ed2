"""A film set for tests: a scripted upstream, a real store, shelf and books, and ways to die."""

import asyncio
import json
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from groxy.core.ids import new_id, new_request_id
from groxy.core.media import MediaCall
from groxy.dialects.chat import DIALECT
from groxy.dialects.videos import FilmAsked, FilmShown, read_film
from groxy.gateway import Call
from groxy.gateway.film_jobs import FilmJobs
from groxy.gateway.filming import Filming, Pace
from groxy.gateway.footage import Footage
from groxy.jobs.worker import Held, Worker
from groxy.ledger.journal import Journal
from groxy.media.fetch import Fetcher
from groxy.media.shelf import Shelf, ShelfLimits
from groxy.policy.keys import Caller
from groxy.routing.pools import Pool
from groxy.store.database import Database
from groxy.store.entries import AttemptEntry, RequestEntry, attempts_of, last_requests
from groxy.store.jobs import Job, JobStore
from groxy.store.media import Stored
from groxy.store.replay import replaying_writer
from groxy.upstreams.xai import Xai
from groxy.wire.http import Outgoing
from tests.gateway.stage import SECRET, Reply, Seat, Stage

MODEL = "grok-imagine-video"
OWNER = "key-1"
MIB = 1024 * 1024
DONE = {
    "status": "done",
    "progress": 100,
    "video": {"url": "/files/film.mp4", "duration": 6, "respect_moderation": True},
    "usage": {"cost_in_usd_ticks": 4_200},
}
PENDING = {"status": "pending", "progress": 40}


def box(name: bytes, content: bytes = b"") -> bytes:
    """A box of an MP4."""
    return struct.pack(">I4s", 8 + len(content), name) + content


FILM = box(b"ftyp", b"isom\0\0\0\0isomiso2") + box(b"moov", b"m" * 50) + box(b"mdat", b"d" * 900)


def told(body: object, status: int = 200) -> Reply:
    """A reply in JSON."""
    return Reply(status, [json.dumps(body).encode()], "application/json")


class FilmSeat(Seat):
    """A scripted account that makes films: what it answers to an order, to a look, to a fetch.

    Of each list the last answer is given for ever.
    """

    def __init__(
        self,
        *looks: object,
        orders: Sequence[Reply | Exception] = (),
        films: Sequence[Reply | Exception] = (),
        stops: Reply | None = None,
    ) -> None:
        super().__init__()
        self.looks = list(looks or (PENDING, DONE))
        self.orders = list(orders)
        self.films = list(films)
        self.stops = stops
        """What is answered to who wants a film no more; see `stoppable`."""
        self.of: dict[str, object] = {}
        """What is told of a film, by its id; comes before `looks`."""
        self.begun: list[dict[str, Any]] = []
        self.sent = asyncio.Event()

    async def send(self, outgoing: Outgoing) -> Reply:
        self.asked.append(outgoing)
        path = outgoing.url.removeprefix("https://api.x.ai/v1")
        if outgoing.method == "POST":
            self.begun.append(json.loads(outgoing.body))
            self.sent.set()
            usual = told({"request_id": f"film-{len(self.begun)}"})
            return self._given(self.orders, usual)
        if outgoing.method == "DELETE":
            return self._given([self.stops] if self.stops else [], told({}))
        if path.startswith("/videos/"):
            look = self.of.get(path.removeprefix("/videos/"))
            if look is None:
                look = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
            return self._given([look if isinstance(look, Reply | Exception) else told(look)], None)
        return self._given(self.films, Reply(script=[FILM[:9], FILM[9:]], content_type="video/mp4"))

    @staticmethod
    def _given(answers: list[Any], usual: Reply | None) -> Reply:
        answer = usual if not answers else answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        assert answer is not None
        # Each one is read once.
        return Reply(answer.status, answer.script, answer.content_type, answer.more_headers)


def stoppable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let accounts be told that a film is wanted no more; xAI's cannot."""
    call = MediaCall(path="/videos/film-1", method="DELETE")
    monkeypatch.setattr(Xai, "video_cancel_call", lambda self, upstream_id: call)


class Killed(BaseException):
    """The process is gone."""


class DyingStore(JobStore):
    """A job store in whose process the power fails: before or after a certain save."""

    def __init__(self, database: Database, at: int = -1, *, before: bool = True) -> None:
        super().__init__(database, SECRET)
        self.at = at
        self.before = before
        self.saves: list[str] = []

    async def save(self, job: Job, holder: str, *, request: bytes | None = None) -> bool:
        self.saves.append(job.status)
        is_last = len(self.saves) == self.at
        if is_last and self.before:
            raise Killed
        saved = await super().save(job, holder, request=request)
        if is_last:
            raise Killed
        return saved


class FilmSet:
    """A gateway that makes films, in one process."""

    def __init__(
        self, database: Database, shelf: Shelf, *seats: FilmSeat, jobs: JobStore | None = None
    ) -> None:
        self.database = database
        self.shelf = shelf
        self.seats = seats
        self.stage = Stage(*seats, total_s=60.0)
        # Basic accounts make films, too.
        for account in self.stage.directory.accounts:
            account.pool = Pool.HEAVY
        self.stage.directory.generation += 1
        self.means = self.stage.gateway
        self.writer = replaying_writer(database)
        self.means.journal = Journal(self.writer, observe_commit=lambda _: None)
        self.jobs = jobs or JobStore(database, SECRET)
        self.fetcher = Fetcher()
        self.filming = Filming(
            self.means,
            Footage(shelf, self.fetcher),
            database,
            Pace(first_s=0.01, most_s=0.02),
        )
        self.worker = Worker(
            store=self.jobs,
            handlers={"video": self.filming},
            lease_s=1.0,
            look_every_s=0.05,
            stop_s=0.5,
        )
        self.films = FilmJobs(self.means, self.jobs, self.worker, self.filming, shelf)
        self.films.follow_s = 0.02

    def call(self, **more: Any) -> Call:
        """A caller's request; its body does not matter."""
        caller = Caller(key_id=more.pop("owner", OWNER), name="test")
        given: dict[str, Any] = {"dialect": DIALECT, "body": b"", "request_id": new_request_id()}
        return Call(caller=caller, **(given | more))

    async def order(self, *, call: Call | None = None, **fields: Any) -> Job:
        """Order a film with these fields."""

        async def read() -> FilmAsked:
            asked = {"model": MODEL, "prompt": "a cat"} | fields
            return read_film(json.dumps(asked).encode())

        return await self.films.order(call or self.call(), read)

    async def take(self, job: Job, store: JobStore | None = None) -> Held:
        """Hold a job, as a process that has just started does."""
        holder = new_id("worker_")
        taken = await self.jobs.take_over(job.id, job.owner, holder, lease_ms=60_000)
        assert taken is not None
        return Held(store or self.jobs, taken, holder)

    async def work(self, job: Job, store: JobStore | None = None) -> Job:
        """Work on a job to its end; return it as it is then."""
        held = await self.take(job, store)
        await self.filming.work(held)
        return held.job

    async def shown(self, job: Job) -> FilmShown:
        """Return a job as its owner sees it."""

        def link_of(stored: Stored) -> str:
            return f"link:{stored.id}"

        found = await self.films.find(job.id, job.owner)
        return await self.films.shown(found, link_of)

    async def entries(self) -> list[RequestEntry]:
        """All requests in the books."""
        return await last_requests(self.database, 1000)

    async def entry(self) -> RequestEntry:
        """The one request in the books."""
        (entry,) = await self.entries()
        return entry

    async def attempts(self) -> list[AttemptEntry]:
        """The attempts of the one request in the books."""
        return await attempts_of(self.database, (await self.entry()).id)

    async def until_over(self, *jobs: Job, within_s: float = 20.0) -> list[Job]:
        """Wait until jobs have ended; return them as they are then."""
        async with asyncio.timeout(within_s):
            ended: list[Job] = []
            for job in jobs:
                while (now := await self.films.find(job.id, job.owner)).completed_ms is None:
                    await asyncio.sleep(0.02)
                ended.append(now)
            return ended

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Run the worker beside."""
        running = asyncio.get_running_loop().create_task(self.worker.run())
        try:
            yield
        finally:
            running.cancel()
            await asyncio.wait([running])

    async def close(self) -> None:
        await self.means.journal.close()
        await self.writer.close()


def limits(**each: int) -> ShelfLimits:
    """Limits of a shelf, with bounds of one thing of a kind."""
    most = {"image": 30 * MIB, "video": 30 * MIB, "file": 30 * MIB} | each
    return ShelfLimits(
        max_total_bytes={"image": 0, "video": 0, "file": 0},
        max_bytes=most,  # type: ignore[arg-type]
        keep_days=30,
    )


@asynccontextmanager
async def film_set(
    database: Database, folder: Path, *seats: FilmSeat, **more: Any
) -> AsyncIterator[FilmSet]:
    """A film set over a database; its shelf is in the folder."""
    shelf = Shelf(more.pop("store_url", ""), folder, database, limits())
    opened = FilmSet(database, shelf, *seats, **more)
    try:
        yield opened
    finally:
        await opened.close()


def changed(job: Job, **changes: Any) -> Job:
    """Return a job with other values."""
    return replace(job, **changes)

"""A gateway whose upstreams, books and client are scripted: the pipeline without I/O."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace as dataclass_replace
from typing import Any, cast

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.ids import new_request_id
from groxy.dialects._base import Dialect
from groxy.dialects.chat import DIALECT
from groxy.dialects.messages import DIALECT as MESSAGES
from groxy.dialects.responses import DIALECT as RESPONSES
from groxy.gateway import Call, Gateway, Limits
from groxy.gateway.memory import Memory
from groxy.gateway.vigil import Deadlines
from groxy.ledger.journal import Committed, Journal, Sheet
from groxy.ledger.prices import PriceBook
from groxy.ledger.trail import now_ms
from groxy.observe.metrics import Metrics
from groxy.policy.admission import Admission
from groxy.policy.keys import Caller
from groxy.routing.account import Account
from groxy.routing.accounts import Directory
from groxy.routing.catalog import Catalog
from groxy.routing.pools import Pool
from groxy.routing.router import Router
from groxy.state.gate_memory import MemoryGate
from groxy.store.entries import AttemptEntry, RequestEntry
from groxy.store.kept import Kept, KeptRow, KeptStore
from groxy.store.ledger import Entry
from groxy.store.secrets import InstallationSecret
from groxy.store.writing import Group, all_moves
from groxy.upstreams._base import Credentials
from groxy.upstreams.xai import UPSTREAM as XAI
from groxy.wire.http import Outgoing

USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15, "cost_in_usd_ticks": 777}


def whole(text: str = "Hello", **more: object) -> bytes:
    """A whole reply as an upstream writes it."""
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    reply = {"id": "c1", "object": "chat.completion", "created": 1, "model": "grok-4.3"}
    return json.dumps(reply | {"choices": [choice], "usage": USAGE} | more).encode()


def chunk(delta: Mapping[str, object], reason: str | None = None, **more: object) -> bytes:
    """An event of a stream as an upstream writes it."""
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    head = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "grok-4.3"}
    return b"data: " + json.dumps(head | {"choices": [choice]} | more).encode() + b"\n\n"


ROLE = chunk({"role": "assistant", "content": ""})
END = [chunk({}, "stop"), chunk({}, None, choices=[], usage=USAGE), b"data: [DONE]\n\n"]


@dataclass
class Reply:
    """A scripted reply: chunks to give, errors to raise, seconds to wait."""

    status: int = 200
    script: Sequence[bytes | Exception | float] = ()
    content_type: str = "text/event-stream"
    more_headers: Mapping[str, str] = field(default_factory=dict)
    is_closed: bool = False
    is_released: bool = False

    @property
    def headers(self) -> Mapping[str, str]:
        return {"content-type": self.content_type, **self.more_headers}

    async def read(self, limit: int) -> bytes:
        return b"".join([piece async for piece in self.chunks()])

    async def chunks(self) -> AsyncGenerator[bytes]:
        for step in self.script:
            if isinstance(step, Exception):
                raise step
            if isinstance(step, bytes):
                yield step
            else:
                await asyncio.sleep(step)

    def release(self) -> None:
        self.is_released = True

    def close(self) -> None:
        self.is_closed = True


def good(text: str = "Hello") -> Reply:
    return Reply(script=[whole(text)], content_type="application/json")


def streamed(*texts: str) -> Reply:
    return Reply(script=[ROLE, *(chunk({"content": text}) for text in texts), *END])


def refusing(status: int, body: bytes = b"{}", **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, [body], "application/json", named)


class Seat:
    """A scripted upstream account: what it is sent, and what it answers in turn."""

    def __init__(self, *answers: Reply | Exception) -> None:
        self.answers = list(answers)
        self.given: list[Reply] = []
        self.asked: list[Outgoing] = []

    async def send(self, outgoing: Outgoing) -> Reply:
        self.asked.append(outgoing)
        if outgoing.on_sent is not None:
            outgoing.on_sent()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        self.given.append(answer)
        return answer

    async def close(self) -> None:
        pass


class Client:
    """A client that notes what it gets, and leaves when told to."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.pieces: list[bytes] = []
        self.is_complete = False
        self.left = asyncio.Event()

    async def start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        assert self.status == 0, "a response starts once"
        self.status = status
        self.headers = {name.decode(): value.decode() for name, value in headers}

    async def send(self, body: bytes, *, is_last: bool) -> None:
        assert self.status, "a response starts before its body"
        assert not self.is_complete, "nothing follows the last bytes"
        self.pieces.append(body)
        self.is_complete = is_last

    async def gone(self) -> None:
        await self.left.wait()

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Books:
    """A journal in memory; it can be told to fail, and calls `on_submit` before it commits."""

    def __init__(self) -> None:
        self.requests: list[RequestEntry] = []
        self.attempts: list[AttemptEntry] = []
        self.shelf = Shelf()
        self.failure: GroxyError | None = None
        self.on_submit: Callable[[], object] = lambda: None
        self.lines: list[Entry] = []
        """Of money."""
        self.balances: dict[str, tuple[int, int]] = {}
        self.is_away = False
        """True while the database is away: entries are taken, balances are not known."""

    def require_open(self) -> None:
        """The books are always there."""

    def submit(self, sheet: Sheet) -> "asyncio.Future[Committed]":
        self.on_submit()
        committed: asyncio.Future[Committed] = asyncio.get_running_loop().create_future()
        if self.failure is not None:
            committed.set_exception(self.failure)
            return committed
        self.requests.append(sheet.request)
        self.attempts.extend(sheet.attempts)
        for row in sheet.kept:
            self.shelf.add(row)
        group = Group([], [], entries=sheet.entries, moves=sheet.moves)
        moved = {move.name: self.move(move.name, move.ticks) for move in all_moves(group)}
        self.lines.extend(sheet.entries)
        committed.set_result(None if self.is_away else moved)
        return committed

    def move(self, name: str, ticks: int) -> tuple[int, int]:
        """Move a balance; return what it is then."""
        before, seq = self.balances.get(name, (0, 0))
        self.balances[name] = (before + ticks, seq + 1)
        return self.balances[name]

    async def read(self, names: Sequence[str]) -> dict[str, tuple[int, int]]:
        """Return balances, for whoever lets requests pass."""
        return {name: self.balances.get(name, (0, 0)) for name in names}

    async def recount(self, key_id: str) -> None:
        """Count nothing again: no cap is set here while a request is under way."""


class Shelf:
    """A `KeptStore` in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, Kept] = {}

    def row(self, kept: Kept) -> KeptRow:
        """Return a row whose content is not sealed."""
        values = {name: getattr(kept, name) for name in KeptRow._fields if name != "sealed"}
        return KeptRow(**values, sealed=kept.content)

    def add(self, row: KeptRow) -> None:
        """Keep what the books have committed."""
        values = row._asdict()
        content = values.pop("sealed")
        self.kept[row.id] = Kept(**values, content=content)

    async def put(self, kept: Kept) -> None:
        assert kept.id not in self.kept
        self.kept[kept.id] = kept

    async def keep(self, rows: Sequence[KeptRow]) -> None:
        for row in rows:
            assert row.id not in self.kept
            self.add(row)

    async def get(self, name: str, owner: str, kind: str) -> Kept | None:
        return (await self.many([name], owner, kind)).get(name)

    async def many(self, ids: Sequence[str], owner: str, kind: str) -> dict[str, Kept]:
        found = (self.kept[one] for one in ids if one in self.kept)
        return {kept.id: kept for kept in found if (kept.owner, kept.kind) == (owner, kind)}

    async def chain(
        self, name: str, owner: str, kind: str, *, param: str | None = None
    ) -> list[Kept]:
        kept = await self.get(name, owner, kind)
        if kept is None:
            raise GroxyError(ErrorKind.NOT_FOUND, "There is no such reply.", param=param)
        earlier = await self.chain(kept.parent, owner, kind) if kept.parent else []
        return [*earlier, kept]

    async def delete(self, name: str, owner: str, kind: str) -> bool:
        return self.kept.pop(name, None) is not None

    async def replace(self, name: str, owner: str, state: str, content: bytes) -> bool:
        self.kept[name] = dataclass_replace(self.kept[name], state=state, content=content)
        return True

    async def take(self, name: str, owner: str, kind: str) -> Kept | None:
        kept = await self.get(name, owner, kind)
        if kept is not None and kept.state != "pending":
            del self.kept[name]
        return kept

    async def renew(self, ids: Sequence[str], lease_ms: int) -> int:
        for name in ids:
            self.kept[name] = dataclass_replace(self.kept[name], lease_ms=lease_ms)
        return len(ids)


SECRET = InstallationSecret(b"s" * 32)


class Words:
    """Counts words, so that a test can tell what was counted."""

    def count(self, text: str) -> int:
        return len(text.split())


class Stage:
    """A gateway in front of scripted seats."""

    def __init__(self, *seats: Seat, **deadlines: float) -> None:
        given = {"first_event_s": 5.0, "idle_s": 5.0, "total_s": 9.0, "keepalive_s": 5.0}
        self.seats = seats
        self.books = Books()
        self.gate = MemoryGate()
        self.caller: Mapping[str, Any] = {}
        """What the caller of `send` is, beside its key."""
        self.client = Client()
        self.metrics = Metrics()
        self.directory = Directory()
        self.directory.replace(self._account(number, seat) for number, seat in enumerate(seats))
        catalog = Catalog.load()
        self.shelf = self.books.shelf
        self.fetched: list[str] = []
        self.gateway = Gateway(
            router=Router(catalog, self.directory, max_candidates=3),
            directory=self.directory,
            journal=cast("Journal", self.books),
            metrics=self.metrics,
            counter=Words(),
            prices=PriceBook(catalog.prices_of, catalog.price_names),
            admission=Admission(self.gate, self.books, now_ms=now_ms),
            limits=Limits(
                deadlines=Deadlines(**(given | deadlines)),
                streams_by_default=False,
                logs_requests=False,
            ),
            ends={end.name: end for end in (DIALECT, RESPONSES, MESSAGES)},
            memory=Memory(kept=cast("KeptStore", self.shelf), secret=SECRET),
            fetch=self._fetch,
        )

    async def _fetch(self, url: str, param: str) -> str:
        self.fetched.append(url)
        return "data:image/png;base64,AAAA"

    @staticmethod
    def _account(number: int, seat: Seat) -> Account:
        # Pools are asked in their order, so that seats answer in the order they are given in.
        pool = list(Pool)[number]
        credentials = Credentials(api_key=f"xai-{number}")
        return Account(
            id=f"seat-{number}",
            name=f"seat-{number}",
            upstream=XAI,
            pool=pool,
            credentials=credentials,
            transport=seat,
            origin="test",
            headers=XAI.headers(credentials),
        )

    async def ask(self, *, stream: bool = False, **fields: object) -> Client:
        """Send a request through the pipeline; return what the client got."""
        body = {"model": "grok-4.3", "messages": [{"role": "user", "content": "one two three"}]}
        await self.send(json.dumps(body | {"stream": stream} | fields).encode())
        return self.client

    async def send(
        self, body: bytes, *, dialect: Dialect = DIALECT, key_id: str = "key-1"
    ) -> Client:
        """Send a body through the pipeline; return what the client got."""
        call = Call(
            request_id=new_request_id(),
            dialect=dialect,
            caller=Caller(key_id=key_id, name="test", **self.caller),
            body=body,
        )
        await self.gateway.answer(call, self.client)
        return self.client

    async def once_more(self, fields: object, **more: Any) -> Client:
        """Send one more request, for a new client."""
        self.client = Client()
        return await self.send(json.dumps(fields).encode(), **more)

    @property
    def entry(self) -> RequestEntry:
        """The one request in the books."""
        (entry,) = self.books.requests
        return entry


DOWN = GroxyError(ErrorKind.UPSTREAM_DOWN, "The upstream could not be reached.")
BROKEN = GroxyError(ErrorKind.STREAM_BROKEN, "The upstream broke off its reply.")

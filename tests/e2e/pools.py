"""Pools: accounts that a test adds through the admin API, each at a scripted upstream.

A pool is a model that only its own accounts list, so that every test has accounts of its own in a
gateway that many share. Its accounts are asked in their order unless their terms say otherwise.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from urllib.parse import quote

from tests.e2e.running import ADMIN_KEY, Gateway, Reply, poll
from tests.e2e.scripted import KEY, Behaviour, Call, Seat, Upstream, Wire, fails, says

WRONG_KEY = {
    "code": "Client specified an invalid argument",
    "error": "Incorrect API key provided: xa***ey. You can obtain an API key at https://x.ai.",
}
NO_CREDITS = {
    "code": "The caller does not have permission to execute the specified operation",
    "error": "Your newly created team doesn't have any credits yet.",
}
_numbers = count(1)


def key_is_good() -> Behaviour:
    """Tell of a key in good order."""
    return says(KEY)


def key_is_wrong() -> Behaviour:
    """Know no such key."""
    return fails(400, WRONG_KEY)


def key_is_blocked() -> Behaviour:
    """Tell of a key that somebody blocked: xAI answers 200 then."""
    return says(KEY | {"api_key_blocked": True})


def key_is_unknown() -> Behaviour:
    """Be out of order, so that nobody learns anything of the key."""
    return fails(500)


class KeyedUpstream(Upstream):
    """A scripted upstream that can also be asked about keys, and says what a test wants."""

    def __init__(self) -> None:
        super().__init__()
        self.keys: dict[str, Behaviour] = {}
        """What is told of the key of a seat, by its name; a good key unless said otherwise."""
        self.key_calls: dict[str, int] = {}
        self.other_calls: dict[str, list[str]] = {}
        """Calls that are no requests for an answer, by the seat's name."""
        self.others: dict[tuple[str, str], Behaviour] = {}
        """What is done at other paths of a seat, such as `v1/tokenize-text`."""

    async def answer(self, call: Call, method: str, wire: Wire) -> None:
        name, _, path = call.path.lstrip("/").partition("/")
        if (method, path) == ("GET", "v1/api-key"):
            self.key_calls[name] = self.key_calls.get(name, 0) + 1
            await self.keys.get(name, key_is_good())(call, wire)
        elif (name, path) in self.others:
            self.other_calls.setdefault(name, []).append(path)
            await self.others[name, path](call, wire)
        else:
            await super().answer(call, method, wire)


class Operator:
    """Talks to /admin/api of one gateway."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway

    def ask(self, method: str, path: str, body: object = None) -> Reply:
        """Send one request; return its reply, whatever it is."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {ADMIN_KEY}", "Content-Type": "application/json"}
        return self.gateway.request(method, f"/admin/api{path}", data, headers)

    def get(self, path: str) -> Any:
        return self._good("GET", path, None)

    def post(self, path: str, body: object = None) -> Any:
        return self._good("POST", path, {} if body is None else body)

    def patch(self, path: str, body: object) -> Any:
        return self._good("PATCH", path, body)

    def put(self, path: str, body: object) -> Any:
        return self._good("PUT", path, body)

    def delete(self, path: str, body: object = None) -> Any:
        return self._good("DELETE", path, body)

    def _good(self, method: str, path: str, body: object) -> Any:
        reply = self.ask(method, path, body)
        assert reply.status == 200, f"{method} {path}: {reply.status} {reply.body!r}"
        return reply.json

    # ------------------------------------------------------------------------------ in short

    def token(self, account: str) -> Any:
        """Return an account, by id or name."""
        return self.get(f"/tokens/{quote(account)}")

    def trail(self, reply: Reply) -> Any:
        """Return all that the books have of the request that `reply` answers."""
        return self.get(f"/requests/{reply.id}")

    def route(self, model: str) -> Any:
        """Return where a request for a model would go now."""
        return self.get(f"/route?limit=1000&model={quote(model)}")

    def configure(self, **sections: Mapping[str, object]) -> None:
        """Change settings; None takes a change back."""
        self.patch("/config", sections)

    @contextmanager
    def settings(self, **sections: Mapping[str, object]) -> Iterator[None]:
        """Change settings for a while."""
        self.configure(**sections)
        try:
            yield
        finally:
            self.configure(**{name: dict.fromkeys(values) for name, values in sections.items()})

    def tries(self, reply: Reply) -> list[tuple[str, str, int]]:
        """Return account, outcome and status of each attempt at a request."""
        return [
            (one["account"]["name"], one["outcome"], one["status"])
            for one in self.trail(reply)["attempts"]
        ]

    def line(self, reply: Reply) -> tuple[str, int, int, int]:
        """Return outcome, status, number of attempts and what is owed, from the books."""
        row = self.trail(reply)["request"]
        return row["outcome"], row["status"], row["attempts"], row["cost_ticks"]


@dataclass(frozen=True, kw_only=True)
class Pool:
    """A model, and who serves it."""

    operator: Operator
    upstream: KeyedUpstream
    model: str
    seats: Sequence[Seat]
    names: Sequence[str]
    """Of its accounts; a seat has the name of its account."""
    ids: Sequence[str]
    asked: list[Reply] = field(default_factory=list)

    @property
    def calls(self) -> list[int]:
        """How many calls each seat got."""
        return [len(seat.calls) for seat in self.seats]

    def ask(self, text: str | None = None, **fields: Any) -> Reply:
        """Send a chat request, of a new conversation unless `text` says which."""
        chosen = text or f"Hello {next(_numbers)}"
        reply = self.operator.gateway.ask(chosen, model=self.model, **fields)
        self.asked.append(reply)
        return reply

    def ask_until(self, is_true: Callable[[], Any], *, what: str, within_s: float = 10.0) -> None:
        """Ask again and again, until something is true."""

        def asked() -> Any:
            self.ask()
            return is_true()

        poll(asked, within_s=within_s, what=what)

    def key(self, place: int, behaviour: Behaviour) -> None:
        """Say what is told of the key of an account."""
        self.upstream.keys[self.names[place]] = behaviour

    def key_calls(self, place: int) -> int:
        """How often an account's upstream was asked about its key."""
        return self.upstream.key_calls.get(self.names[place], 0)

    def token(self, place: int = 0) -> Any:
        """Return an account as the admin API shows it."""
        return self.operator.token(self.ids[place])

    def stands(self, place: int = 0) -> tuple[str, str]:
        """Return an account's status and its reason."""
        token = self.token(place)
        return token["status"], token["reason"]

    def settled(self, place: int, *wanted: str, within_s: float = 5.0) -> Any:
        """Return an account as soon as it has this status (and reason)."""

        def is_there() -> Any:
            token = self.token(place)
            return token if (token["status"], token["reason"])[: len(wanted)] == wanted else None

        return poll(is_there, within_s=within_s, what=f"being {wanted}, not {self.stands(place)},")

    def refresh(self, *places: int) -> Any:
        """Have accounts refreshed; return what became of each, by id."""
        ids = [self.ids[place] for place in places]
        return self.operator.post("/batch/refresh", {"tokens": ids})["results"]


class Pools:
    """Makes pools at one gateway."""

    def __init__(self, gateway: Gateway, upstream: KeyedUpstream) -> None:
        self.gateway = gateway
        self.operator = Operator(gateway)
        self.upstream = upstream

    def make(
        self,
        seats: int = 2,
        *,
        terms: Sequence[Mapping[str, object]] = (),
        model: str = "",
        places: Sequence[Upstream] = (),
        are_equal: bool = False,
    ) -> Pool:
        """Return a pool of so many accounts, of which the first is asked first.

        `terms` are those of each account, `places` other servers than the usual one for the first
        accounts; `are_equal` leaves it to routing who is asked first.
        """
        number = next(_numbers)
        chosen = model or f"pool-{number}"
        names = [f"{chosen}-{number}-{place}" for place in range(1, seats + 1)]
        servers = [*places, *[self.upstream] * seats][:seats]
        sat = [one.seat(name, (chosen,)) for one, name in zip(servers, names, strict=True)]
        own = [*terms, *[{}] * seats][:seats]
        tokens = [
            {
                "token": f"xai-secret-of-{name}",
                "name": name,
                "upstream": "xai",
                "base_url": seat.base_url,
                "priority": 0 if are_equal else seats - place,
            }
            | dict(more)
            for place, (name, seat, more) in enumerate(zip(names, sat, own, strict=True))
        ]
        added = self.operator.post("/tokens/add", {"tokens": tokens})
        pool = Pool(
            operator=self.operator,
            upstream=self.upstream,
            model=chosen,
            seats=sat,
            names=names,
            ids=added["ids"],
        )
        poll(lambda: all(seat.lists for seat in sat), within_s=20, what="asking for lists")
        poll(
            lambda: all(pool.token(place)["checked_at"] for place in range(seats)),
            within_s=20,
            what="knowing lists",
        )
        return pool


def ms_from_now(moment_ms: int) -> float:
    """Return how far in the future a moment is, in seconds."""
    return moment_ms / 1000 - time.time()

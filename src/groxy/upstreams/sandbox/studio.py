"""The studio: pictures that the sandbox draws at once, and films that take it a while.

In: an `Order` and what its script wants spoiled; later a path below `/videos/` or `/media/`. Out:
steps to play, or a `Showing`. What was ordered stands in the ids, so a sandbox that was started
anew goes on where the last one was; only references, films that were made and deletions are kept
here, and those are bounded. Drawing happens while a reply is played, in a thread.
"""

from base64 import b64encode
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from groxy.core.errors import ErrorKind, GroxyError
from groxy.upstreams._limits import unix_now
from groxy.upstreams.sandbox.brain import CREATED
from groxy.upstreams.sandbox.desk import no_such_path, wrong_method
from groxy.upstreams.sandbox.drawing import Sheet, picture
from groxy.upstreams.sandbox.faults import Script, read_script
from groxy.upstreams.sandbox.filming import film
from groxy.upstreams.sandbox.orders import Order
from groxy.upstreams.sandbox.plan import Step, Work, split, whole_steps
from groxy.upstreams.sandbox.tickets import MOST_CAPTION, MOST_MODEL, Ticket, id_of, ticket_of
from groxy.wire.json import encode

PICTURE_TICKS: Mapping[str, int] = {"1k": 200_000_000, "2k": 300_000_000}
"""What a picture costs here: 2 or 3 cents."""
SECOND_TICKS: Mapping[str, int] = {
    "480p": 500_000_000,
    "720p": 700_000_000,
    "1080p": 1_400_000_000,
}
"""What a second of film costs here: 5, 7 or 14 cents."""
USUAL_TAKES_S = 2.0
_STUCK_PERCENT = 40
_KEPT_BYTES = 64 * 1024 * 1024
_MOST_DELETED = 10_000
_ENDINGS = {"image/jpeg": "jpg", "image/png": "png", "image/webp": "webp"}
_JSON = {"content-type": "application/json"}
_VIDEO = "video/mp4"
_REFUSED = "Content violates usage guidelines."
_BROKEN = "The sandbox was asked to let this film fail."
_Told = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Showing:
    """A reply about something that was ordered before."""

    status: int = 200
    headers: Mapping[str, str]
    steps: Iterable[Step]


class Studio:
    """Takes orders and shows what came of them. `clock` gives unix seconds."""

    def __init__(self, clock: Callable[[], float] = unix_now) -> None:
        self._clock = clock
        self._references = _Kept(_KEPT_BYTES)
        self._films = _Kept(_KEPT_BYTES)
        self._deleted: OrderedDict[str, None] = OrderedDict()
        self._begun = 0

    def pictures(self, order: Order, script: Script, address: str) -> list[Step]:
        """Return the steps of the reply with the pictures, or with links below `address`."""
        is_inline = order.is_inline and not script.links
        if not is_inline:
            self._keep(order)

        def drawn() -> Iterable[Step]:
            count = order.count if script.few is None else min(order.count, script.few)
            entries: list[_Told] = []
            for number in range(count):
                ticket = _picture_ticket(order, script, number)
                if number < script.moderated:
                    entries.append({"url": "", "respect_moderation": False})
                    continue
                entry: _Told = {"mime_type": order.content_type}
                if is_inline:
                    content = picture(_sheet(ticket, order.references), order.content_type)
                    entry["b64_json"] = b64encode(content).decode()
                else:
                    entry["url"] = _link(address, ticket)
                entries.append(entry)
            made = sum(1 for entry in entries if entry.get("respect_moderation", True))
            told: _Told = {"created": CREATED, "data": entries}
            told |= _usage(PICTURE_TICKS[order.resolution] * made, script)
            return _spoiled(encode(told), script if is_inline else Script(split=script.split))

        return [Work(drawn)]

    def begin(self, order: Order, script: Script) -> _Told:
        """Return the reply to the order of a film; it begins now."""
        self._keep(order)
        self._begun += 1
        ticket = Ticket(
            seed=order.digest,
            caption=order.prompt[:MOST_CAPTION],
            model=order.model[:MOST_MODEL],
            width=order.width,
            height=order.height,
            resolution=order.resolution,
            number=self._begun,
            duration_s=order.duration_s,
            created_ms=int(self._clock() * 1000),
            takes_s=USUAL_TAKES_S if script.takes is None else script.takes,
            fault="moderated" if script.moderated else script.film,
            words=_content_words(script),
            cost_ticks=_film_cost(order, script),
            is_openai=order.is_openai,
        )
        if ticket.is_openai:
            return _as_openai(ticket, "queued", 0)
        return {"request_id": id_of(ticket)}

    def show(self, method: str, path: str, address: str) -> Showing:
        """Return what is at a path below `/videos/` or `/media/`.

        Raises NOT_FOUND, WRONG_METHOD, and CONFLICT for a film that is not ready.
        """
        if path.startswith("/media/"):
            stem = path.removeprefix("/media/").rpartition(".")[0]
            return self._content(method, stem)
        film_id, _, more = path.removeprefix("/videos/").partition("/")
        if more == "content":
            return self._content(method, film_id)
        if more:
            raise no_such_path()
        if method == "DELETE":
            return self._delete(film_id)
        if method != "GET":
            raise wrong_method(method)
        ticket = self._ticket(film_id)
        status, told = self._state(ticket, address)
        return Showing(status=status, headers=_JSON, steps=[encode(told)])

    def _ticket(self, wanted: str) -> Ticket:
        ticket = ticket_of(wanted)
        if wanted in self._deleted:
            raise GroxyError(ErrorKind.NOT_FOUND, "The film was deleted.")
        return ticket

    def _delete(self, film_id: str) -> Showing:
        self._ticket(film_id)
        self._deleted[film_id] = None
        if len(self._deleted) > _MOST_DELETED:
            self._deleted.popitem(last=False)
        told = {"id": film_id, "object": "video.deleted", "deleted": True}
        return Showing(headers=_JSON, steps=[encode(told)])

    def _percent(self, ticket: Ticket) -> int:
        """Return how far a film is; 100 once it has ended, well or not."""
        elapsed = self._clock() - ticket.created_ms / 1000
        share = 1.0 if ticket.takes_s <= elapsed else max(0.0, elapsed) / ticket.takes_s
        percent = int(share * 100)
        return min(percent, _STUCK_PERCENT) if ticket.fault == "stuck" else percent

    def _state(self, ticket: Ticket, address: str) -> tuple[int, _Told]:
        percent = self._percent(ticket)
        if ticket.is_openai:
            return 200, _openai_state(ticket, percent)
        told: _Told = {"model": ticket.model, "progress": percent}
        if percent < 100:
            return 202, told | {"status": "pending"}
        if ticket.fault in ("failed", "refused"):
            return 200, told | {"status": "failed", "error": _error_of(ticket)}
        if ticket.fault == "expired":
            return 200, told | {"status": "expired"}
        told["status"] = "done"
        told["video"] = {"duration": ticket.duration_s, "respect_moderation": True}
        if ticket.fault == "moderated":
            told["video"] = {"url": "", "duration": 0, "respect_moderation": False}
            return 200, told
        told["video"]["url"] = _link(address, ticket)
        return 200, told | _bill(ticket)

    def _content(self, method: str, wanted: str) -> Showing:
        if method != "GET":
            raise wrong_method(method)
        ticket = self._ticket(wanted)
        is_film = ticket.duration_s > 0
        if is_film and (self._percent(ticket) < 100 or ticket.fault):
            raise GroxyError(ErrorKind.CONFLICT, "The film is not ready.")
        references = self._references.get(ticket.seed.hex())
        script = read_script(ticket.words)

        def made() -> Iterable[Step]:
            sheet = _sheet(ticket, references)
            if not is_film:
                return _spoiled(picture(sheet, ticket.content_type), script)
            known = self._films.get(wanted)
            content = known[0] if known else film(sheet, ticket.duration_s)
            self._films.put(wanted, (content,))
            return _spoiled(content, script)

        content_type = _VIDEO if is_film else ticket.content_type
        return Showing(headers={"content-type": content_type}, steps=[Work(made)])

    def _keep(self, order: Order) -> None:
        if order.references:
            self._references.put(order.digest.hex(), order.references)


class _Kept:
    """Bytes by name, so many at most; what was used longest ago goes first."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._held: OrderedDict[str, tuple[bytes, ...]] = OrderedDict()

    def put(self, name: str, contents: tuple[bytes, ...]) -> None:
        self._held[name] = contents
        self._held.move_to_end(name)
        while sum(len(one) for each in self._held.values() for one in each) > self._most:
            self._held.popitem(last=False)

    def get(self, name: str) -> tuple[bytes, ...]:
        contents = self._held.get(name, ())
        if contents:
            self._held.move_to_end(name)
        return contents


def _picture_ticket(order: Order, script: Script, number: int) -> Ticket:
    return Ticket(
        seed=order.digest,
        caption=order.prompt[:MOST_CAPTION],
        model=order.model[:MOST_MODEL],
        width=order.width,
        height=order.height,
        resolution=order.resolution,
        content_type=order.content_type,
        number=number,
        count=order.count,
        words=_content_words(script),
    )


def _sheet(ticket: Ticket, references: tuple[bytes, ...]) -> Sheet:
    is_film = ticket.duration_s > 0
    which = f"{ticket.duration_s} s" if is_film else f"{ticket.number + 1} of {ticket.count}"
    return Sheet(
        seed=ticket.seed + (b"film" if is_film else str(ticket.number).encode()),
        caption=ticket.caption,
        note=f"Groxy sandbox, {which}",
        width=ticket.width,
        height=ticket.height,
        references=references,
    )


def _spoiled(content: bytes, script: Script) -> Iterable[Step]:
    steps: Iterable[Step] = (content,)
    if script.stall_after or script.cut_after is not None or script.garbage_after is not None:
        steps = whole_steps(content, script)
    return split(steps, script.split) if script.split else steps


def _content_words(script: Script) -> str:
    """Return the words of a script that concern what is fetched later."""
    words = []
    if script.cut_after is not None:
        words.append(f"cut_after={script.cut_after}")
    if script.garbage_after is not None:
        words.append(f"garbage_after={script.garbage_after}")
    if script.stall_after is not None:
        words.append(f"stall_after={script.stall_after[0]}:{script.stall_after[1]:g}")
    return " ".join(words)


def _link(address: str, ticket: Ticket) -> str:
    ending = "mp4" if ticket.duration_s else _ENDINGS[ticket.content_type]
    return f"{address}/media/{id_of(ticket)}.{ending}"


def _film_cost(order: Order, script: Script) -> int | None:
    if script.usage == "none":
        return None
    return 0 if script.usage == "zero" else SECOND_TICKS[order.resolution] * order.duration_s


def _usage(ticks: int, script: Script) -> _Told:
    if script.usage == "none":
        return {}
    return {"usage": {"cost_in_usd_ticks": 0 if script.usage == "zero" else ticks}}


def _bill(ticket: Ticket) -> _Told:
    return {} if ticket.cost_ticks is None else {"usage": {"cost_in_usd_ticks": ticket.cost_ticks}}


def _error_of(ticket: Ticket) -> _Told:
    if ticket.fault == "failed":
        return {"code": "internal_error", "message": _BROKEN}
    return {"code": "permission_denied", "message": _REFUSED}


def _openai_state(ticket: Ticket, percent: int) -> _Told:
    if percent < 100:
        return _as_openai(ticket, "in_progress" if percent else "queued", percent)
    if ticket.fault == "expired":
        return _as_openai(ticket, "expired", percent)
    if ticket.fault:
        return _as_openai(ticket, "failed", percent) | {"error": _error_of(ticket)}
    return _as_openai(ticket, "completed", percent) | _bill(ticket)


def _as_openai(ticket: Ticket, status: str, percent: int) -> _Told:
    return {
        "id": id_of(ticket),
        "object": "video",
        "created_at": ticket.created_ms // 1000,
        "status": status,
        "progress": percent,
        "model": ticket.model,
        "prompt": ticket.caption,
        "seconds": str(ticket.duration_s),
        "size": f"{ticket.width}x{ticket.height}",
    }

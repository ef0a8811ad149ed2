"""Ids of pictures and films that say what they stand for, so that nothing has to be remembered.

In: a `Ticket`. Out: an id, and the ticket back from it. A sandbox that was started anew, or one in
another process, knows a film by its id as the first one did. Must not hold anything of length:
prompts are cut.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from zlib import compress, decompressobj, error as ZlibError  # noqa: N812  it is an exception

import msgspec

from groxy.core.errors import ErrorKind, GroxyError

_OPENAI = "video_"
_OTHER = "sandbox-"
_MAX_ID = 1000
_MAX_BYTES = 2000
_MOST_SIDE = 4096
_MOST_S = 20
_MOST_TAKES_S = 3600
PICTURE_TYPES = ("image/jpeg", "image/png", "image/webp")
MOST_CAPTION = 48
MOST_MODEL = 60


class Ticket(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A picture or a film that was ordered."""

    seed: bytes
    caption: str
    model: str
    width: int
    height: int
    resolution: str
    content_type: str = ""
    number: int = 0
    """Of a picture: which one of its order. Of a film: which one of this process."""
    count: int = 1
    duration_s: int = 0
    created_ms: int = 0
    takes_s: float = 0.0
    fault: str = ""
    """How a film ends, if not well."""
    words: str = ""
    """What goes wrong with its content, as a script."""
    cost_ticks: int | None = None
    is_openai: bool = False


_decoder = msgspec.msgpack.Decoder(Ticket)


def id_of(ticket: Ticket) -> str:
    """Return the id of a picture or film."""
    packed = urlsafe_b64encode(compress(msgspec.msgpack.encode(ticket), 9)).decode().rstrip("=")
    return (_OPENAI if ticket.is_openai else _OTHER) + packed


def ticket_of(wanted: str) -> Ticket:
    """Return what an id stands for; raise NOT_FOUND for one that no sandbox gave out."""
    packed = wanted.removeprefix(_OPENAI).removeprefix(_OTHER)
    if packed != wanted and len(wanted) <= _MAX_ID and packed.isascii():
        try:
            squeezed = urlsafe_b64decode(packed + "=" * (-len(packed) % 4))
            unpacking = decompressobj()
            ticket = _decoder.decode(unpacking.decompress(squeezed, _MAX_BYTES))
            if unpacking.eof and _is_sound(ticket):
                return ticket
        except (ValueError, ZlibError, msgspec.MsgspecError):
            pass
    raise GroxyError(ErrorKind.NOT_FOUND, "There is no such picture or film here.")


def _is_sound(ticket: Ticket) -> bool:
    """True for what this sandbox may have written: nobody gets a picture of absurd size."""
    is_picture = ticket.duration_s == 0 and ticket.content_type in PICTURE_TYPES
    sides = (ticket.width, ticket.height)
    return (
        (is_picture or 0 < ticket.duration_s <= _MOST_S)
        and all(0 < side <= _MOST_SIDE for side in sides)
        and 0 <= ticket.takes_s <= _MOST_TAKES_S
    )

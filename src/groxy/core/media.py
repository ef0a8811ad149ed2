"""Pictures and films as values: what is asked for, and what comes of it.

In: nothing. Out: requests that dialects read and upstreams write, results that upstreams read and
dialects write. Knows no wire format; money is in ticks, sizes in bytes, times in seconds.
"""

from enum import Enum

import msgspec


class ImageRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Pictures that are asked for."""

    model: str
    """As the caller names it."""
    prompt: str
    count: int = 1
    aspect_ratio: str = ""
    """Such as `16:9`; empty for the model's own choice."""
    resolution: str = ""
    """`1k` or `2k`; empty for the model's own choice."""
    quality: str = ""
    """low, medium, high; empty for the model's own choice."""
    images: tuple[str, ...] = ()
    """References, as data URIs: of an edit one at least. Their content has been checked."""
    mask: str = ""
    """What of the first picture is to be changed, as a data URI."""
    user: str = ""
    max_cost_ticks: int | None = None
    """The most that the caller wants to pay; no upstream is told."""

    @property
    def is_edit(self) -> bool:
        """True when pictures are to be changed, and not made from words alone."""
        return bool(self.images)


class MadeImage(msgspec.Struct, frozen=True, kw_only=True):
    """One picture of a reply: where it is, or what it is."""

    url: str = ""
    content: bytes = b""
    content_type: str = ""
    """Empty where the upstream did not say."""
    refused: str = ""
    """Why there is no picture, in the upstream's words made safe; empty where there is one."""
    revised_prompt: str = ""


class MadeImages(msgspec.Struct, frozen=True, kw_only=True):
    """The pictures of one reply, those that were refused among them."""

    images: tuple[MadeImage, ...]
    cost_ticks: int | None = None
    """The upstream's own bill; None where it gave none."""


class VideoRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A film that is asked for."""

    model: str
    prompt: str
    duration_s: int = 6
    aspect_ratio: str = ""
    resolution: str = ""
    """480p, 720p, 1080p; empty for the model's own choice."""
    preset: str = ""
    """fun, normal, spicy, custom; empty for none."""
    images: tuple[str, ...] = ()
    """References, as data URIs; the first one is the first frame where the upstream has that."""
    user: str = ""
    max_cost_ticks: int | None = None
    """The most that the caller wants to pay; no upstream is told."""


class FilmStatus(Enum):
    """How far an upstream is with a film."""

    PENDING = "pending"
    DONE = "done"
    FAILED = "failed"


class FilmState(msgspec.Struct, frozen=True, kw_only=True):
    """What an upstream says of a film it makes."""

    status: FilmStatus
    progress: int = 0
    """In percent."""
    url: str = ""
    """Where the film is, once it is done; relative to the account's address if it has no scheme."""
    duration_s: float = 0.0
    cost_ticks: int | None = None
    error: str = ""
    """Why it failed, in words fit for a caller."""
    is_refused: bool = False
    """True when it failed because the request broke the upstream's rules."""


class MediaCall(msgspec.Struct, frozen=True, kw_only=True):
    """A request for media as an upstream takes it."""

    path: str
    """Below the account's address, such as `/images/generations`."""
    body: bytes = b""
    content_type: str = "application/json"
    method: str = "POST"
    adjusted: tuple[str, ...] = ()
    """What was changed for this upstream, for `x-groxy-adjusted`."""

"""What making a film tells on its way: how far it is, and at last the film.

In: nothing. Out: values, and the protocol of who makes films for a request that waits for them. It
must not decide anything.
"""

from collections.abc import AsyncGenerator, Callable
from typing import Protocol

import msgspec

from groxy.core.media import VideoRequest
from groxy.gateway.means import Call
from groxy.store.media import Stored


class FilmProgress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a film is."""

    percent: int = 0


class Film(msgspec.Struct, frozen=True, kw_only=True):
    """A film that is made."""

    stored: Stored
    """Where it is on the shelf."""
    duration_s: float = 0.0
    cost_ticks: int = 0


class Filmer(Protocol):
    """Makes films."""

    def film(
        self, call: Call, request: VideoRequest, *, has_left: Callable[[], bool]
    ) -> AsyncGenerator[FilmProgress | Film, None]:
        """Make a film: yield how far it is, whenever that changes, and last the film.

        The request is in the books when the film comes, or when this raises what the caller is
        told. Who stops iterating gives up the film, and pays what is made of it if `has_left` says
        then that it was the caller who left.
        """
        ...

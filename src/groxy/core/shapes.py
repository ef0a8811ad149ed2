"""Shapes as callers name them: a size, an aspect ratio and a resolution together.

In: the three fields as they came, and which values a kind of media knows. Out: aspect ratio and
resolution; or BAD_REQUEST that names the field at fault and lists what is known.
"""

from collections.abc import Callable
from dataclasses import dataclass

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.sizes import (
    KNOWN_FILM_RATIOS,
    KNOWN_FILM_RESOLUTIONS,
    KNOWN_RATIOS,
    KNOWN_RESOLUTIONS,
    read_film_size,
    read_size,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shapes:
    """What a kind of media knows."""

    ratios: tuple[str, ...]
    resolutions: tuple[str, ...]
    read_size: Callable[[str], tuple[str, str]]
    """Returns aspect ratio and resolution of a size; raises `ValueError`."""
    resolution_field: str
    """What callers name the resolution in."""

    def read(
        self, size: str | None, aspect_ratio: str | None, resolution: str | None, *, where: str = ""
    ) -> tuple[str, str]:
        """Return aspect ratio and resolution; what is named outright counts more than the size.

        `where` is put before a field's name when it is at fault, such as `image_config.`.
        """
        ratio, detail = "", ""
        if size:
            try:
                ratio, detail = self.read_size(size)
            except ValueError as error:
                raise _bad(f"{where}size", f"is wrong: {error}") from None
        if aspect_ratio:
            if aspect_ratio not in self.ratios:
                raise _bad(f"{where}aspect_ratio", f"must be one of {', '.join(self.ratios)}")
            ratio = aspect_ratio
        if resolution:
            detail = resolution.lower()
            if detail not in self.resolutions:
                known = f"must be one of {', '.join(self.resolutions)}"
                raise _bad(f"{where}{self.resolution_field}", known)
        return ratio, detail


def _bad(param: str, what: str) -> GroxyError:
    return GroxyError(ErrorKind.BAD_REQUEST, f"`{param}` {what}.", param=param)


PICTURE_SHAPES = Shapes(
    ratios=KNOWN_RATIOS,
    resolutions=KNOWN_RESOLUTIONS,
    read_size=read_size,
    resolution_field="resolution",
)
FILM_SHAPES = Shapes(
    ratios=KNOWN_FILM_RATIOS,
    resolutions=KNOWN_FILM_RESOLUTIONS,
    read_size=read_film_size,
    resolution_field="resolution_name",
)

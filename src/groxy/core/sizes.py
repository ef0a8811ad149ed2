"""Sizes of pictures and films: pixels as OpenAI names them, shapes and resolutions as xAI does.

In: a size such as `1792x1024`, or an aspect ratio and a resolution. Out: the other form. A size is
known or it is an error: nobody gets another shape than the one that was asked for. Must not know
who takes which form.
"""

from collections.abc import Mapping
from math import log

AUTO = "auto"
KNOWN_RATIOS = (
    "1:1",
    "16:9",
    "9:16",
    "4:3",
    "3:4",
    "3:2",
    "2:3",
    "2:1",
    "1:2",
    "19.5:9",
    "9:19.5",
    "20:9",
    "9:20",
    AUTO,
)
"""Shapes of pictures (xAI's OpenAPI document, 2026-08)."""
KNOWN_FILM_RATIOS = KNOWN_RATIOS[:7]
"""Shapes of films (xAI's OpenAPI document, 2026-08)."""
KNOWN_RESOLUTIONS = ("1k", "2k")
KNOWN_FILM_RESOLUTIONS = ("480p", "720p", "1080p")

_Sizes = Mapping[str, tuple[str, str]]
_PICTURES: _Sizes = {
    AUTO: ("", ""),
    "1024x1024": ("1:1", "1k"),
    # 7:4, which is no shape of xAI's; 16:9 is 1.6 % off, the next one 14 %.
    "1792x1024": ("16:9", "1k"),
    "1024x1792": ("9:16", "1k"),
    "1280x720": ("16:9", "1k"),
    "720x1280": ("9:16", "1k"),
    "1536x1024": ("3:2", "1k"),
    "1024x1536": ("2:3", "1k"),
    "1024x768": ("4:3", "1k"),
    "768x1024": ("3:4", "1k"),
    "512x512": ("1:1", "1k"),
    "256x256": ("1:1", "1k"),
    "2048x2048": ("1:1", "2k"),
    "2048x1152": ("16:9", "2k"),
    "1152x2048": ("9:16", "2k"),
    "2048x1024": ("2:1", "2k"),
    "1024x2048": ("1:2", "2k"),
}
"""Of sizes that mean the same, the first is the one that `size_for` returns."""
_FILMS: _Sizes = {
    AUTO: ("", ""),
    "1280x720": ("16:9", "720p"),
    "720x1280": ("9:16", "720p"),
    "720x720": ("1:1", "720p"),
    "1024x1024": ("1:1", "720p"),
    "1792x1024": ("16:9", "720p"),
    "1024x1792": ("9:16", "720p"),
    "960x720": ("4:3", "720p"),
    "720x960": ("3:4", "720p"),
    "1080x720": ("3:2", "720p"),
    "720x1080": ("2:3", "720p"),
    "1920x1080": ("16:9", "1080p"),
    "1080x1920": ("9:16", "1080p"),
    "1080x1080": ("1:1", "1080p"),
    "1440x1080": ("4:3", "1080p"),
    "1080x1440": ("3:4", "1080p"),
    "1620x1080": ("3:2", "1080p"),
    "1080x1620": ("2:3", "1080p"),
    "854x480": ("16:9", "480p"),
    "848x480": ("16:9", "480p"),
    "480x854": ("9:16", "480p"),
    "480x848": ("9:16", "480p"),
    "480x480": ("1:1", "480p"),
    "640x480": ("4:3", "480p"),
    "480x640": ("3:4", "480p"),
    "720x480": ("3:2", "480p"),
    "480x720": ("2:3", "480p"),
}
"""Sides of a film's frame are even numbers: most codecs take no others."""
KNOWN_SIZES = tuple(_PICTURES)
KNOWN_FILM_SIZES = tuple(_FILMS)


def read_size(text: str) -> tuple[str, str]:
    """Return the aspect ratio and the resolution of a picture's size; `auto`: both empty.

    An aspect ratio in place of a size is taken as one. Raises `ValueError` that lists the known
    sizes for any other.
    """
    return _read(text, _PICTURES, KNOWN_RATIOS)


def read_film_size(text: str) -> tuple[str, str]:
    """Return the aspect ratio and the resolution of a film's size, as `read_size` does."""
    return _read(text, _FILMS, KNOWN_FILM_RATIOS)


def size_for(aspect_ratio: str, resolution: str) -> str:
    """Return the size of a picture that comes nearest to this shape and resolution.

    Without a resolution, or with one that has no such shape, the shape decides. Returns an empty
    text where no shape is asked for, `auto` included: then the upstream chooses.
    """
    return _nearest(aspect_ratio, resolution or KNOWN_RESOLUTIONS[0], _PICTURES)


def film_size_for(aspect_ratio: str, resolution: str) -> str:
    """Return the size of a film of this shape and resolution; empty where neither is asked for.

    A resolution alone means 16:9, a shape alone 720p.
    """
    if not resolution and aspect_ratio in ("", AUTO):
        return ""
    shape = "16:9" if aspect_ratio in ("", AUTO) else aspect_ratio
    return _nearest(shape, resolution or "720p", _FILMS)


def pixels_of(size: str) -> tuple[int, int]:
    """Return the width and height of a size such as `1024x768`; raise `ValueError`."""
    width, _, height = size.partition("x")
    return int(width), int(height)


def proportion_of(aspect_ratio: str) -> float:
    """Return width by height of an aspect ratio such as `16:9`; raise `ValueError`."""
    width, _, height = aspect_ratio.partition(":")
    if not float(width) > 0 or not float(height) > 0:
        raise ValueError(f"no aspect ratio: {aspect_ratio!r}")
    return float(width) / float(height)


def _read(text: str, sizes: _Sizes, ratios: tuple[str, ...]) -> tuple[str, str]:
    size = text.strip().lower()
    if size in sizes:
        return sizes[size]
    if size in ratios:
        return size, ""
    raise ValueError(f"unknown size {text[:40]!r}; known are {', '.join(sizes)}")


def _nearest(aspect_ratio: str, resolution: str, sizes: _Sizes) -> str:
    if aspect_ratio in ("", AUTO):
        return ""
    wanted = log(proportion_of(aspect_ratio))

    def distance(size: str) -> tuple[float, bool]:
        ratio, has = sizes[size]
        # Rounded, so that the same shape in two resolutions is equally far.
        return round(abs(log(proportion_of(ratio)) - wanted), 6), has != resolution

    return min((size for size in sizes if size != AUTO), key=distance)

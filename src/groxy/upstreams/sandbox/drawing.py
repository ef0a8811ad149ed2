"""Pictures: what the sandbox draws in place of what a model would.

In: a `Sheet`. Out: a real JPEG, PNG or WebP, the same for the same sheet: colours and shapes come
from its seed, its words are written on it, its references are shown small. Takes some 50 ms; not
for the event loop. Must not decode a reference of absurd size.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from io import BytesIO
from textwrap import wrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont, ImageFont

_MOST_PIXELS = 50_000_000
_MOST_SHOWN = 4
_SHAPES = 5
_LINES = 4
_WHITE = (255, 255, 255)
_GREY = (128, 128, 128)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """What is to be on a picture."""

    seed: bytes
    caption: str
    note: str = ""
    """Small, below the caption."""
    width: int
    height: int
    references: tuple[bytes, ...] = field(default=(), repr=False)


def picture(sheet: Sheet, content_type: str) -> bytes:
    """Return a drawn picture in the format of `content_type`."""
    out = BytesIO()
    drawn = draw(sheet)
    drawn.save(out, content_type.removeprefix("image/").upper(), quality=85)
    return out.getvalue()


def draw(sheet: Sheet, *, fills_frame: bool = False) -> "Image":
    """Return a drawn picture; `fills_frame`: the first reference is its background."""
    from PIL import Image, ImageDraw, ImageOps  # noqa: PLC0415 - loaded with the first picture

    size = (sheet.width, sheet.height)
    numbers = _numbers(sheet.seed)
    ground = Image.new("RGB", (2, 2))
    for at in ((0, 0), (1, 0), (0, 1), (1, 1)):
        ground.putpixel(at, (next(numbers), next(numbers), next(numbers)))
    drawn = ground.resize(size, Image.Resampling.BICUBIC)
    shown = [_opened(content) for content in sheet.references[:_MOST_SHOWN]]
    if fills_frame and shown:
        drawn = ImageOps.fit(shown.pop(0), size)
    pen = ImageDraw.Draw(drawn)
    if not sheet.references:
        _add_shapes(pen, sheet, numbers)
    side = min(size) // 4
    for place, one in enumerate(shown):
        small = ImageOps.expand(
            ImageOps.fit(one, (side, side)), border=max(2, side // 40), fill=_WHITE
        )
        drawn.paste(
            small, (side // 8 + place * (side + side // 8), sheet.height - side - side // 4)
        )
    _write(pen, sheet)
    return drawn


def _add_shapes(pen: "ImageDraw", sheet: Sheet, numbers: Iterator[int]) -> None:
    scale = min(sheet.width, sheet.height)
    for _ in range(_SHAPES):
        radius = scale * (20 + next(numbers) % 80) // 600
        x = sheet.width * next(numbers) // 255
        y = sheet.height * (80 + next(numbers) % 160) // 255
        colour = (next(numbers), next(numbers), next(numbers))
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)


def _write(pen: "ImageDraw", sheet: Sheet) -> None:
    points = max(10, min(sheet.width, sheet.height) // 20)
    # Letters are about half as wide as they are high.
    letters = max(8, int(sheet.width / points / 0.55))
    lines = wrap(sheet.caption, letters)[:_LINES]
    if sheet.note:
        lines.append(sheet.note[:letters])
    for number, line in enumerate(lines):
        at = (points, points + number * points * 4 // 3)
        pen.text(at, line, font=_font(points), fill=_WHITE, stroke_width=2, stroke_fill=(0, 0, 0))


def _opened(content: bytes) -> "Image":
    """Return a reference as a picture; a grey one for what is none, or too large."""
    from PIL import Image  # noqa: PLC0415 - loaded with the first picture

    try:
        opened = Image.open(BytesIO(content))
        if opened.width * opened.height <= _MOST_PIXELS:
            opened.draft("RGB", (1024, 1024))  # Of a JPEG, no more is decoded than is shown.
            return opened.convert("RGB")
    except Exception:  # noqa: BLE001, S110  Pillow raises anything for a broken file
        pass
    return Image.new("RGB", (64, 64), _GREY)


@lru_cache(maxsize=16)
def _font(points: int) -> "FreeTypeFont | ImageFont":
    from PIL import ImageFont  # noqa: PLC0415 - loaded with the first picture

    return ImageFont.load_default(points)


def _numbers(seed: bytes) -> Iterator[int]:
    """Yield numbers from 0 to 255 without end, the same for the same seed."""
    while True:
        seed = blake2b(seed, digest_size=32).digest()
        yield from seed

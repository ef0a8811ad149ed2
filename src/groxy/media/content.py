"""What bytes really are: pictures and films are known by their content, never by a name.

In: bytes of a stranger. Out: their media type and size, or BAD_REQUEST that names the field.
Pictures are decoded to know that they are whole, and of large ones one at a time, so that a
small file which unpacks to gigabytes costs neither memory nor the picture of somebody else. What is
here takes time: call it from a thread.
"""

import base64
import struct
import threading
import zlib
from dataclasses import dataclass
from io import BytesIO

from groxy.core.errors import ErrorKind, GroxyError

MAX_PIXELS = 50_000_000
_LARGE_PIXELS = 4_000_000
_decoding_large = threading.Lock()

_FORMATS = {
    "image/jpeg": "JPEG",
    "image/png": "PNG",
    "image/webp": "WEBP",
    "image/gif": "GIF",
}
_ENDINGS = {
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/webp": ".webp",
    "image/gif": ".gif",
    "video/mp4": ".mp4",
    "video/webm": ".webm",
    "video/quicktime": ".mov",
}
_NO_VIDEO_BRANDS = (b"heic", b"heix", b"mif1", b"msf1", b"avif", b"avis", b"crx ")
"""ISO files that hold pictures."""
_WEBM_HEAD_BYTES = 64
_UNREADABLE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    ArithmeticError,
    NotImplementedError,
    RuntimeError,
    MemoryError,
    struct.error,
    zlib.error,
)
"""What Pillow raises for broken files; every format has its own."""


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What a picture is."""

    content_type: str
    width: int
    height: int


def sniff_image(data: bytes) -> str:
    """Return the media type that a picture begins like; empty for what is none of ours."""
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return ""


def sniff_video(data: bytes) -> str:
    """Return the media type that a film begins like; empty for what is none of ours."""
    if data[4:8] == b"ftyp":
        brand = data[8:12]
        if brand == b"qt  ":
            return "video/quicktime"
        return "" if brand in _NO_VIDEO_BRANDS or brand.startswith(b"M4A") else "video/mp4"
    # Matroska has the same beginning; the name of the kind stands in the first element.
    if data.startswith(b"\x1aE\xdf\xa3") and b"webm" in data[:_WEBM_HEAD_BYTES]:
        return "video/webm"
    return ""


def check_image(
    data: bytes, *, max_bytes: int, max_pixels: int = MAX_PIXELS, param: str
) -> ImageFacts:
    """Return what a picture is: a whole JPEG, PNG, WebP or GIF of a bounded size.

    Raises BAD_REQUEST that names the request's field `param`.
    """
    if not data:
        raise _unfit(param, "is empty. Send a JPEG, PNG, WebP or GIF picture.")
    if len(data) > max_bytes:
        raise _unfit(param, f"has {len(data):,} bytes; {max_bytes:,} are the most. Send less.")
    content_type = sniff_image(data)
    if not content_type:
        raise _unfit(param, "is no JPEG, PNG, WebP or GIF picture, whatever its name says.")
    width, height = _size_of(data, content_type, param)
    if width * height > max_pixels:
        said = f"has {width} × {height} pixels; {max_pixels:,} are the most. Send a smaller one."
        raise _unfit(param, said)
    if width * height > _LARGE_PIXELS:
        with _decoding_large:
            _decode(data, content_type, param)
    else:
        _decode(data, content_type, param)
    return ImageFacts(content_type, width, height)


def ending_of(content_type: str) -> str:
    """Return what the name of a file of this type usually ends with; `.bin` for unknown ones."""
    return _ENDINGS.get(content_type, ".bin")


def data_uri(data: bytes, content_type: str) -> str:
    """Return content as a `data:` URI."""
    return f"data:{content_type};base64,{base64.b64encode(data).decode()}"


def _size_of(data: bytes, content_type: str, param: str) -> tuple[int, int]:
    """Return what the header says, before anything is unpacked."""
    from PIL import Image  # noqa: PLC0415 - takes a tenth of a second, and few need it

    # Pillow would only warn, and later than we refuse.
    Image.MAX_IMAGE_PIXELS = None
    try:
        with Image.open(BytesIO(data), formats=[_FORMATS[content_type]]) as picture:
            return picture.size
    except _UNREADABLE:
        raise _broken(content_type, param) from None


def _decode(data: bytes, content_type: str, param: str) -> None:
    """Read a picture to its end; of one that moves, the first frame."""
    from PIL import Image  # noqa: PLC0415 - see above

    try:
        with Image.open(BytesIO(data), formats=[_FORMATS[content_type]]) as picture:
            # Of a JPEG an eighth of each side is enough to have read all of it.
            picture.draft("L", (1, 1))
            picture.load()
    except _UNREADABLE:
        raise _broken(content_type, param) from None


def _broken(content_type: str, param: str) -> GroxyError:
    name = _FORMATS[content_type]
    return _unfit(param, f"begins like a {name} picture but is cut off or damaged. Send it whole.")


def _unfit(param: str, what: str) -> GroxyError:
    return GroxyError(ErrorKind.BAD_REQUEST, f"`{param}` {what}", param=param)

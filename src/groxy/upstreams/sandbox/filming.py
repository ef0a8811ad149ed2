"""Films: a real MP4 with a moving picture, made in place of what a model would film.

In: a `Sheet` and a length. Out: the bytes of an MP4, the same for the same sheet. H.264 where the
encoder is there, else MPEG-4 part 2. Six seconds in 720p take half a second of one core; not for
the event loop. There is no sound.
"""

from io import BytesIO
from typing import TYPE_CHECKING, cast

from groxy.upstreams.sandbox.drawing import Sheet, draw

if TYPE_CHECKING:
    from av import VideoFrame, VideoStream
    from PIL.Image import Image

FRAMES_PER_S = 8
"""Few, because it is enough to see that it moves."""
_CODECS = ("libx264", "mpeg4")
# One thread: a film is short, and others want the cores too.
_OPTIONS = {"libx264": {"preset": "ultrafast", "crf": "30", "threads": "1"}}


def film(sheet: Sheet, duration_s: int) -> bytes:
    """Return a film of so many seconds; the sheet's first reference is its background."""
    import av  # noqa: PLC0415 - loaded with the first film

    out = BytesIO()
    codec = _codec()
    still = draw(sheet, fills_frame=True)
    count = duration_s * FRAMES_PER_S
    with av.open(out, "w", format="mp4") as container:
        added = container.add_stream(codec, rate=FRAMES_PER_S, options=_OPTIONS.get(codec, {}))
        stream = cast("VideoStream", added)
        stream.width, stream.height, stream.pix_fmt = sheet.width, sheet.height, "yuv420p"
        for number in range(count):
            container.mux(stream.encode(_at(still, number / max(1, count - 1))))
        container.mux(stream.encode())
    return out.getvalue()


def _codec() -> str:
    import av  # noqa: PLC0415 - loaded with the first film

    for name in _CODECS[:-1]:
        try:
            av.codec.Codec(name, "w")
        except ValueError:  # av.codec.codec.UnknownCodecError
            continue
        return name
    return _CODECS[-1]


def _at(still: "Image", share: float) -> "VideoFrame":
    """Return the frame after a share of the film: a ball has rolled, and a bar has grown."""
    from av import VideoFrame  # noqa: PLC0415 - loaded with the first film
    from PIL import ImageDraw  # noqa: PLC0415 - loaded with the first film

    frame = still.copy()
    pen = ImageDraw.Draw(frame)
    size = min(frame.size) // 8
    x = round((frame.width - size) * share)
    y = frame.height // 2
    pen.ellipse((x, y, x + size, y + size), fill=(255, 255, 255), outline=(0, 0, 0))
    pen.rectangle(
        (0, frame.height - 8, round(frame.width * share), frame.height), fill=(255, 80, 0)
    )
    made: VideoFrame = VideoFrame.from_image(frame)  # type: ignore[no-untyped-call]
    return made

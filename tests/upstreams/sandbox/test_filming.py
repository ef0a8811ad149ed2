"""Films that the sandbox makes."""

from io import BytesIO

import av
import pytest

from groxy.upstreams.sandbox import filming
from groxy.upstreams.sandbox.drawing import Sheet
from groxy.upstreams.sandbox.filming import FRAMES_PER_S, film
from tests.upstreams.sandbox.media_asking import JPEG

SHEET = Sheet(seed=b"seed", caption="a red panda", width=320, height=192)


def _played(content):
    """Codec, size, seconds and frames of a film."""
    with av.open(BytesIO(content), "r") as container:
        stream = container.streams.video[0]
        frames = [frame.to_image() for frame in container.decode(video=0)]
        return stream.codec_context.name, (container.duration or 0) / 1_000_000, frames


def test_a_film_can_be_played_and_is_as_long_as_was_asked_for():
    content = film(SHEET, 3)
    assert content[4:8] == b"ftyp"
    codec, seconds, frames = _played(content)
    assert codec == "h264"
    assert seconds == pytest.approx(3, abs=0.1)
    assert len(frames) == 3 * FRAMES_PER_S
    assert all(frame.size == (320, 192) for frame in frames)
    assert frames[0].tobytes() != frames[-1].tobytes()


def test_the_same_sheet_is_the_same_film():
    assert film(SHEET, 1) == film(SHEET, 1)


def test_without_its_encoder_a_film_has_another_codec(monkeypatch):
    monkeypatch.setattr(filming, "_CODECS", ("no-such-codec", "mpeg4"))
    codec, seconds, _ = _played(film(SHEET, 1))
    assert codec == "mpeg4"
    assert seconds == pytest.approx(1, abs=0.1)


def test_a_first_frame_is_the_background():
    sheet = Sheet(seed=b"s", caption="", width=320, height=192, references=(JPEG,))
    _, _, frames = _played(film(sheet, 1))
    red, green, blue = frames[0].getpixel((300, 20))
    assert red > 150
    assert green < 90
    assert blue < 110

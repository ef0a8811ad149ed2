"""Pictures are what their bytes are, whole and of a bounded size."""

import struct
import tracemalloc
import zlib
from io import BytesIO

import pytest
from hypothesis import given, settings, strategies as st
from PIL import Image

from groxy.core.errors import ErrorKind, GroxyError
from groxy.media.content import (
    ImageFacts,
    check_image,
    data_uri,
    ending_of,
    sniff_image,
    sniff_video,
)

FORMATS = ("JPEG", "PNG", "WEBP", "GIF")


def drawn(name, size=(40, 30), mode="RGB"):
    """Return a picture with noise in it, so that there is something to cut."""
    noise = Image.effect_noise(size, 90).convert(mode)
    file = BytesIO()
    noise.save(file, name)
    return file.getvalue()


PICTURES = {name: drawn(name) for name in FORMATS}


def refusal_of(data, **changes):
    with pytest.raises(GroxyError) as caught:
        check_image(data, **{"max_bytes": 1_000_000, "param": "image.0", **changes})
    assert (caught.value.kind, caught.value.param) == (ErrorKind.BAD_REQUEST, "image.0")
    assert "`image.0`" in caught.value.message
    return caught.value.message


@pytest.mark.parametrize("name", FORMATS)
def test_a_picture_is_known_by_its_content(name):
    data = PICTURES[name]
    facts = check_image(data, max_bytes=len(data), param="image")

    assert facts == ImageFacts(f"image/{name.lower()}", 40, 30)
    assert sniff_image(data) == facts.content_type


@pytest.mark.parametrize(
    ("name", "mode"), [("PNG", "RGBA"), ("PNG", "P"), ("PNG", "1"), ("PNG", "I;16"), ("JPEG", "L")]
)
def test_every_usual_kind_of_picture_is_taken(name, mode):
    assert check_image(drawn(name, mode=mode), max_bytes=10**6, param="image").width == 40


def test_a_picture_that_moves_is_taken():
    frames = [Image.new("RGB", (20, 10), colour) for colour in ("red", "blue")]
    file = BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])

    assert check_image(file.getvalue(), max_bytes=10**6, param="image").height == 10


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_a_picture_that_is_cut_off_is_refused(name, part):
    data = PICTURES[name]

    assert "cut off" in refusal_of(data[: max(int(len(data) * part), 13)])


@pytest.mark.parametrize("name", FORMATS)
def test_a_beginning_alone_is_no_picture(name):
    assert "cut off" in refusal_of(PICTURES[name][:12] + b"\x00" * 500)


@pytest.mark.parametrize(
    "data",
    [b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%PDF-1.7", b"BM" + b"\0" * 60, b"x", b"\0"],
)
def test_other_things_are_refused(data):
    assert "no JPEG, PNG, WebP or GIF" in refusal_of(data)


def test_nothing_is_refused():
    assert "is empty" in refusal_of(b"")


def test_a_picture_of_too_many_bytes_is_refused_before_it_is_looked_at():
    assert "2,000,000 bytes" in refusal_of(b"\xff" * 2_000_000)


def png_of_zeros(width, height):
    """Return a valid PNG of one colour: a thousandth of its pixels in bytes."""

    def chunk(kind, content):
        checked = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checked)

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pack = zlib.compressobj(9)
    row = b"\0" * (1 + 3 * width)
    packed = b"".join(pack.compress(row) for _ in range(height)) + pack.flush()
    body = chunk(b"IHDR", head) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def test_a_bomb_is_refused_and_never_unpacked():
    bomb = png_of_zeros(8_000, 8_000)
    assert len(bomb) < 300_000

    tracemalloc.start()
    try:
        message = refusal_of(bomb)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert "8000 × 8000 pixels" in message
    assert most < 5_000_000


def test_a_bomb_that_only_claims_its_size_is_refused():
    head = struct.pack(">IIBBBBB", 2**31 - 1, 2**31 - 1, 8, 6, 0, 0, 0)
    checked = struct.pack(">I", zlib.crc32(b"IHDR" + head))
    refusal_of(b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + head + checked)


def test_a_large_picture_within_the_bounds_is_taken():
    assert check_image(png_of_zeros(3_000, 2_000), max_bytes=10**6, param="x").width == 3_000


@given(st.sampled_from(FORMATS), st.integers(0, 10**6), st.binary(min_size=1, max_size=8))
@settings(max_examples=150, deadline=None)
def test_a_damaged_picture_is_taken_or_refused_but_breaks_nothing(name, at, garbage):
    data = bytearray(PICTURES[name])
    at %= len(data)
    data[at : at + len(garbage)] = garbage
    try:
        check_image(bytes(data), max_bytes=10**6, param="image")
    except GroxyError as error:
        assert error.kind is ErrorKind.BAD_REQUEST  # noqa: PT017 - both ends are right


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"\0\0\0\x20ftypisom\0\0\2\0", "video/mp4"),
        (b"\0\0\0\x20ftypmp42\0\0\2\0", "video/mp4"),
        (b"\0\0\0\x20ftypqt  \0\0\2\0", "video/quicktime"),
        (b"\0\0\0\x20ftypheic\0\0\2\0", ""),
        (b"\0\0\0\x20ftypM4A \0\0\2\0", ""),
        (b"\x1aE\xdf\xa3\x9fB\x86\x81\x01B\x82\x84webm", "video/webm"),
        (b"\x1aE\xdf\xa3\x9fB\x86\x81\x01B\x82\x88matroska", ""),
        (b"<html>", ""),
        (b"", ""),
    ],
)
def test_a_film_is_known_by_its_content(data, found):
    assert sniff_video(data) == found


def test_content_is_written_as_a_uri():
    assert data_uri(b"\xff\xfe", "image/png") == "data:image/png;base64,//4="


def test_files_are_called_as_usual():
    assert ending_of("image/jpeg") == ".jpg"
    assert ending_of("text/html") == ".bin"

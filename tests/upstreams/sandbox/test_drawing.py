"""Pictures that the sandbox draws."""

from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from groxy.upstreams.sandbox.drawing import Sheet, draw, picture
from tests.upstreams.sandbox.media_asking import JPEG, jpeg


def _sheet(**values):
    usual: dict[str, Any] = {"seed": b"seed", "caption": "a red panda", "width": 320, "height": 192}
    return Sheet(**(usual | values))


@pytest.mark.parametrize("content_type", ["image/jpeg", "image/png", "image/webp"])
def test_a_picture_is_real_and_has_its_type_and_size(content_type):
    content = picture(_sheet(), content_type)
    with Image.open(BytesIO(content)) as opened:
        opened.load()
        assert opened.format == content_type.removeprefix("image/").upper()
        assert opened.size == (320, 192)
        assert opened.mode == "RGB"


def test_the_same_sheet_is_the_same_picture_and_another_is_another():
    first = picture(_sheet(), "image/png")
    assert picture(_sheet(), "image/png") == first
    for change in ({"seed": b"other"}, {"caption": "other"}, {"references": (JPEG,)}):
        assert picture(_sheet(**change), "image/png") != first


def test_a_reference_is_small_on_an_edit_and_large_behind_a_film():
    red = jpeg(colour=(255, 0, 0))
    sheet = _sheet(references=(red,), caption="")

    def reds(drawn):
        return sum(
            count
            for count, (r, g, b) in drawn.getcolors(drawn.width * drawn.height)
            if r > 240 and g < 20 and b < 20
        ) / (drawn.width * drawn.height)

    assert 0.01 < reds(draw(sheet)) < 0.2
    assert reds(draw(sheet, fills_frame=True)) > 0.9


@pytest.mark.parametrize("broken", [b"", b"https://example.com/a", JPEG[:50], b"\x89PNG\r\n\x1a\n"])
def test_a_reference_that_cannot_be_opened_is_a_grey_square(broken):
    assert draw(_sheet(references=(broken,))).size == (320, 192)


def test_a_reference_of_absurd_size_is_not_decoded():
    out = BytesIO()
    Image.new("1", (9000, 9000)).save(out, "PNG")
    assert draw(_sheet(references=(out.getvalue(),)), fills_frame=True).size == (320, 192)


@pytest.mark.parametrize("caption", ["", "x" * 1000, "多语言 текст 🐼", "a\nb\tc", "\x00"])
def test_any_caption_can_be_written(caption):
    assert draw(_sheet(caption=caption)).size == (320, 192)


def test_a_tiny_picture_can_be_drawn():
    assert draw(_sheet(width=16, height=16, references=(JPEG,) * 9)).size == (16, 16)

"""Pictures to start from are had from wherever they are, and are pictures."""

import base64
from io import BytesIO

import pytest
from PIL import Image

from groxy.core.errors import ErrorKind, GroxyError
from groxy.gateway.references import References
from tests.gateway.darkroom import JPEG, MIB, PNG, PNG_URI, links, picture, shelf_in
from tests.gateway.test_results import Outside

BASE = "http://127.0.0.1:8000"


def uri(content, declared="image/png"):
    return f"data:{declared};base64,{base64.b64encode(content).decode()}"


@pytest.fixture
async def shelf(tmp_path):
    async with shelf_in(tmp_path) as opened:
        yield opened


@pytest.fixture
def outside():
    return Outside()


@pytest.fixture
def references(shelf, outside):
    return References(shelf, links(), outside, max_image_bytes=MIB)


async def read(references, reference, owner="key-1", base_url=BASE):
    return await references.read(reference, param="image.0", owner=owner, base_url=base_url)


async def error_of(references, reference, **more):
    with pytest.raises(GroxyError) as caught:
        await read(references, reference, **more)
    return caught.value


async def test_a_data_uri_is_what_its_content_is(references):
    assert await read(references, uri(JPEG, "image/png")) == uri(JPEG, "image/jpeg")
    assert await read(references, PNG_URI) == PNG_URI


async def test_a_url_is_fetched_as_a_strangers(references, outside):
    assert await read(references, "https://example.com/cat.png") == PNG_URI
    assert outside.asked == [("https://example.com/cat.png", ("image/",))]


async def test_a_link_of_ours_is_read_from_the_shelf(references, shelf, outside):
    stored = await shelf.put("image", JPEG, content_type="image/jpeg", owner="somebody")
    link = links().of(stored, BASE)
    assert await read(references, link) == uri(JPEG, "image/jpeg")
    assert not outside.asked


async def test_a_link_at_the_address_of_the_settings_is_ours_too(shelf, outside):
    ours = links("https://media.example.com", ttl_s=60)
    references = References(shelf, ours, outside, max_image_bytes=MIB)
    stored = await shelf.put("image", PNG, content_type="image/png", owner="somebody")
    assert await read(references, ours.of(stored)) == PNG_URI
    assert not outside.asked


async def test_a_link_that_is_forged_is_a_strangers_url(shelf, outside):
    references = References(shelf, links("", 60), outside, max_image_bytes=MIB)
    stored = await shelf.put("image", JPEG, content_type="image/jpeg", owner="somebody")
    link = links("", 60).of(stored, BASE)
    assert await read(references, link) == uri(JPEG, "image/jpeg")
    for forged in (link[:-1], link.partition("&")[0], link.replace("expires=", "expires=9")):
        await read(references, forged)
        assert outside.asked.pop()[0] == forged


@pytest.mark.parametrize("base_url", ["", "http://127.0.0.1:9999"])
async def test_a_link_elsewhere_is_a_strangers_url(references, shelf, outside, base_url):
    stored = await shelf.put("image", JPEG, content_type="image/jpeg", owner="somebody")
    link = links().of(stored, BASE)
    assert await read(references, link, base_url=base_url) == PNG_URI
    assert outside.asked


async def test_an_uploaded_file_is_its_owners_alone(references, shelf):
    stored = await shelf.put("file", PNG, content_type="image/png", owner="key-1")
    assert await read(references, f"file-{stored.id}") == PNG_URI
    other = await error_of(references, f"file-{stored.id}", owner="key-2")
    never = await error_of(references, "file-" + "0" * 32)
    assert other.kind is never.kind is ErrorKind.NOT_FOUND
    assert other.message == never.message
    assert other.param == "image.0"


async def test_an_uploaded_file_that_is_no_picture_is_refused(references, shelf):
    stored = await shelf.put("file", b"%PDF-1.7", content_type="application/pdf", owner="key-1")
    error = await error_of(references, f"file-{stored.id}")
    assert (error.kind, error.param) == (ErrorKind.BAD_REQUEST, "image.0")


def bomb():
    written = BytesIO()
    Image.new("1", (20_000, 20_000)).save(written, "PNG")
    return written.getvalue()


@pytest.mark.parametrize(
    "reference",
    [
        "data:image/png;base64,",
        "data:image/png;base64,%%%",
        "data:image/png,abc",
        "data:,",
        "data:" + "x" * 1000,
        uri(b"GIF89a"),
        uri(b"<svg/>", "image/svg+xml"),
        uri(PNG[: len(PNG) // 2]),
        uri(JPEG[: len(JPEG) // 2], "image/jpeg"),
        uri(bomb()),
        uri(PNG + b"\0" * MIB),
    ],
    ids=str,
)
async def test_what_is_no_whole_picture_names_its_field(references, reference):
    error = await error_of(references, reference)
    assert (error.kind, error.param) == (ErrorKind.BAD_REQUEST, "image.0")
    assert len(error.message) < 300


async def test_webp_and_gif_are_pictures_too(references):
    for kind in ("WEBP", "GIF"):
        content = picture(kind)
        assert await references.checked(content, param="x") == uri(content, f"image/{kind.lower()}")

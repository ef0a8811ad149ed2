"""Pictures are made and changed over the endpoints for them."""

import base64
from io import BytesIO

import pytest
from PIL import Image

from tests.api.pictures import MIB, MODEL, studio
from tests.api.test_forms import BOUNDARY, END, part
from tests.gateway.darkroom import JPEG, PNG, PNG_URI

EDITS = "/v1/images/edits"
FORM = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}


@pytest.fixture
async def made_in(tmp_path):
    async with studio(tmp_path) as opened:
        yield opened


def opened(content):
    found = Image.open(BytesIO(content))
    found.load()
    return found


def form(*parts, **fields):
    """A form with these fields and files, for an edit."""
    given = {"model": MODEL, "prompt": "make it blue"} | fields
    written = b"".join(part(name, str(value).encode()) for name, value in given.items())
    return written + b"".join(parts) + END


async def test_a_picture_is_made_and_linked_to(made_in):
    answer = await made_in.draw()
    assert answer.status == 200
    assert answer.headers["x-groxy-attempts"] == "1"
    (one,) = answer.json["data"]
    assert one["url"].startswith("http://testserver/v1/files/image?id=")
    stored = await made_in.shelf.find(one["url"].partition("id=")[2], "image")
    assert opened(await made_in.shelf.read(stored)).width >= 256
    assert one["mime_type"] == stored.content_type
    assert "refused" not in answer.json
    entry = await made_in.entry()
    assert (entry.dialect, entry.outcome) == ("images", "ok")
    assert answer.json["usage"]["cost_in_usd_ticks"] == entry.cost_ticks > 0


async def test_a_picture_comes_as_base64_and_nothing_is_kept(made_in):
    answer = await made_in.draw(response_format="b64_json", n=2, size="1792x1024")
    first, second = answer.json["data"]
    assert set(first) == {"b64_json", "mime_type"}
    assert first != second
    found = opened(base64.b64decode(first["b64_json"]))
    assert found.width > found.height
    assert (await made_in.shelf.list("image", offset=0, limit=9))[0] == 0


async def test_fewer_pictures_are_told(made_in):
    answer = await made_in.draw("a cat [[sandbox: few=1]]", n=3)
    assert (answer.status, len(answer.json["data"])) == (200, 1)
    assert answer.json["refused"] == len(answer.json["refusals"]) == 2


async def test_a_picture_that_the_upstream_only_links_to_is_fetched(made_in):
    answer = await made_in.draw("a cat [[sandbox: links]]", response_format="b64_json")
    assert opened(base64.b64decode(answer.json["data"][0]["b64_json"]))


async def test_all_refused_is_an_error_with_the_reason(made_in):
    answer = await made_in.draw("a cat [[sandbox: moderated=1]]")
    assert (answer.status, answer.error["code"]) == (403, "content_policy_violation")
    assert (await made_in.entry()).outcome == "content_policy_violation"


async def test_an_upstreams_error_is_told_with_what_helps(made_in):
    answer = await made_in.draw("a cat [[sandbox: status=429 retry_after=3]]")
    assert (answer.status, answer.headers["retry-after"]) == (429, "3")


async def test_what_has_no_effect_is_told(made_in):
    answer = await made_in.draw(style="vivid")
    assert "style dropped" in answer.headers["x-groxy-adjusted"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": " "}, "prompt"),
        ({"n": 11}, "n"),
        ({"size": "5x5"}, "size"),
        ({"model": "grok-4.3"}, "model"),
        ({"model": "grok-imagine-video"}, "model"),
        ({"model": "grok-imagine-image-edit"}, "model"),
        ({"model": "grok-imagine-image-lite", "n": 5}, "n"),
        ({"image": PNG_URI}, "image"),
    ],
)
async def test_a_wrong_request_names_its_field_and_is_in_the_books(made_in, fields, param):
    answer = await made_in.draw(**fields)
    assert (answer.status, answer.error["param"]) == (400, param)
    assert (await made_in.entry()).status == 400


async def test_a_stranger_is_told_before_anything_is_read(made_in):
    answer = await made_in.post("/v1/images/generations", b"x" * 100, key="sk-wrong")
    assert answer.status == 401


@pytest.mark.parametrize("model", [MODEL, "grok-imagine-image-edit"])
async def test_an_edit_in_json(made_in, model):
    body = {"model": model, "prompt": "make it blue", "image": {"url": PNG_URI}}
    answer = await made_in.post(EDITS, body)
    assert (answer.status, len(answer.json["data"])) == (200, 1)


async def test_an_edit_goes_on_from_a_picture_made_here(made_in):
    first = (await made_in.draw()).json["data"][0]["url"]
    answer = await made_in.post(EDITS, {"model": MODEL, "prompt": "more", "image": first})
    assert answer.status == 200


async def test_an_edit_goes_on_from_an_uploaded_file(made_in):
    (caller,) = {(await made_in.draw(), (await made_in.entry()).key_id)[1]}
    stored = await made_in.shelf.put("file", PNG, content_type="image/png", owner=caller)
    body = {"model": MODEL, "prompt": "more", "images": [{"file_id": f"file-{stored.id}"}]}
    assert (await made_in.post(EDITS, body)).status == 200
    body["images"] = ["file-" + "0" * 32]
    answer = await made_in.post(EDITS, body)
    assert (answer.status, answer.error["param"]) == (404, "images.0")


async def test_an_edit_of_files_whatever_they_are_called(made_in):
    files = part("image[]", PNG, "a.txt") + part("image[]", JPEG, "b")
    answer = await made_in.post(EDITS, form(files, n=2), headers=FORM)
    assert (answer.status, len(answer.json["data"])) == (200, 2)


async def test_files_and_urls_of_a_form_keep_their_places(made_in):
    first = (await made_in.draw()).json["data"][0]["url"]
    body = form(part("image", first.encode()), part("image", PNG, "a.png"))
    assert (await made_in.post(EDITS, body, headers=FORM)).status == 200


async def test_a_mask_is_refused_where_it_is_not_supported(made_in):
    body = form(part("image", PNG, "a.png"), part("mask", PNG, "m.png"))
    answer = await made_in.post(EDITS, body, headers=FORM)
    assert (answer.status, answer.error["param"]) == (400, "mask")


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        (form(), 400, "image"),
        (form(part("image", b"", "a.png")), 400, "image"),
        (form(part("image", b"", "")), 400, "image"),
        (form(part("image", b"<svg/>", "a.png")), 400, "image"),
        (form(part("image[]", PNG, "a.png"), part("image[]", PNG[:50], "b.png")), 400, "image.1"),
        (form(part("image", b"x" * (2 * MIB + 1), "a.png")), 413, "image"),
        (form(part("image", PNG, "a.png") * 18), 400, "image"),
        (form(part("image", PNG, "a.png") * 17), 400, "image"),
        (form(part("image", PNG, "a.png"), n="many"), 400, "n"),
        (form(part("image", PNG, "a.png"), n=0), 400, "n"),
        (form(part("other", PNG, "a.png")), 400, "other"),
        (form(part("image", PNG, "a.png"), part("mask", b"x", "m.png")), 400, "mask"),
        (form(part("image", PNG, "a.png"), prompt=""), 400, "prompt"),
        (form(part("image", b"data:,")), 400, "image"),
        (form(part("image", PNG, "a.png"))[:-9], 400, None),
    ],
)
async def test_a_wrong_form_names_its_field(made_in, body, status, param):
    answer = await made_in.post(EDITS, body, headers=FORM)
    assert (answer.status, answer.error["param"]) == (status, param)


async def test_an_edit_without_a_picture_is_told(made_in):
    answer = await made_in.post(EDITS, {"model": MODEL, "prompt": "x"})
    assert (answer.status, answer.error["param"]) == (400, "image")

"""Pictures in OpenAI's form."""

import json
from base64 import b64encode

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.media import ImageRequest, MadeImage
from groxy.dialects._base import BillField, UsageRules
from groxy.upstreams._pictures import image_call, read_images

PNG = "data:image/png;base64,iVBORw0KGgo="
TICKS = UsageRules(bill=BillField.TICKS)
USD = UsageRules(bill=BillField.USD)


def _request(**values):
    return ImageRequest(**({"model": "m", "prompt": "a red panda"} | values))


def _images(**body):
    made = read_images(json.dumps(body).encode(), TICKS)
    assert made is not None
    return made


def test_a_request_has_what_was_asked_for_and_nothing_else():
    call = image_call(_request(), "grok-imagine-image")
    assert (call.method, call.path, call.adjusted) == ("POST", "/images/generations", ())
    assert call.content_type == "application/json"
    assert json.loads(call.body) == {
        "model": "grok-imagine-image",
        "prompt": "a red panda",
        "n": 1,
        "response_format": "b64_json",
    }


def test_a_shape_is_sent_as_a_size():
    call = image_call(
        _request(count=3, aspect_ratio="16:9", resolution="1k", quality="high", user="u"), "m"
    )
    sent = json.loads(call.body)
    assert (sent["size"], sent["quality"], sent["n"], sent["user"]) == ("1792x1024", "high", 3, "u")
    assert call.adjusted == ()


@pytest.mark.parametrize(
    ("ratio", "resolution", "words"),
    [
        ("19.5:9", "1k", ("aspect_ratio sent as size 2048x1024",)),
        ("3:2", "2k", ("aspect_ratio sent as size 1536x1024",)),
        ("", "2k", ("resolution dropped",)),
        ("1:1", "2k", ()),
    ],
)
def test_a_shape_that_has_no_size_is_told_of(ratio, resolution, words):
    assert image_call(_request(aspect_ratio=ratio, resolution=resolution), "m").adjusted == words


@pytest.mark.parametrize("model", ["gpt-image-1", "chatgpt-image-latest"])
def test_models_that_are_always_inline_are_not_asked_to_be(model):
    assert "response_format" not in json.loads(image_call(_request(), model).body)


@pytest.mark.parametrize(("count", "field"), [(1, b'name="image"'), (3, b'name="image[]"')])
def test_an_edit_is_a_form_with_its_pictures(count, field):
    call = image_call(_request(images=(PNG,) * count, mask=PNG), "m")
    assert call.path == "/images/edits"
    assert call.content_type.startswith("multipart/form-data; boundary=")
    assert call.body.count(field) == count
    assert call.body.count(b'name="mask"') == 1
    assert b"\r\n\r\na red panda\r\n" in call.body


def test_pictures_come_inline_as_data_uris_or_as_links():
    content = b"\xff\xd8\xff picture"
    encoded = b64encode(content).decode()
    made = _images(
        data=[
            {"b64_json": encoded, "mime_type": "image/jpeg", "revised_prompt": "better"},
            {"b64_json": f"data:image/webp;base64,{encoded}"},
            {"url": f"data:image/png;base64,{encoded}"},
            {"url": "https://imgen.x.ai/a.jpg"},
        ],
        usage={"cost_in_usd_ticks": 800},
    )
    assert made.cost_ticks == 800
    assert made.images == (
        MadeImage(content=content, content_type="image/jpeg", revised_prompt="better"),
        MadeImage(content=content, content_type="image/webp"),
        MadeImage(content=content, content_type="image/png"),
        MadeImage(url="https://imgen.x.ai/a.jpg"),
    )


def test_the_format_of_a_reply_is_that_of_its_pictures():
    made = _images(data=[{"b64_json": "YWJj"}], output_format="webp")
    assert made.images[0].content_type == "image/webp"


def test_a_bill_in_dollars_is_read_where_the_upstream_sends_one():
    body = b'{"data":[{"b64_json":"YWJj","media_type":"image/png"}],"usage":{"cost":0.04}}'
    made = read_images(body, USD)
    assert made is not None
    assert made.cost_ticks == 400_000_000
    assert made.images[0].content_type == "image/png"
    other = read_images(body, TICKS)
    assert other is not None
    assert other.cost_ticks is None


@pytest.mark.parametrize(
    "usage", [None, 5, [], {"cost_in_usd_ticks": -1}, {"cost_in_usd_ticks": "x"}]
)
def test_a_bill_that_cannot_be_true_is_none(usage):
    assert _images(data=[{"url": "https://a/b"}], usage=usage).cost_ticks is None


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({"respect_moderation": False, "url": ""}, "usage policy"),
        ({"respect_moderation": False, "b64_json": "YWJj"}, "usage policy"),
        ({"error": {"message": "Too bright for key sk-abcdef123"}}, "Too bright for key …"),
        ({"error": "No"}, "No"),
        ({}, "did not say why"),
        ({"url": None, "b64_json": None}, "did not say why"),
    ],
)
def test_a_picture_that_is_missing_is_refused_with_a_reason(entry, reason):
    (image,) = _images(data=[entry]).images
    assert reason in image.refused
    assert not image.url
    assert not image.content


@pytest.mark.parametrize("body", [{"data": []}, {"data": None, "block_reason": "Blocked"}])
def test_a_good_reply_without_pictures_is_a_refusal(body):
    (image,) = _images(**body).images
    assert image.refused in ("Blocked", "The upstream left this picture out and did not say why.")


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b"null", b'{"error":"no"}', b"<html>", b"\xff", b"[" * 100_000]
)
def test_a_body_that_is_no_reply_is_none(body):
    assert read_images(body, TICKS) is None


@pytest.mark.parametrize("field", ["b64_json", "url"])
def test_a_picture_that_is_no_base64_is_a_bad_reply(field):
    with pytest.raises(GroxyError) as caught:
        _images(data=[{field: "data:image/png;base64,???"}])
    assert caught.value.kind is ErrorKind.BAD_REPLY


def test_no_more_pictures_are_read_than_anybody_can_ask_for():
    assert len(_images(data=[{"url": "https://a/b"}] * 1000).images) == 64

"""Requests for pictures are read strictly, and replies say what came of them."""

import json

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.dialects.images import (
    DIALECT,
    MAX_REFERENCES,
    ShownPicture,
    encode_reply,
    form_body,
    read_images,
)
from groxy.upstreams._openrouter_media import openrouter_image_call
from groxy.upstreams._xai_media import xai_image_call

URI = "data:image/png;base64,AAAA"


def read(*, is_edit=False, **fields):
    body = json.dumps({"model": "grok-imagine-image", "prompt": "a cat"} | fields).encode()
    return read_images(body, is_edit=is_edit)


def error_of(**fields):
    with pytest.raises(GroxyError) as caught:
        read(**fields)
    return caught.value


def test_a_plain_request_leaves_the_rest_to_the_model():
    asked = read()
    request = asked.request
    assert (request.model, request.prompt, request.count) == ("grok-imagine-image", "a cat", 1)
    assert (request.aspect_ratio, request.resolution, request.quality) == ("", "", "")
    assert not request.is_edit
    assert not asked.wants_content


def test_all_that_openai_and_xai_name_is_read():
    asked = read(
        n=3, size="1792x1024", quality="hd", response_format="b64_json", user="u", style="vivid"
    )
    request = asked.request
    assert (request.count, request.user, request.quality) == (3, "u", "high")
    assert (request.aspect_ratio, request.resolution) == ("16:9", "1k")
    assert asked.wants_content
    assert asked.ignored == ("style dropped",)


def test_what_is_named_outright_counts_more_than_a_size():
    request = read(size="1024x1024", aspect_ratio="2:1", resolution="2K").request
    assert (request.aspect_ratio, request.resolution) == ("2:1", "2k")


@pytest.mark.parametrize("quality", ["auto", None])
def test_a_quality_of_auto_is_none(quality):
    assert read(quality=quality).request.quality == ""


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": ""}, "prompt"),
        ({"prompt": " \n"}, "prompt"),
        ({"prompt": None}, "prompt"),
        ({"prompt": "x" * 100_001}, "prompt"),
        ({"model": ""}, "model"),
        ({"n": 0}, "n"),
        ({"n": 11}, "n"),
        ({"n": "two"}, "n"),
        ({"n": 1.5}, "n"),
        ({"size": "1025x1024"}, "size"),
        ({"aspect_ratio": "5:4"}, "aspect_ratio"),
        ({"resolution": "8k"}, "resolution"),
        ({"quality": "best"}, "quality"),
        ({"response_format": "png"}, "response_format"),
        ({"stream": True}, "stream"),
        ({"image": URI}, "image"),
        ({"images": [URI]}, "images.0"),
        ({"mask": URI}, "mask"),
    ],
)
def test_a_wrong_field_is_named(fields, param):
    error = error_of(**fields)
    assert (error.kind, error.param) == (ErrorKind.BAD_REQUEST, param)


def test_the_known_sizes_are_listed():
    assert "1024x1024, 1792x1024" in error_of(size="7x7").message


@pytest.mark.parametrize(
    "field",
    ["prompt", "model"],
)
def test_what_is_required_is_named(field):
    body = {"model": "m", "prompt": "p"}
    del body[field]
    with pytest.raises(GroxyError) as caught:
        read_images(json.dumps(body).encode(), is_edit=False)
    assert caught.value.param == field


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"image": URI}, [("image", URI)]),
        ({"image": {"url": "https://a/b"}}, [("image", "https://a/b")]),
        ({"image": {"image_url": {"url": URI}}}, [("image", URI)]),
        ({"image": {"file_id": "file-1"}}, [("image", "file-1")]),
        ({"image": [URI, "https://a/b"]}, [("image.0", URI), ("image.1", "https://a/b")]),
        ({"images": [{"image_url": URI}]}, [("images.0", URI)]),
        ({"images": ["file-2"]}, [("images.0", "file-2")]),
    ],
)
def test_references_are_read_in_every_form(fields, expected):
    asked = read(is_edit=True, **fields)
    assert list(zip(asked.params, asked.request.images, strict=True)) == expected


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "image"),
        ({"image": ""}, "image"),
        ({"image": "/etc/passwd"}, "image"),
        ({"image": "file:///etc/passwd"}, "image"),
        ({"image": {}}, "image"),
        ({"image": [URI, {"url": ""}]}, "image.1"),
        ({"image": []}, "image"),
        ({"image": URI, "images": [URI]}, "images"),
        ({"images": [URI] * (MAX_REFERENCES + 1)}, "image"),
        ({"image": URI, "mask": "x"}, "mask"),
        ({"image": 7}, "image"),
    ],
)
def test_a_wrong_reference_is_named(fields, param):
    assert error_of(is_edit=True, **fields).param == param


def test_a_mask_is_read():
    assert read(is_edit=True, image=URI, mask={"image_url": URI}).request.mask == URI


def test_a_form_says_what_json_says():
    fields = {"model": ["m"], "prompt": ["old", "p"], "n": ["2"], "image[]": [URI], "image": [URI]}
    asked = read_images(form_body(fields), is_edit=True)
    assert (asked.request.prompt, asked.request.count) == ("p", 2)
    assert asked.params == ("image.0", "image.1")
    one = read_images(form_body(fields | {"image": []}), is_edit=True)
    assert one.params == ("image",)


@pytest.mark.parametrize(("name", "value"), [("n", "x"), ("n", "1e1"), ("stream", "true")])
def test_a_wrong_field_of_a_form_is_named(name, value):
    fields = {"model": ["m"], "prompt": ["p"], name: [value]}
    with pytest.raises(GroxyError) as caught:
        read_images(form_body(fields), is_edit=False)
    assert caught.value.param == name


def test_a_reply_has_links_or_content():
    pictures = [ShownPicture(url="http://a/b"), ShownPicture(b64_json=b"abc", revised_prompt="c")]
    reply = json.loads(encode_reply(pictures, created=7))
    assert reply == {
        "created": 7,
        "data": [{"url": "http://a/b"}, {"b64_json": "YWJj", "revised_prompt": "c"}],
    }


def test_a_reply_tells_what_is_missing_and_what_it_cost():
    pictures = [ShownPicture(url="http://a/b")]
    reply = json.loads(encode_reply(pictures, created=7, refusals=["No."], cost_ticks=5))
    assert (reply["refused"], reply["refusals"]) == (1, ["No."])
    assert reply["usage"]["cost_in_usd_ticks"] == 5
    assert reply["usage"]["total_tokens"] == 0


def test_as_a_dialect_it_reads_requests_and_writes_errors():
    asked = DIALECT.decode_request(b'{"model": "m", "prompt": "a cat"}')
    assert (asked.model, DIALECT.prompt_text(asked)) == ("m", "a cat")
    error = GroxyError(ErrorKind.REFUSED, "No.")
    assert json.loads(DIALECT.encode_error(error))["error"]["code"] == "content_policy_violation"
    assert DIALECT.encode_stream_error(error).startswith(b"data: ")
    with pytest.raises(GroxyError):
        DIALECT.outgoing(asked, model="m", effort=None, stream=False)


def test_max_cost_is_read_from_json_and_from_forms():
    assert read(max_cost=0.05).request.max_cost_ticks == 500_000_000
    assert read(max_cost=None).request.max_cost_ticks is None
    assert read().request.max_cost_ticks is None
    form = form_body({"model": ["m"], "prompt": ["a cat"], "max_cost": ["0.05"]})
    assert read_images(form, is_edit=False).request.max_cost_ticks == 500_000_000


@pytest.mark.parametrize("trick", [-1, 0, True, "NaN", "1e3", "", "1,5", 2**63, [1], {}])
def test_a_max_cost_that_is_no_amount_is_refused(trick):
    assert error_of(max_cost=trick).param == "max_cost"


def test_no_upstream_is_told_of_max_cost():
    request = read(max_cost=7.25).request
    for call in (xai_image_call(request, "grok"), openrouter_image_call(request, "x-ai/g")):
        assert b"max_cost" not in call.body
        assert b"7.25" not in call.body
    assert (
        "max_cost" not in DIALECT.decode_request(b'{"model":"m","prompt":"p","max_cost":1}').fields
    )

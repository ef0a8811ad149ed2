"""What the sandbox is asked to draw or film."""

import json

import pytest
from hypothesis import given, strategies as st

from groxy.core.errors import ErrorKind, GroxyError
from groxy.upstreams._multipart import FormFile, write_form
from groxy.upstreams.sandbox.orders import FILM_PATHS, PICTURE_PATHS, read_order
from tests.upstreams.sandbox.media_asking import JPEG, JPEG_URI

GENERATE = "/images/generations"
EDIT = "/images/edits"
FILM = "/videos/generations"


def _order(path=GENERATE, **fields):
    body = {"model": "m", "prompt": "p"} | fields
    return read_order(path, "application/json", json.dumps(body).encode())


@pytest.mark.parametrize(
    ("fields", "size"),
    [
        ({}, (1024, 1024)),
        ({"aspect_ratio": "auto"}, (1024, 1024)),
        ({"aspect_ratio": "16:9"}, (1360, 768)),
        ({"aspect_ratio": "9:19.5"}, (688, 1504)),
        ({"resolution": "2K"}, (2048, 2048)),
        ({"size": "1536x1024"}, (1536, 1024)),
        ({"size": "auto"}, (1024, 1024)),
    ],
)
def test_a_picture_has_the_size_that_was_asked_for(fields, size):
    order = _order(**fields)
    assert (order.width, order.height) == size
    assert order.duration_s == 0


@pytest.mark.parametrize(
    ("fields", "size", "seconds"),
    [
        ({}, (854, 480), 8),
        ({"duration": 1}, (854, 480), 1),
        ({"seconds": "12", "resolution": "720p", "aspect_ratio": "9:16"}, (720, 1280), 12),
        ({"seconds": 6, "size": "1920x1080"}, (1920, 1080), 6),
    ],
)
def test_a_film_has_the_size_and_length_that_were_asked_for(fields, size, seconds):
    order = _order(FILM, **fields)
    assert ((order.width, order.height), order.duration_s) == (size, seconds)


def test_formats_are_told_apart():
    assert _order().content_type == "image/jpeg"
    assert not _order().is_inline
    assert _order(output_format="png", response_format="b64_json").is_inline
    assert _order(output_format="png").content_type == "image/png"
    assert _order("/videos").is_openai
    assert not _order(FILM).is_openai


@pytest.mark.parametrize(
    "fields",
    [
        {"image": {"url": JPEG_URI}},
        {"image": JPEG_URI},
        {"images": [{"url": JPEG_URI}]},
        {"images": [{"image_url": JPEG_URI}]},
        {"reference_images": [JPEG_URI]},
        {"input_reference": {"image_url": JPEG_URI}},
        {"input_references": [{"type": "image_url", "image_url": {"url": JPEG_URI}}]},
        {"frame_images": [{"image_url": {"url": JPEG_URI}, "frame_type": "first_frame"}]},
    ],
)
def test_references_are_found_wherever_a_form_has_them(fields):
    assert _order(FILM, **fields).references == (JPEG,)
    assert _order(EDIT, **fields).references == (JPEG,)


def test_a_reference_by_url_is_taken_and_not_fetched():
    assert _order(EDIT, image={"url": "https://example.com/a"}).references == (
        b"https://example.com/a",
    )


def test_a_form_has_fields_and_files():
    files = [
        FormFile(field="image[]", name="a.jpg", content_type="image/jpeg", content=JPEG),
        FormFile(field="mask", name="m.png", content_type="image/png", content=b"mask"),
    ]
    form, content_type = write_form([("model", "m"), ("prompt", "ä"), ("n", "3")], files)
    order = read_order(EDIT, content_type, form)
    assert (order.prompt, order.count, order.references) == ("ä", 3, (JPEG,))
    assert order.content_type == "image/png"


def test_orders_that_differ_in_anything_differ_in_their_digest():
    orders = [
        _order(),
        _order(prompt="q"),
        _order(EDIT, image=JPEG_URI),
        _order(EDIT, image={"url": "https://example.com/a"}),
        _order(n=2),
    ]
    assert len({order.digest for order in orders}) == len(orders)
    assert _order().digest == _order().digest


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        (GENERATE, {"prompt": " "}, "prompt"),
        (GENERATE, {"prompt": "x" * 32_001}, "prompt"),
        (GENERATE, {"prompt": None}, "prompt"),
        (GENERATE, {"n": 0}, "n"),
        (GENERATE, {"n": 11}, "n"),
        (GENERATE, {"n": "2"}, "n"),
        (GENERATE, {"size": "3x3"}, "size"),
        (GENERATE, {"aspect_ratio": "7:4"}, "aspect_ratio"),
        (GENERATE, {"resolution": "8k"}, "resolution"),
        (GENERATE, {"response_format": "gif"}, "response_format"),
        (GENERATE, {"output_format": "gif"}, "output_format"),
        (EDIT, {}, "image"),
        (EDIT, {"image": {"file_id": "file_1"}}, "image"),
        (EDIT, {"image": "data:image/png;base64,YWJj"}, "image"),
        (EDIT, {"images": ["nothing"]}, "images"),
        (FILM, {"seconds": 21}, "seconds"),
        (FILM, {"seconds": "six"}, "seconds"),
        (FILM, {"duration": 0}, "seconds"),
        (FILM, {"size": "2048x2048"}, "size"),
        (FILM, {"aspect_ratio": "2:1"}, "aspect_ratio"),
        (FILM, {"resolution": "1k"}, "resolution"),
    ],
)
def test_what_cannot_be_is_refused_by_the_name_of_its_field(path, fields, param):
    with pytest.raises(GroxyError) as caught:
        _order(path, **fields)
    assert (caught.value.kind, caught.value.param) == (ErrorKind.BAD_REQUEST, param)


@pytest.mark.parametrize("content_type", ["multipart/form-data", "multipart/form-data; boundary=a"])
def test_a_broken_form_is_refused(content_type):
    with pytest.raises(GroxyError):
        read_order(EDIT, content_type, b"--b\r\nnothing")


@given(st.sampled_from(sorted(FILM_PATHS | PICTURE_PATHS)), st.binary(max_size=100))
def test_any_body_is_read_or_refused(path, body):
    with pytest.raises(GroxyError):
        read_order(path, "application/json", body)

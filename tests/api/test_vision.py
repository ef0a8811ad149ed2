"""A question about pictures, asked with JSON or a form."""

import base64

import pytest

from tests.interop.asking import PICTURE, PIXEL

PATH = "/v1/vision/analyze"
BOUNDARY = "groxy-test-boundary"
FORM = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}


def form(*parts: tuple[str, str | None, bytes]) -> bytes:
    """Write a multipart form: name, file name, content."""
    written = b""
    for name, filename, content in parts:
        disposition = f'form-data; name="{name}"' + (f'; filename="{filename}"' if filename else "")
        written += f"--{BOUNDARY}\r\nContent-Disposition: {disposition}\r\n\r\n".encode()
        written += content + b"\r\n"
    return written + f"--{BOUNDARY}--\r\n".encode()


@pytest.mark.parametrize(
    "picture",
    [{"image": PICTURE}, {"image_url": PICTURE}, {"image_url": {"url": PICTURE}}],
    ids=["image", "image_url", "object"],
)
async def test_a_picture_is_looked_at(asker, picture):
    answer = await asker.post(PATH, picture | {"prompt": "What is it?", "model": "grok-4.3"})
    assert answer.status == 200
    assert answer.json["object"] == "vision.analysis"
    assert "I see 1 picture. You wrote: “What is it?”" in answer.json["analysis"]
    assert answer.json["usage"]["prompt_tokens"] > 1000
    assert answer.headers["content-length"] == str(len(answer.body))


async def test_several_pictures_go_together(asker):
    answer = await asker.post(PATH, {"images": [PICTURE, PICTURE]})
    assert "I see 2 pictures." in answer.json["analysis"]


async def test_files_of_a_form_are_looked_at(asker):
    pixel = base64.b64decode(PIXEL)
    body = form(("image", "a.txt", pixel), ("image", "b.png", pixel), ("prompt", None, b"Well?"))
    answer = await asker.post(PATH, body, headers=FORM)
    assert "I see 2 pictures. You wrote: “Well?”" in answer.json["analysis"]


@pytest.mark.parametrize(
    ("body", "headers", "param"),
    [
        ({}, {}, "image"),
        ({"image": "file:///etc/passwd"}, {}, "image"),
        ({"image": PICTURE, "detail": "some"}, {}, "detail"),
        (form(("image", "a.png", b"not a picture")), FORM, "image"),
        (form(("image", "a.png", b"")), FORM, "image"),
        (form(("prompt", None, b"x")), FORM, "image"),
        (b"--nothing", FORM, None),
        (b"x", {"content-type": "multipart/form-data"}, None),
        (form(("image", None, PICTURE.encode()), ("max_tokens", None, b"x")), FORM, "max_tokens"),
    ],
)
async def test_a_wrong_request_names_its_field(asker, body, headers, param):
    answer = await asker.post(PATH, body, headers=headers)
    assert (answer.status, answer.error["param"]) == (400, param)


async def test_an_error_is_passed_on(asker):
    body = {"image": PICTURE, "prompt": "Hm [[sandbox: status=429 retry_after=3]]"}
    answer = await asker.post(PATH, body)
    assert (answer.status, answer.error["type"]) == (429, "rate_limit_error")
    assert answer.headers["retry-after"] == "3"


async def test_it_is_in_the_books_like_any_chat(asker):
    answer = await asker.post(PATH, {"image": PICTURE})
    found = await asker.get("/v1/generation", query=f"id={answer.json['id']}")
    assert found.json["data"]["tokens_prompt"] == answer.json["usage"]["prompt_tokens"]

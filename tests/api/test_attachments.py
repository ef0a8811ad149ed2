import base64
import json

import pytest

from groxy.api.attachments import Attachments
from groxy.core.errors import ErrorKind, GroxyError
from tests.admin.window import empty_shelf
from tests.inprocess import application, ask

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
PDF = b"%PDF-1.4 content"


@pytest.fixture
async def shelf(tmp_path):
    async with application(tmp_path) as app:
        yield empty_shelf(tmp_path, app.database)


async def stored(shelf, content, content_type="text/plain", name="notes.txt", owner="me"):
    found = await shelf.put("file", content, content_type=content_type, owner=owner, name=name)
    return f"file-{found.id}"


async def filled(shelf, dialect, body, owner="me"):
    return json.loads(await Attachments(shelf).filled(json.dumps(body).encode(), dialect, owner))


def chat(part):
    return {"model": "m", "messages": [{"role": "user", "content": [part]}]}


async def test_text_becomes_text_in_every_dialect(shelf):
    file_id = await stored(shelf, b"hello")
    in_chat = await filled(shelf, "chat", chat({"type": "file", "file": {"file_id": file_id}}))
    in_responses = await filled(
        shelf, "responses", {"input": [{"content": [{"type": "input_file", "file_id": file_id}]}]}
    )
    source = {"type": "file", "file_id": file_id}
    in_messages = await filled(shelf, "messages", chat({"type": "document", "source": source}))

    text = "File notes.txt:\n\nhello"
    assert in_chat["messages"][0]["content"] == [{"type": "text", "text": text}]
    assert in_responses["input"][0]["content"] == [{"type": "input_text", "text": text}]
    (block,) = in_messages["messages"][0]["content"]
    assert block["source"] == {"type": "text", "media_type": "text/plain", "data": "hello"}
    assert block["title"] == "notes.txt"


async def test_a_picture_becomes_a_picture_in_every_dialect(shelf):
    file_id = await stored(shelf, PNG, "image/png", "dot.png")
    data = base64.b64encode(PNG).decode()
    in_chat = await filled(shelf, "chat", chat({"type": "file", "file": {"file_id": file_id}}))
    in_responses = await filled(
        shelf, "responses", {"input": [{"content": [{"type": "input_image", "file_id": file_id}]}]}
    )
    source = {"type": "file", "file_id": file_id}
    in_messages = await filled(shelf, "messages", chat({"type": "image", "source": source}))

    uri = f"data:image/png;base64,{data}"
    (part,) = in_chat["messages"][0]["content"]
    assert part == {"type": "image_url", "image_url": {"url": uri}}
    (part,) = in_responses["input"][0]["content"]
    assert part == {"type": "input_image", "image_url": uri}
    (part,) = in_messages["messages"][0]["content"]
    assert part["source"] == {"type": "base64", "media_type": "image/png", "data": data}


async def test_another_file_goes_as_data(shelf):
    file_id = await stored(shelf, PDF, "application/octet-stream", "a.pdf")
    in_chat = await filled(shelf, "chat", chat({"type": "file", "file": {"file_id": file_id}}))

    (part,) = in_chat["messages"][0]["content"]
    assert part["file"]["filename"] == "a.pdf"
    assert part["file"]["file_data"].startswith("data:application/pdf;base64,")


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"[]",
        b'{"messages": [{"role": "user", "content": "the \\"file_id\\" of it"}]}',
        b'{"messages": [{"content": [{"type": "file", "file": {"file_id": "file_abc"}}]}]}',
        b'{"input": [{"type": "input_file", "file_id": 7}], "a": 1.10}',
        b'{"file_id": ',
    ],
)
async def test_a_body_without_files_of_ours_stays_as_it_is(shelf, body):
    assert await Attachments(shelf).filled(body, "chat", "me") == body


async def test_a_file_of_another_owner_is_not_found(shelf):
    file_id = await stored(shelf, b"secret", owner="another")
    with pytest.raises(GroxyError) as caught:
        await filled(shelf, "chat", chat({"type": "file", "file": {"file_id": file_id}}))

    assert caught.value.kind is ErrorKind.NOT_FOUND
    assert caught.value.param == "messages.0.content.0"


async def test_more_files_than_a_request_may_carry_are_refused(shelf):
    file_id = await stored(shelf, b"x")
    part = {"type": "file", "file": {"file_id": file_id}}
    body = {"messages": [{"content": [part] * 21}]}
    with pytest.raises(GroxyError) as caught:
        await filled(shelf, "chat", body)

    assert caught.value.kind is ErrorKind.TOO_LARGE


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "/v1/messages"])
async def test_an_uploaded_file_is_read_by_the_model(tmp_path, path):
    form = (
        b"--b\r\ncontent-disposition: form-data; name=purpose\r\n\r\nuser_data\r\n"
        b"--b\r\ncontent-disposition: form-data; name=file; filename=a.txt\r\n"
        b"content-type: text/plain\r\n\r\nwhat the file says\r\n--b--\r\n"
    )
    headers = {"content-type": "multipart/form-data; boundary=b"}
    async with application(tmp_path) as app:
        uploaded = await ask(app, "POST", "/v1/files", body=form, headers=headers)
        file_id = uploaded.json["id"]
        part = {
            "/v1/chat/completions": {"type": "file", "file": {"file_id": file_id}},
            "/v1/responses": {"type": "input_file", "file_id": file_id},
            "/v1/messages": {
                "type": "document",
                "source": {"type": "file", "file_id": file_id},
            },
        }[path]
        asked = [{"role": "user", "content": [part]}]
        name = "input" if path.endswith("responses") else "messages"
        answer = await ask(
            app, "POST", path, body={"model": "grok-4.3", "max_tokens": 100, name: asked}
        )

    assert answer.status == 200
    assert "what the file says" in answer.body.decode()

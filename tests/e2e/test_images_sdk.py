"""The official OpenAI client, unmodified, makes and changes pictures over a socket."""

import base64
import urllib.request
from io import BytesIO

import openai
import pytest
import pytest_asyncio
from PIL import Image

from tests.api.pictures import MODEL, served, studio
from tests.gateway.darkroom import JPEG, PNG
from tests.inprocess import KEY

pytestmark = pytest.mark.e2e


@pytest_asyncio.fixture
async def client(tmp_path):
    async with (
        studio(tmp_path) as opened,
        served(opened.asgi) as address,
        openai.AsyncOpenAI(base_url=f"{address}/v1", api_key=KEY, max_retries=0) as sdk,
    ):
        yield sdk


def opened(content):
    found = Image.open(BytesIO(content))
    found.load()
    return found


async def fetched(url):
    import asyncio

    def fetch():
        with urllib.request.urlopen(url, timeout=5) as reply:
            return reply.headers["content-type"], reply.read()

    return await asyncio.to_thread(fetch)


async def test_a_picture_is_generated_and_its_link_needs_no_key(client):
    reply = await client.images.generate(model=MODEL, prompt="a cat", size="1536x1024")
    content_type, content = await fetched(reply.data[0].url)
    found = opened(content)
    assert content_type == f"image/{found.format.lower()}"
    assert found.width > found.height
    assert reply.created > 1_700_000_000
    assert reply.usage.total_tokens == 0


async def test_pictures_come_as_base64(client):
    reply = await client.images.generate(
        model=MODEL, prompt="a cat", n=2, response_format="b64_json", quality="low"
    )
    assert [opened(base64.b64decode(one.b64_json)).format for one in reply.data]
    assert len(reply.data) == 2


async def test_an_edit_of_one_file(client):
    reply = await client.images.edit(model=MODEL, prompt="make it blue", image=BytesIO(PNG))
    assert opened((await fetched(reply.data[0].url))[1])


async def test_an_edit_of_several_files(client, tmp_path):
    first = tmp_path / "a.png"
    first.write_bytes(PNG)
    with first.open("rb") as file:
        reply = await client.images.edit(
            model="grok-imagine-image-edit",
            prompt="put them together",
            image=[file, ("b.jpg", JPEG, "image/jpeg")],
            response_format="b64_json",
            n=2,
        )
    assert all(opened(base64.b64decode(one.b64_json)) for one in reply.data)
    assert len(reply.data) == 2


async def test_errors_are_the_clients_own(client):
    with pytest.raises(openai.BadRequestError) as bad:
        await client.images.generate(model=MODEL, prompt="a cat", size="7x7")
    assert bad.value.param == "size"
    with pytest.raises(openai.PermissionDeniedError) as refused:
        await client.images.generate(model=MODEL, prompt="a cat [[sandbox: moderated=1]]")
    assert refused.value.code == "content_policy_violation"
    with pytest.raises(openai.BadRequestError) as lying:
        await client.images.edit(model=MODEL, prompt="x", image=("a.png", b"no picture"))
    assert lying.value.param == "image"


async def test_a_picture_through_chat_whole_and_streamed(client):
    messages = [{"role": "user", "content": "a cat"}]
    whole = await client.chat.completions.create(model=MODEL, messages=messages, stream=False)
    assert whole.choices[0].message.content.startswith("![image](http://127.0.0.1")
    said, reason = "", None
    async for chunk in await client.chat.completions.create(
        model=MODEL, messages=messages, stream=True
    ):
        said += chunk.choices[0].delta.content or ""
        reason = chunk.choices[0].finish_reason or reason
    assert said.startswith("![image](http://127.0.0.1")
    assert reason == "stop"


async def test_a_picture_through_responses_whole_and_streamed(client):
    whole = await client.responses.create(model=MODEL, input="a cat", stream=False)
    (call,) = [one for one in whole.output if one.type == "image_generation_call"]
    assert opened(base64.b64decode(call.result))
    assert "![image](" in whole.output_text
    async with client.responses.stream(model=MODEL, input="a cat") as stream:
        kinds = [event.type async for event in stream]
        final = await stream.get_final_response()
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"
    assert final.output_text.startswith("![image](")


async def test_a_link_of_ours_is_a_reference_of_the_next_request(client):
    first = await client.images.generate(model=MODEL, prompt="a cat")
    parts = [
        {"type": "text", "text": "make it blue"},
        {"type": "image_url", "image_url": {"url": first.data[0].url}},
    ]
    reply = await client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": parts}], stream=False
    )
    assert "![image](" in reply.choices[0].message.content

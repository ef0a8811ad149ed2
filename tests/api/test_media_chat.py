"""Models that make pictures or film answer in chat and Responses, whole and streamed."""

import asyncio
import base64
import json
import re
from typing import Any

import pytest

from groxy.api.media_chat import Forms, MediaChat
from groxy.core.errors import ErrorKind, GroxyError
from groxy.routing.catalog import Capability, Catalog
from tests.api.pictures import MODEL, studio
from tests.gateway.darkroom import PNG_URI

CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"
FILM_MODEL = "grok-imagine-video"
LINK = r"http://testserver/v1/files/(image|video)\?id=[0-9a-f]{32}"


@pytest.fixture
async def made_in(tmp_path):
    async with studio(tmp_path) as opened:
        yield opened


async def chat(made_in, said="a cat", *, model=MODEL, **fields):
    messages = [{"role": "user", "content": said}]
    body = {"model": model, "messages": messages, "stream": False} | fields
    return await made_in.post(CHAT, body)


async def responses(made_in, said="a cat", **fields):
    return await made_in.post(RESPONSES, {"model": MODEL, "input": said, "stream": False} | fields)


def content_of(answer):
    return answer.json["choices"][0]["message"]["content"]


def events(answer):
    found = re.findall(rb"^data: (.*)$", answer.body, re.MULTILINE)
    return [json.loads(one) if one != b"[DONE]" else "[DONE]" for one in found]


def deltas(answer):
    return [one["choices"][0]["delta"] for one in events(answer)[:-1] if one["choices"]]


def listening(app, said, heard):
    """Return the application; once it has sent `said`, the event is set."""

    async def listened(scope, receive, send):
        async def noting(message):
            if said in message.get("body", b""):
                heard.set()
            await send(message)

        await app(scope, receive, noting)

    return listened


def pictured(text, *urls):
    images = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return [{"type": "text", "text": text}, *images]


# -------------------------------------------------------------------------------------- who


def test_models_of_media_are_known_by_what_they_make():
    nothing: Any = None
    catalog = Catalog.load(aliases={"draw": MODEL, "talk": "grok-4.3"})
    chat = MediaChat(nothing, nothing, nothing, catalog, Forms)
    assert chat.is_media(f"{MODEL}:floor") is Capability.IMAGE
    assert chat.is_media("draw") is chat.is_media(f"x-ai/{MODEL}") is Capability.IMAGE
    assert chat.is_media("grok-imagine-image-edit") is Capability.IMAGE_EDIT
    assert chat.is_media(FILM_MODEL) is Capability.VIDEO
    assert chat.is_media("talk") is chat.is_media("v1") is chat.is_media("nobody") is None


# ------------------------------------------------------------------------------------ pictures


async def test_a_picture_is_shown_as_markdown(made_in):
    answer = await chat(made_in)
    assert answer.status == 200
    assert re.fullmatch(rf"!\[image\]\({LINK}\)", content_of(answer))
    assert answer.json["choices"][0]["finish_reason"] == "stop"
    assert answer.headers["x-groxy-attempts"] == "1"
    entry = await made_in.entry()
    assert (entry.dialect, entry.upstream_dialect, entry.outcome) == ("chat", "images", "ok")
    assert entry.reply_id == answer.json["id"]
    assert entry.cost_ticks > 0
    assert not entry.is_stream


@pytest.mark.parametrize(
    ("form", "asked", "pattern"),
    [
        ("url", None, LINK),
        ("markdown", None, rf"!\[image\]\({LINK}\)"),
        ("base64", None, r"!\[image\]\(data:image/[a-z]+;base64,[^)]+\)"),
        ("base64", "url", rf"!\[image\]\({LINK}\)"),
        ("url", "b64_json", r"!\[image\]\(data:image/[a-z]+;base64,[^)]+\)"),
    ],
)
async def test_pictures_are_shown_as_settings_and_caller_want(made_in, form, asked, pattern):
    made_in.forms = Forms(image=form)
    config = {"response_format": asked} if asked else {}
    answer = await chat(made_in, image_config=config)
    assert re.fullmatch(pattern, content_of(answer))
    kept, _ = await made_in.shelf.list("image", offset=0, limit=9)
    assert kept == (0 if "data:" in pattern else 1)


async def test_several_pictures_have_a_line_each(made_in):
    answer = await chat(made_in, "cats [[sandbox: few=1]]", image_config={"n": 2})
    first, second = content_of(answer).split("\n\n")
    assert first.startswith("![image](")
    assert "1 picture was not made" in second


async def test_a_stream_begins_with_role_and_progress_and_ends_well(made_in):
    answer = await chat(made_in, stream=True)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert events(answer)[-1] == "[DONE]"
    told = deltas(answer)
    assert told[0] == {"role": "assistant", "content": ""}
    assert told[1] == {"reasoning_content": f"Making 1 picture with {MODEL}.\n"}
    assert re.fullmatch(rf"!\[image\]\({LINK}\)", told[2]["content"])
    assert (await made_in.entry()).is_stream


async def test_a_stream_tells_that_it_takes_a_while(made_in):
    made_in.chat.tell_every_s = 0.1
    answer = await chat(made_in, "a cat [[sandbox: slow_first=0.8]]", stream=True)
    thoughts = [one["reasoning_content"] for one in deltas(answer) if "reasoning_content" in one]
    assert thoughts[0].startswith("Making")
    assert len(thoughts) > 1
    assert "content" in deltas(answer)[-2]


async def test_usage_is_in_a_stream_only_when_asked_for(made_in):
    answer = await chat(made_in, stream=True, stream_options={"include_usage": True})
    assert events(answer)[-2]["usage"]["total_tokens"] == 0
    assert all("usage" not in one for one in events(await chat(made_in, stream=True))[:-1])


async def test_a_picture_in_the_message_is_changed(made_in):
    answer = await chat(made_in, pictured("make it blue", PNG_URI), stream=True)
    assert deltas(answer)[1]["reasoning_content"].startswith("Changing 1 picture")


async def test_a_model_that_changes_pictures_goes_on_from_the_last_answer(made_in):
    shown = content_of(await chat(made_in))
    messages = [
        {"role": "user", "content": "a cat"},
        {"role": "assistant", "content": shown},
        {"role": "user", "content": "bluer"},
    ]
    body = {"model": "grok-imagine-image-edit", "messages": messages, "stream": False}
    assert (await made_in.post(CHAT, body)).status == 200


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ({"said": ""}, 400, "messages"),
        ({"said": "x", "image_config": {"n": 99}}, 400, "image_config.n"),
        ({"said": "x", "model": "grok-imagine-image-edit"}, 400, "messages"),
        ({"said": pictured("x", "data:image/png;base64,AAAA")}, 400, "messages"),
        ({"said": "x", "temperature": 9}, 400, "temperature"),
        ({"said": "x [[sandbox: moderated=1]]"}, 403, "messages"),
        (
            {"said": "x", "model": "grok-imagine-image-lite", "image_config": {"n": 5}},
            400,
            "image_config.n",
        ),
        ({"said": "x [[sandbox: status=429 retry_after=3]]"}, 429, None),
    ],
)
async def test_what_fails_at_once_has_its_status(made_in, fields, status, param, stream):
    answer = await chat(made_in, **fields, stream=stream)
    assert (answer.status, answer.error["param"]) == (status, param)
    assert (await made_in.entry()).status == status


async def test_what_fails_later_ends_the_stream(made_in):
    made_in.chat.tell_every_s = 0.1
    answer = await chat(made_in, "x [[sandbox: slow_first=0.8 refused]]", stream=True)
    assert answer.status == 200
    assert events(answer)[-1]["error"]["code"] == "content_policy_violation"


async def test_responses_has_the_picture_as_an_item_and_a_link_in_the_text(made_in):
    answer = await responses(made_in)
    assert answer.status == 200
    call, message = answer.json["output"]
    assert call["type"] == "image_generation_call"
    assert base64.b64decode(call["result"])[:3] in (b"\xff\xd8\xff", b"\x89PN")
    assert re.search(LINK, message["content"][0]["text"])
    entry = await made_in.entry()
    assert (entry.dialect, entry.reply_id) == ("responses", answer.json["id"])


async def test_responses_is_streamed(made_in):
    answer = await responses(made_in, stream=True)
    kinds = [one["type"] for one in events(answer)[:-1]]
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert kinds[-1] == "response.completed"
    assert "response.image_generation_call.completed" in kinds


async def test_responses_that_go_on_from_nothing_are_refused(made_in):
    answer = await responses(made_in, previous_response_id="resp_none")
    assert (answer.status, answer.error["param"]) == (404, "previous_response_id")


# ---------------------------------------------------------------------------------------- film


@pytest.mark.parametrize(
    ("form", "pattern"),
    [
        ("markdown", rf"\[video\]\({LINK}\)"),
        ("url", LINK),
        ("html", rf'<video controls src="{LINK}"></video>'),
    ],
)
async def test_a_film_is_shown_as_the_settings_want(made_in, form, pattern):
    made_in.forms = Forms(video=form)
    config = {"seconds": 10, "size": "1280x720"}
    answer = await chat(made_in, "a cat runs", model=FILM_MODEL, video_config=config)
    assert re.fullmatch(pattern, content_of(answer))
    (asked,) = made_in.camera.asked
    assert (asked.prompt, asked.duration_s, asked.aspect_ratio) == ("a cat runs", 10, "16:9")


async def test_a_stream_tells_how_far_a_film_is(made_in):
    made_in.camera.script = [0, 30, 30, 80]
    said = pictured("a cat runs", PNG_URI)
    answer = await chat(made_in, said, model=FILM_MODEL, stream=True)
    thoughts = [one["reasoning_content"] for one in deltas(answer) if "reasoning_content" in one]
    assert thoughts == ["Making a film of 6 s with grok-imagine-video.\n", "30 %\n", "80 %\n"]
    assert re.search(LINK, deltas(answer)[-2]["content"])
    assert events(answer)[-1] == "[DONE]"
    assert made_in.camera.asked[0].images == (PNG_URI,)


async def test_a_film_that_takes_long_keeps_the_connection(made_in):
    made_in.chat.tell_every_s = 0.1
    kept = asyncio.Event()
    made_in.camera.script = [kept]
    made_in.asgi = listening(made_in.asgi, b": keepalive", kept)
    answer = await chat(made_in, model=FILM_MODEL, stream=True)
    assert kept.is_set()
    assert deltas(answer)[1]["reasoning_content"].startswith("Making a film")


async def test_a_film_in_responses_is_a_link(made_in):
    answer = await responses(made_in, model=FILM_MODEL)
    (message,) = answer.json["output"]
    assert re.search(LINK, message["content"][0]["text"])


@pytest.mark.parametrize("stream", [False, True])
async def test_a_film_that_fails_at_once_has_its_status(made_in, stream):
    made_in.camera.script = [GroxyError(ErrorKind.REFUSED, "Too rude.")]
    answer = await chat(made_in, model=FILM_MODEL, stream=stream)
    assert (answer.status, answer.error["message"]) == (403, "Too rude.")


async def test_a_film_that_fails_later_ends_the_stream(made_in):
    made_in.camera.script = [30, GroxyError(ErrorKind.UPSTREAM_DOWN, "Gone.")]
    answer = await chat(made_in, model=FILM_MODEL, stream=True)
    assert events(answer)[-1]["error"]["message"] == "Gone."


async def test_a_wrong_config_of_a_film_is_named(made_in):
    answer = await chat(made_in, model=FILM_MODEL, video_config={"seconds": 0})
    assert (answer.status, answer.error["param"]) == (400, "video_config.seconds")


async def test_without_a_filmer_films_are_refused(made_in):
    made_in.chat.filmer = None
    answer = await chat(made_in, model=FILM_MODEL)
    assert (answer.status, answer.error["param"]) == (400, "model")


async def test_a_client_that_leaves_gives_up_the_film(made_in):
    made_in.camera.script = [10, 30.0]
    left = asyncio.Event()
    body = json.dumps(
        {"model": FILM_MODEL, "messages": [{"role": "user", "content": "x"}], "stream": True}
    ).encode()
    pieces = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive():
        if pieces:
            return pieces.pop()
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        left.set()

    key = b"Bearer sk-in-process"
    scope = {
        "type": "http",
        "method": "POST",
        "path": CHAT,
        "query_string": b"",
        "headers": [(b"authorization", key), (b"host", b"testserver")],
    }
    async with asyncio.timeout(5):
        await made_in.asgi(scope, receive, send)
    assert made_in.camera.is_closed
    assert made_in.camera.was_left, "its caller pays what is made of it"


async def test_a_gateway_that_stops_gives_up_the_film_at_its_own_expense(made_in):
    made_in.camera.script = [30.0]
    asking = asyncio.ensure_future(chat(made_in, model=FILM_MODEL, stream=True))
    while not made_in.camera.asked:
        await asyncio.sleep(0.01)
    asking.cancel()
    await asyncio.wait([asking])
    assert made_in.camera.is_closed
    assert not made_in.camera.was_left

"""The sandbox as a server: routes, scripts and the ASGI application."""

import asyncio
import json
import time

import pytest

from groxy.upstreams._multipart import FormFile, write_form
from groxy.upstreams.sandbox.desk import DEFAULT_MODELS
from groxy.upstreams.sandbox.server import MAX_BODY_BYTES, Sandbox, create_app
from tests.upstreams.sandbox.asking import body, chunks_of, data_of
from tests.upstreams.sandbox.media_asking import JPEG


async def _ask(sandbox, path, method="GET", content=b"", headers=None):
    reply = sandbox.answer(method, path, headers or {}, content)
    return reply, b"".join([chunk async for chunk in reply.body])


async def _chat(text="Hello", sandbox=None, header="", **fields):
    reply, content = await _ask(
        sandbox or Sandbox(),
        "/v1/chat/completions",
        "POST",
        body(text, **fields),
        {"x-sandbox": header} if header else {},
    )
    return reply, content


async def _json(path, sandbox=None):
    reply, content = await _ask(sandbox or Sandbox(), path)
    return reply.status, json.loads(content)


async def test_it_lists_models():
    status, listed = await _json("/v1/models")
    assert status == 200
    assert [model["id"] for model in listed["data"]] == list(DEFAULT_MODELS)
    assert listed["data"][0].keys() == {"id", "object", "created", "owned_by"}


async def test_it_lists_the_models_it_was_given_and_serves_no_others():
    sandbox = Sandbox(["one", "two"])
    assert [model["id"] for model in (await _json("/v1/models", sandbox))[1]["data"]] == [
        "one",
        "two",
    ]
    assert (await _json("/v1/models/two", sandbox))[1]["id"] == "two"
    assert (await _json("/v1/models/three", sandbox))[0] == 404
    reply, content = await _chat(sandbox=sandbox, model="three")
    assert reply.status == 404
    assert "three" in json.loads(content)["error"]
    assert (await _chat(sandbox=sandbox, model="two"))[0].status == 200


async def test_any_model_is_echoed_when_none_are_given():
    assert (await _json("/v1/models/x-ai/grok-9"))[1]["id"] == "x-ai/grok-9"
    _, content = await _chat(model="anything/at-all")
    assert json.loads(content)["model"] == "anything/at-all"


async def test_it_tells_of_the_key_and_its_health():
    assert (await _json("/v1/api-key"))[1]["api_key_blocked"] is False
    sandbox = Sandbox()
    await _chat(sandbox=sandbox)
    assert (await _json("/health", sandbox))[1] == {
        "status": "ok",
        "requests": 2,
        "open_replies": 0,
        "abandoned": 0,
    }


@pytest.mark.parametrize("path", ["/v1/models", "/models", "/api/v1/models", "/v1/models/?a=b"])
async def test_paths_are_known_in_the_usual_spellings(path):
    assert (await _json(path))[0] == 200


async def test_other_paths_and_methods_are_refused():
    assert (await _json("/v1/none"))[0] == 404
    assert (await _json("/v1/chat/completions"))[0] == 405
    assert (await _ask(Sandbox(), "/v1/models", "POST"))[0].status == 405


@pytest.mark.parametrize("content", [b"", b"{", b'{"model":"m"}', b"[]", b'{"a":NaN}', b"\xff"])
async def test_a_bad_body_is_refused_in_the_way_of_xai(content):
    reply, said = await _ask(Sandbox(), "/v1/chat/completions", "POST", content)
    assert reply.status == 400
    assert isinstance(json.loads(said)["error"], str)


async def test_a_whole_reply_has_its_length_and_says_what_it_is():
    reply, content = await _chat()
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["content-length"] == str(len(content))
    assert "Groxy sandbox" in json.loads(content)["choices"][0]["message"]["content"]
    assert not reply.takes_time


async def test_a_stream_has_its_type_and_its_end():
    reply, content = await _chat(stream=True)
    assert reply.headers["content-type"] == "text/event-stream"
    assert data_of(content)[-1] == b"[DONE]"
    assert chunks_of(content)[-1]["choices"][0]["finish_reason"] == "stop"


async def test_an_unknown_word_is_a_400_that_names_the_known_ones():
    reply, content = await _chat("[[sandbox: explode]]")
    assert reply.status == 400
    assert "cut_after" in json.loads(content)["error"]


async def test_the_header_says_the_same_as_the_marker():
    for reply, content in (
        await _chat("Hi [[sandbox: status=503 retry_after=7]]"),
        await _chat("Hi", header="status=503 retry_after=7"),
    ):
        assert (reply.status, reply.headers["retry-after"]) == (503, "7")
        assert json.loads(content)["code"] == "The service is currently unavailable"


async def test_a_failure_may_happen_a_few_times_only():
    sandbox = Sandbox()
    text = "Hi [[sandbox: status=500 times=2 tokens=3]]"
    replies = [await _chat(text, sandbox) for _ in range(4)]
    assert [reply.status for reply, _ in replies] == [500, 500, 200, 200]
    assert json.loads(replies[2][1])["usage"]["completion_tokens"] == 3
    assert (await _chat("Ho [[sandbox: status=500 times=2]]", sandbox))[0].status == 500


async def test_an_error_inside_a_200_is_json_also_where_a_stream_was_asked_for():
    for streams in (False, True):
        reply, content = await _chat("[[sandbox: error_200]]", stream=streams)
        assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
        assert json.loads(content)["code"] == "The service is currently unavailable"


async def test_an_error_in_the_middle_of_a_whole_reply_is_all_of_it():
    reply, content = await _chat("[[sandbox: error_after=3]]")
    assert reply.status == 200
    assert "error" in json.loads(content)


async def test_waits_are_told_to_whoever_sends():
    assert (await _chat("[[sandbox: slow_first=0.5]]"))[0].head_after_s == 0.5
    assert (await _chat("[[sandbox: slow_first=0.5 status=500]]"))[0].head_after_s == 0.5
    paced = (await _chat("[[sandbox: tokens=20 pace=10]]"))[0]
    assert (paced.head_after_s, paced.takes_time) == (2, True)
    stream = (await _chat("[[sandbox: tokens=2 pace=100]]", stream=True))[0]
    assert (stream.head_after_s, stream.takes_time) == (0, True)


async def test_its_own_pace_holds_until_a_request_asks_for_another():
    sandbox = Sandbox(tokens_per_s=10)
    assert (await _chat("[[sandbox: tokens=20]]", sandbox))[0].head_after_s == 2
    assert (await _chat("[[sandbox: tokens=20 pace=40]]", sandbox))[0].head_after_s == 0.5
    assert (await _chat("[[sandbox: tokens=20 pace=0]]", sandbox))[0].head_after_s == 0


async def test_bytes_are_split_streamed_and_whole():
    for streams in (False, True):
        reply = Sandbox().answer(
            "POST",
            "/v1/chat/completions",
            {},
            body("[[sandbox: split=11]]", stream=streams),
        )
        sizes = [len(chunk) async for chunk in reply.body]
        assert set(sizes[:-1]) == {11}


async def _post(path, sandbox=None, header="", **fields):
    content = json.dumps({"model": "m"} | fields).encode()
    headers = {"x-sandbox": header} if header else {}
    reply, said = await _ask(sandbox or Sandbox(), path, "POST", content, headers)
    return reply, json.loads(said)


async def test_it_makes_vectors():
    reply, said = await _post("/v1/embeddings", input=["one", "two"])
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    assert [entry["index"] for entry in said["data"]] == [0, 1]
    assert (await _post("/v1/embeddings", input=["one", "two"]))[1] == said


async def test_it_splits_text_into_tokens():
    _, said = await _post("/v1/tokenize-text", text="Hello there")
    assert [token["string_token"] for token in said["token_ids"]] == ["Hello", " there"]


_LOOKUPS = pytest.mark.parametrize(
    ("path", "field"), [("/v1/embeddings", "input"), ("/v1/tokenize-text", "text")]
)


@_LOOKUPS
async def test_vectors_and_tokens_fail_as_they_are_told_to(path, field):
    reply, said = await _post(path, **{field: "Hi [[sandbox: status=503 retry_after=7]]"})
    assert (reply.status, reply.headers["retry-after"]) == (503, "7")
    assert said["code"] == "The service is currently unavailable"
    assert (await _post(path, header="status=429", **{field: "Hi"}))[0].status == 429
    sandbox = Sandbox()
    text = "Hi [[sandbox: status=500 times=1]]"
    replies = [await _post(path, sandbox, **{field: text}) for _ in range(2)]
    assert [reply.status for reply, _ in replies] == [500, 200]
    assert (await _post(path, **{field: "[[sandbox: slow_first=0.5]]x"}))[0].head_after_s == 0.5


@_LOOKUPS
async def test_vectors_and_tokens_are_for_known_models_in_good_requests_only(path, field):
    assert (await _post(path, Sandbox(["one"]), **{field: "Hi"}))[0].status == 404
    assert (await _post(path))[0].status == 400
    assert (await _json(path))[0] == 405


async def test_vectors_go_wrong_on_the_way_too():
    reply, said = await _post("/v1/embeddings", input="[[sandbox: error_after=1]]x")
    assert (reply.status, "error" in said) == (200, True)
    text = b'{"model":"m","input":"x [[sandbox: garbage_after=1]]"}'
    _, content = await _ask(Sandbox(), "/v1/embeddings", "POST", text)
    with pytest.raises(ValueError):
        json.loads(content)


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/messages", "/v1/embeddings"])
async def test_a_dialect_that_is_not_spoken_is_not_there(path):
    reply, _ = await _ask(Sandbox(dialects=["chat"]), path, "POST", b"{}")
    assert reply.status == 404


class _Caller:
    """One ASGI connection."""

    def __init__(self, content=b"", *, leaves_after_s=None):
        self._requests = [content[:50], content[50:]]
        self._leaves_after_s = leaves_after_s
        self.sent = []

    async def receive(self):
        if self._requests:
            piece = self._requests.pop(0)
            return {"type": "http.request", "body": piece, "more_body": bool(self._requests)}
        await asyncio.sleep(3600 if self._leaves_after_s is None else self._leaves_after_s)
        return {"type": "http.disconnect"}

    async def send(self, message):
        self.sent.append(message)

    @property
    def status(self):
        return self.sent[0]["status"]

    @property
    def content(self):
        return b"".join(message.get("body", b"") for message in self.sent[1:])

    @property
    def is_whole(self):
        return self.sent[-1].get("more_body") is False


async def _call(caller, path="/v1/chat/completions", method="POST", headers=(), app=None):
    path, _, query = path.partition("?")
    scope = {"type": "http", "method": method, "path": path, "headers": list(headers)}
    if query:
        scope["query_string"] = query.encode()
    await (app or create_app())(scope, caller.receive, caller.send)
    return caller


async def test_the_application_answers_whole_and_streamed():
    caller = await _call(_Caller(body()))
    assert caller.status == 200
    assert caller.is_whole
    assert json.loads(caller.content)["object"] == "chat.completion"
    caller = await _call(_Caller(body(stream=True)))
    assert caller.content.endswith(b"data: [DONE]\n\n")


async def test_the_application_takes_its_time_when_asked_to():
    started = time.monotonic()
    caller = await _call(_Caller(body("[[sandbox: tokens=4 pace=40]]", stream=True)))
    assert time.monotonic() - started > 0.1
    assert len(caller.sent) > 5
    assert caller.is_whole


async def test_the_application_reads_the_header():
    caller = await _call(_Caller(body()), headers=[(b"x-other", b"1"), (b"x-sandbox", b"refused")])
    assert caller.status == 403


async def test_a_cut_leaves_the_response_without_its_end():
    caller = await _call(_Caller(body("[[sandbox: cut_after=2]]", stream=True)))
    assert caller.status == 200
    assert len(data_of(caller.content)) == 2
    assert not caller.is_whole


async def test_the_application_knows_keys_and_queries():
    app = create_app()
    script = _Caller(b'{"key":"k","script":"files=3 status=429 retry_after=1"}')
    assert (await _call(script, "/v1/faults", "PUT", app=app)).status == 200
    for headers in ([(b"authorization", b"Bearer k")], [(b"x-api-key", b"k")]):
        assert (await _call(_Caller(body()), headers=headers, app=app)).status == 429
        listed = await _call(_Caller(), "/v1/files?limit=2", "GET", headers, app)
        assert len(json.loads(listed.content)["data"]) == 2
    assert (await _call(_Caller(body()), app=app)).status == 200


@pytest.mark.parametrize("streams", [False, True])
async def test_work_stops_when_the_client_leaves(streams):
    app = create_app()
    content = body("[[sandbox: slow_first=30]]", stream=streams)
    started = time.monotonic()
    caller = await _call(_Caller(content, leaves_after_s=0.05), app=app)
    assert time.monotonic() - started < 5
    assert not (caller.sent and caller.is_whole)
    health = await _call(_Caller(), "/health", "GET", app=app)
    assert json.loads(health.content)["abandoned"] == 1


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
async def test_a_body_that_is_too_large_is_refused(path):
    length = str(MAX_BODY_BYTES + 1).encode()
    caller = await _call(_Caller(), path, headers=[(b"content-length", length)])
    assert caller.status == 413
    assert ("type" in json.loads(caller.content)) is path.endswith("messages")


async def test_the_application_starts_and_stops_with_its_server():
    messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent = []

    async def receive():
        return messages.pop(0)

    async def send(message):
        sent.append(message["type"])

    await create_app()({"type": "lifespan"}, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    await create_app()({"type": "websocket"}, receive, send)


async def test_the_application_takes_forms_and_links_to_itself():
    form, content_type = write_form(
        [("model", "m"), ("prompt", "p [[sandbox: links]]")],
        [FormFile(field="image", name="a.jpg", content_type="image/jpeg", content=JPEG)],
    )
    headers = [(b"content-type", content_type.encode()), (b"host", b"sandbox.test:9001")]
    app = create_app()
    caller = await _call(_Caller(form), "/v1/images/edits", headers=headers, app=app)
    assert caller.status == 200
    (entry,) = json.loads(caller.content)["data"]
    address, _, path = entry["url"].partition("/v1/")
    assert address == "http://sandbox.test:9001"
    caller = await _call(_Caller(), f"/v1/{path}", "GET", app=app)
    assert caller.is_whole
    assert caller.content.startswith(b"\x89PNG")


async def test_the_application_drops_the_connection_in_the_middle_of_a_film():
    app = create_app()
    asked = json.dumps(
        {"model": "m", "prompt": "p [[sandbox: takes=0 cut_after=1]]", "seconds": 1}
    ).encode()
    begun = await _call(_Caller(asked), "/v1/videos", app=app)
    film_id = json.loads(begun.content)["id"]
    caller = await _call(_Caller(), f"/v1/videos/{film_id}/content", "GET", app=app)
    assert caller.status == 200
    assert caller.content[4:8] == b"ftyp"
    assert not caller.is_whole

"""Every other endpoint, with the official OpenAI client where it has them and as plain HTTP."""

import base64
import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import openai
import pytest

from tests.e2e.running import KEY, Gateway, Reply, config_toml, poll, running, running_over

pytestmark = pytest.mark.e2e

_MODEL = "grok-4.3"
_PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
_KEY_HEADER = {"Authorization": f"Bearer {KEY}"}
_USER: Any = [{"role": "user", "content": "Hello, gateway"}]


@dataclass(frozen=True)
class Plain:
    """A client of plain HTTP that has the key."""

    gateway: Gateway

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Reply:
        return self.gateway.get(path, {**_KEY_HEADER, **(headers or {})})

    def post(self, path: str, body: Any, headers: Mapping[str, str] | None = None) -> Reply:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"Content-Type": "application/json", **(_KEY_HEADER if headers is None else headers)}
        return self.gateway.request("POST", path, content, sent)

    def post_form(
        self, path: str, fields: Mapping[str, str], files: Sequence[tuple[str, str, bytes]]
    ) -> Reply:
        """Post a form as browsers do; a file is its field, its name and its content."""
        parts = [(f'name="{name}"', value.encode()) for name, value in fields.items()]
        parts += [(f'name="{field}"; filename="{name}"', data) for field, name, data in files]
        head = b"--e2e\r\nContent-Disposition: form-data; "
        content = b"".join(
            head + named.encode() + b"\r\n\r\n" + data + b"\r\n" for named, data in parts
        )
        kind = {"Content-Type": "multipart/form-data; boundary=e2e"}
        return self.gateway.request("POST", path, content + b"--e2e--\r\n", _KEY_HEADER | kind)


@pytest.fixture(scope="module", params=["built-in", "chat", "messages"])
def lane(request) -> str:
    """What serves: the built-in sandbox, or one that speaks a dialect only."""
    found: str = request.param
    return found


@pytest.fixture(scope="module")
def gateway(lane, tmp_path_factory) -> Iterator[Gateway]:
    with running_over(lane, tmp_path_factory.mktemp(f"others-{lane}")) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def client(gateway) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=KEY, max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def plain(gateway) -> Plain:
    return Plain(gateway)


@pytest.fixture(scope="module")
def built_in(tmp_path_factory) -> Iterator[Gateway]:
    """The gateway for what no dialect but its own can carry."""
    folder = tmp_path_factory.mktemp("built-in")
    with running(Gateway(folder=folder, config=config_toml())) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def vectors(built_in) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{built_in.url}/v1", api_key=KEY, max_retries=0) as client:
        yield client


# --------------------------------------------------------------------------------- completions


def test_a_prompt_is_completed(client):
    reply = client.completions.create(model=_MODEL, prompt="Say hi", max_tokens=500)
    (choice,) = reply.choices
    assert reply.object == "text_completion"
    assert reply.id
    assert "“Say hi”" in choice.text
    assert choice.finish_reason == "stop"
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens


def test_a_completion_is_streamed_with_usage_last(client):
    whole = client.completions.create(model=_MODEL, prompt="Say hi")
    with client.completions.create(
        model=_MODEL, prompt="Say hi", stream=True, stream_options={"include_usage": True}
    ) as stream:
        chunks = list(stream)
    text = "".join(choice.text for chunk in chunks for choice in chunk.choices)
    assert text == whole.choices[0].text
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    assert [choice.finish_reason for choice in chunks[-2].choices] == ["stop"]


@pytest.mark.parametrize("is_stream", [False, True])
def test_the_prompt_is_echoed_before_the_text(client, is_stream):
    asked: Any = {"model": _MODEL, "prompt": "Say hi", "echo": True}
    if is_stream:
        with client.completions.create(stream=True, **asked) as stream:
            text = "".join(choice.text for chunk in stream for choice in chunk.choices)
    else:
        text = client.completions.create(**asked).choices[0].text
    assert text.startswith("Say hi")
    assert "“Say hi”" in text


def test_a_completion_keeps_to_its_limit_and_its_stop_text(client):
    limited = client.completions.create(model=_MODEL, prompt="Say hi", max_tokens=5)
    assert limited.choices[0].finish_reason == "length"
    assert limited.usage.completion_tokens == 5
    stopped = client.completions.create(model=_MODEL, prompt="Say hi", stop="You wrote")
    assert stopped.choices[0].finish_reason == "stop"
    assert "You wrote" not in stopped.choices[0].text


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": [1, 2, 3]}, "prompt"),
        ({"suffix": "end"}, "suffix"),
        ({"best_of": 3}, "best_of"),
        ({"max_tokens": -1}, "max_tokens"),
    ],
)
def test_a_completion_that_cannot_be_is_refused_by_field(client, fields, param):
    asked: Any = {"model": _MODEL, "prompt": "Say hi"} | fields
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(**asked)
    assert caught.value.param == param


def test_a_streamed_completion_that_breaks_off_raises_in_the_client(client):
    with (
        client.completions.create(
            model=_MODEL, prompt="Say hi [[sandbox: cut_after=5]]", stream=True
        ) as stream,
        pytest.raises(openai.APIError) as caught,
    ):
        list(stream)
    assert caught.value.code == "upstream_stream_broken"


# ---------------------------------------------------------------------------------- embeddings


def test_vectors_come_as_the_client_asks_for_them_by_itself(vectors):
    """The client asks for base64 when nothing is said, and unpacks it."""
    reply = vectors.embeddings.create(model="v1", input=["a cat", "the cats", "a ship"])
    assert [item.index for item in reply.data] == [0, 1, 2]
    first, second, third = (item.embedding for item in reply.data)
    assert len(first) == len(second) == len(third) > 100
    assert sum(number * number for number in first) == pytest.approx(1, abs=1e-3)
    assert reply.usage.prompt_tokens == reply.usage.total_tokens > 0


def test_vectors_are_the_same_as_numbers_and_as_bytes(vectors):
    numbers = vectors.embeddings.create(model="v1", input="a cat", encoding_format="float")
    packed = vectors.embeddings.create(model="v1", input="a cat", encoding_format="base64")
    floats = numbers.data[0].embedding
    raw = base64.b64decode(packed.data[0].embedding)
    assert struct.unpack(f"<{len(floats)}f", raw) == pytest.approx(floats, abs=1e-6)


def test_vectors_have_as_many_dimensions_as_asked_for(vectors):
    reply = vectors.embeddings.create(model="v1", input="a cat", dimensions=64)
    assert len(reply.data[0].embedding) == 64


@pytest.mark.parametrize("text", [[1, 2, 3], [[1, 2], [3]]])
def test_vectors_of_tokens_are_made_too(vectors, text):
    reply = vectors.embeddings.create(model="v1", input=text)
    assert len(reply.data) == (2 if isinstance(text[0], list) else 1)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": []}, "input"),
        ({"input": ["a", ""]}, "input.1"),
        ({"dimensions": 0}, "dimensions"),
        ({"encoding_format": "hex"}, "encoding_format"),
    ],
)
def test_vectors_that_cannot_be_are_refused_by_field(vectors, fields, param):
    asked: Any = {"model": "v1", "input": "a cat"} | fields
    with pytest.raises(openai.BadRequestError) as caught:
        vectors.embeddings.create(**asked)
    assert caught.value.param == param


def test_vectors_are_in_the_books(built_in, vectors):
    raw = vectors.embeddings.with_raw_response.create(model="v1", input="a cat, for the books")
    row = built_in.entry(raw.headers["x-request-id"])
    assert row.input_tokens == raw.parse().usage.prompt_tokens
    assert row.output_tokens == 0


# -------------------------------------------------------------------------------- deferred chat


def _defer(plain: Plain, text: str) -> str:
    body = {
        "model": _MODEL,
        "deferred": True,
        "messages": [{"role": "user", "content": text}],
    }
    receipt = plain.post("/v1/chat/completions", body)
    assert receipt.status == 200
    assert receipt.json.keys() == {"request_id"}
    found: str = receipt.json["request_id"]
    return found


def _fetch(plain: Plain, request_id: str) -> Reply:
    return plain.get(f"/v1/chat/deferred-completion/{request_id}")


def _fetch_once_there(plain: Plain, request_id: str) -> Reply:
    """A deferred reply is given out once, so the answer that is not a 202 is it."""
    found: list[Reply] = []

    def is_there() -> bool:
        found.append(_fetch(plain, request_id))
        return found[-1].status != 202

    poll(is_there, what="the deferred reply")
    return found[-1]


def test_a_deferred_reply_is_waited_for_and_had_once(plain):
    request_id = _defer(plain, "Later [[sandbox: slow_first=0.5]]")
    early = _fetch(plain, request_id)
    assert (early.status, early.body) == (202, b"")
    reply = _fetch_once_there(plain, request_id)
    assert reply.status == 200
    assert reply.json["object"] == "chat.completion"
    assert "“Later”" in reply.text
    assert _fetch(plain, request_id).status == 404


def test_a_deferred_reply_that_failed_says_so_when_it_is_fetched(plain):
    reply = _fetch_once_there(plain, _defer(plain, "Later [[sandbox: refused]]"))
    assert reply.status == 403
    assert reply.error["code"] == "content_policy_violation"


def test_a_deferred_reply_needs_a_key_and_has_to_have_been_asked_for(gateway, plain):
    path = f"/v1/chat/deferred-completion/{_defer(plain, 'Mine')}"
    assert gateway.get(path, {"Authorization": "Bearer sk-wrong"}).status == 401
    assert plain.get("/v1/chat/deferred-completion/never-was").status == 404


def test_a_stream_cannot_be_deferred(plain):
    body = {"model": _MODEL, "deferred": True, "stream": True, "messages": _USER}
    refused = plain.post("/v1/chat/completions", body)
    assert refused.status == 400
    assert refused.error["param"] in {"deferred", "stream"}


# ------------------------------------------------------------------------------------- tokenize


@pytest.mark.parametrize("path", ["/v1/tokenize", "/v1/tokenize-text", "/api/v1/tokenize"])
def test_a_text_is_told_token_by_token(plain, path):
    text = "Hello, wörld 🌍"
    told = plain.post(path, {"text": text, "model": _MODEL}).json
    assert told["token_count"] == len(told["token_ids"]) > 3
    raw = b"".join(bytes(token["token_bytes"]) for token in told["token_ids"])
    assert raw.decode() == text
    assert all(isinstance(token["token_id"], int) for token in told["token_ids"])


def test_a_text_to_tokenize_must_be_one(plain):
    refused = plain.post("/v1/tokenize", {"text": 7})
    assert refused.status == 400
    assert refused.error["param"] == "text"


# --------------------------------------------------------------------------------------- vision


def _data_uri() -> str:
    return "data:image/png;base64," + base64.b64encode(_PNG).decode()


@pytest.mark.parametrize(
    "picture",
    [
        {"image": _data_uri()},
        {"image_url": _data_uri()},
        {"image": "https://example.com/cat.png"},
        {"images": [_data_uri(), _data_uri()]},
    ],
)
def test_a_picture_is_analyzed_from_json(plain, picture):
    reply = plain.post("/v1/vision/analyze", {"prompt": "What is it?", **picture})
    assert reply.status == 200, reply.body
    told = reply.json
    assert told["object"] == "vision.analysis"
    count = len(picture.get("images", [1]))
    assert f"I see {count} picture" in told["analysis"]
    assert "“What is it?”" in told["analysis"]
    assert told["finish_reason"] == "stop"
    assert told["usage"]["prompt_tokens"] > 100


def test_pictures_are_analyzed_from_a_form(plain):
    fields = {"prompt": "What are they?", "model": _MODEL, "max_tokens": "500"}
    files = [("image", "a.png", _PNG), ("image", "b", _PNG)]
    reply = plain.post_form("/v1/vision/analyze", fields, files)
    assert reply.status == 200, reply.body
    assert "I see 2 pictures." in reply.json["analysis"]
    assert reply.json["model"] == _MODEL


def test_a_file_that_is_no_picture_is_refused(plain):
    files = [("image", "a.png", b"not a picture")]
    reply = plain.post_form("/v1/vision/analyze", {"prompt": "What?"}, files)
    assert reply.status == 400
    assert reply.error["param"].startswith("image")


def test_an_analysis_without_a_picture_is_refused(plain):
    reply = plain.post("/v1/vision/analyze", {"prompt": "What?"})
    assert reply.status == 400
    assert reply.error["param"].startswith("image")


# ----------------------------------------------------------------------------------- generation


@pytest.mark.parametrize("path", ["/v1/generation", "/api/v1/generation"])
def test_what_a_reply_took_is_told_by_either_of_its_ids(client, plain, path):
    raw = client.chat.completions.with_raw_response.create(
        model=_MODEL,
        messages=_USER,
        extra_headers={"X-Title": "My app", "HTTP-Referer": "https://app.example"},
    )
    reply = raw.parse()
    for name in (reply.id, raw.headers["x-request-id"]):
        found = plain.get(f"{path}?id={quote(name)}")
        assert found.status == 200, found.body
        told = found.json["data"]
        assert told["tokens_prompt"] == reply.usage.prompt_tokens
        assert told["tokens_completion"] == reply.usage.completion_tokens
        assert told["total_cost"] > 0
        assert told["streamed"] is False
        assert told["finish_reason"] == "stop"


def test_a_reply_that_never_was_has_no_generation(plain):
    assert plain.get("/v1/generation?id=gen-never").status == 404
    assert plain.get("/v1/generation").status == 400


# --------------------------------------------------------------------------------- lists of models


@pytest.mark.parametrize("prefix", ["/v1", "/api/v1"])
def test_models_are_listed_in_everybodys_shape(plain, prefix):
    openais = plain.get(f"{prefix}/models").json
    assert openais["object"] == "list"
    names = {model["id"] for model in openais["data"]}
    assert _MODEL in names
    anthropics = plain.get(f"{prefix}/models", {"anthropic-version": "2023-06-01"}).json
    assert names <= {model["id"] for model in anthropics["data"]}
    xais = plain.get(f"{prefix}/language-models").json["models"]
    (found,) = [model for model in xais if model["id"] == _MODEL]
    assert found["prompt_text_token_price"] > 0
    assert plain.get(f"{prefix}/language-models/{_MODEL}").json == found
    assert plain.get(f"{prefix}/embedding-models").status == 200


def test_embedding_models_are_listed_where_there_are_any(built_in):
    reply = Plain(built_in).get("/v1/embedding-models")
    assert "v1" in {model["id"] for model in reply.json["models"]}


# ------------------------------------------------------------------------------------ everywhere


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/chat/completions", {"messages": _USER}),
        ("/responses", {"input": "Hello"}),
        ("/messages", {"messages": _USER, "max_tokens": 500}),
        ("/messages/count_tokens", {"messages": _USER}),
        ("/completions", {"prompt": "Hello"}),
        ("/responses/input_tokens", {"input": "Hello"}),
        ("/responses/compact", {"input": "Hello"}),
        ("/tokenize", {"text": "Hello"}),
        ("/vision/analyze", {"prompt": "What?", "image": _data_uri()}),
    ],
)
def test_every_path_answers_below_either_prefix_and_wants_a_key(plain, path, body):
    body = {"model": _MODEL, **body}
    for prefix in ("/v1", "/api/v1"):
        reply = plain.post(prefix + path, body)
        assert reply.status == 200, reply.body
        assert reply.headers["x-request-id"] == reply.headers["request-id"]
        assert plain.post(prefix + path, body, headers={}).status == 401
        assert plain.post(prefix + path, body, headers={"x-api-key": KEY}).status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/v1/chat/completions",
        "/v1/responses",
        "/v1/responses/compact",
        "/v1/responses/input_tokens",
        "/v1/messages",
        "/v1/messages/count_tokens",
        "/v1/completions",
        "/v1/embeddings",
        "/v1/tokenize",
        "/v1/vision/analyze",
    ],
)
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'{"model": NaN}', b"[" * 5000])
def test_a_body_that_is_no_object_is_refused_and_not_a_crash(plain, path, content):
    reply = plain.post(path, content)
    assert reply.status == 400, reply.body
    error = reply.json["error"]
    assert error["message"]


def test_a_turn_in_one_dialect_reads_as_the_same_answer_in_every_other(client, plain):
    """The sandbox says the same to the same question, however it is put."""
    text = "The same to everybody"
    turns: Any = [{"role": "user", "content": text}]
    chat = client.chat.completions.create(model=_MODEL, messages=turns).choices[0].message.content
    responses = client.responses.create(model=_MODEL, input=text).output_text
    completion = client.completions.create(model=_MODEL, prompt=text).choices[0].text
    body = {"model": _MODEL, "max_tokens": 2000, "messages": turns}
    message = plain.post("/v1/messages", body).json["content"][0]["text"]
    assert chat == responses == completion == message
    assert json.dumps(text, ensure_ascii=False).strip('"') in chat

"""Chat requests: what is taken, what is refused and how, what goes upstream, what is counted."""

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.request import Message, Options
from groxy.dialects._base import Asked
from groxy.dialects._openai import encode_error
from groxy.dialects.chat.canonical import canonical, prompt_text
from groxy.dialects.chat.request import decode_request, outgoing

SECRET = "my-mothers-maiden-name"
HELLO = [{"role": "user", "content": "Hello"}]
LOOK = {
    "type": "function",
    "function": {"name": "look", "description": "Looks.", "parameters": {"type": "object"}},
}


def _body(**fields: Any) -> bytes:
    return json.dumps({"model": "grok-4", "messages": HELLO} | fields).encode()


def _asked(**fields: Any) -> Asked:
    return decode_request(_body(**fields))


def _with_raw(raw: bytes) -> bytes:
    """A good body with more members, as they are."""
    return _body()[:-1] + b"," + raw + b"}"


def _message(**fields: Any) -> Message:
    return canonical(_asked(messages=[fields])).messages[0]


def _options(**fields: Any) -> Options:
    return canonical(_asked(**fields)).options


def _refusal(body: bytes) -> GroxyError:
    with pytest.raises(GroxyError) as caught:
        decode_request(body)
    return caught.value


def _asked_or_refusal(body: bytes) -> Asked | GroxyError:
    try:
        return decode_request(body)
    except GroxyError as error:
        return error


def _user(content: Any) -> dict[str, Any]:
    return {"messages": [*HELLO, {"role": "user", "content": content}]}


# ------------------------------------------------------------------------------------ what is taken


def test_the_least_a_request_needs_is_taken():
    asked = _asked()
    assert (asked.model, asked.stream, asked.wants_usage) == ("grok-4", None, False)
    assert asked.requires == frozenset()


@pytest.mark.parametrize("stream", [True, False, None])
def test_whether_to_stream_is_what_the_caller_said(stream):
    assert _asked(stream=stream).stream is stream


@pytest.mark.parametrize(
    ("options", "wants"),
    [
        ({"include_usage": True}, True),
        ({"include_usage": False}, False),
        ({"include_usage": None}, False),
        ({}, False),
        (None, False),
    ],
)
def test_usage_is_streamed_only_when_asked_for(options, wants):
    assert _asked(stream=True, stream_options=options).wants_usage is wants


@pytest.mark.parametrize(
    ("fields", "needed"),
    [
        ({"tools": [LOOK]}, {"tools"}),
        ({"tools": []}, set()),
        ({"response_format": {"type": "json_object"}}, set()),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {"a": 1}}}},
            {"schema"},
        ),
        (_user([{"type": "image_url", "image_url": {"url": "https://a/b.png"}}]), {"image"}),
        (_user([{"type": "text", "text": "a"}]), set()),
    ],
)
def test_a_request_says_which_abilities_it_needs(fields, needed):
    assert _asked(**fields).requires == needed


def test_the_names_of_offered_functions_are_known():
    assert _asked(tools=[LOOK, {"type": "web_search"}]).tool_names == {"look"}
    assert _asked().tool_names == frozenset()


@pytest.mark.parametrize(("deferred", "is_deferred"), [(True, True), (False, False), (None, False)])
def test_an_answer_may_be_fetched_later(deferred, is_deferred):
    assert _asked(deferred=deferred).is_deferred is is_deferred


def test_openrouters_fallback_models_are_kept_in_their_order():
    assert _asked(models=["b", "a"]).fallbacks == ("b", "a")


@pytest.mark.parametrize(
    ("usage", "wants"),
    [({"include": True}, True), ({"include": False}, False), ({}, False), (None, False)],
)
def test_openrouters_word_for_usage_asks_for_usage_and_cost(usage, wants):
    asked = _asked(usage=usage)
    assert (asked.wants_usage, asked.wants_cost) == (wants, wants)


def test_a_request_says_what_it_is_part_of_and_who_may_carry_it():
    asked = _asked(n=2, prompt_cache_key="k", provider={"only": ["a"]})
    assert asked.carriers == ("chat",)
    assert asked.conversation
    assert asked.preferences.only == ("a",)


_EVERYTHING = {
    "stream": True,
    "stream_options": {"include_usage": True},
    "temperature": 0,
    "top_p": 1,
    "n": 2,
    "seed": -(10**12),
    "stop": ["a", "b"],
    "max_tokens": 5,
    "max_completion_tokens": 2**31,
    "presence_penalty": -2,
    "frequency_penalty": 2.0,
    "logprobs": True,
    "top_logprobs": 20,
    "reasoning_effort": "high",
    "response_format": {"type": "text"},
    "tools": [LOOK],
    "tool_choice": "required",
    "parallel_tool_calls": False,
    "user": "u",
    "top_k": 5,
    "reasoning": {"effort": "low"},
    "search_parameters": {"mode": "off"},
    "deferred": False,
    "models": ["a"],
    "provider": {"sort": "price"},
    "usage": {"include": True},
    "prompt_cache_key": "k",
    "session_id": "s",
    "metadata": {"user_id": "u"},
}


def test_every_known_field_is_taken():
    assert _asked(**_EVERYTHING).fields.keys() == {"model", "messages"} | _EVERYTHING.keys()


@pytest.mark.parametrize("name", _EVERYTHING)
def test_every_known_field_may_be_null(name):
    assert bytes(_asked(**{name: None}).fields[name]) == b"null"


@pytest.mark.parametrize("role", ["system", "developer", "user", "assistant"])
@pytest.mark.parametrize("content", ["", "a", [], [{"type": "text", "text": ""}]])
def test_every_role_may_say_text_or_parts(role, content):
    assert _asked(messages=[{"role": role, "content": content}]).model == "grok-4"


@pytest.mark.parametrize(
    "message",
    [
        {"role": "assistant"},
        {"role": "assistant", "content": None},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "custom"}]},
        {"role": "tool", "content": "a", "tool_call_id": "c"},
        {"role": "tool", "content": [{"type": "text", "text": "a"}], "tool_call_id": "c"},
        {"role": "function", "name": "look", "content": "a"},
        {"role": "user", "content": [{"type": "something new", "new": 1}]},
        {"role": "user", "content": [{"type": "image_url", "image_url": "data:image/png;base64,"}]},
        {"role": "user", "content": "a", "name": "n", "new": {"a": []}},
    ],
)
def test_every_form_of_message_that_clients_send_is_taken(message):
    assert _asked(messages=[message]).model == "grok-4"


@pytest.mark.parametrize(
    "choice",
    [
        "auto",
        "none",
        "required",
        {"type": "function", "function": {"name": "look"}},
        {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [LOOK]}},
    ],
)
def test_every_form_of_tool_choice_is_taken(choice):
    assert _asked(tools=[LOOK], tool_choice=choice).model == "grok-4"


def test_of_duplicate_keys_the_last_one_counts_here_and_upstream():
    asked = decode_request(_with_raw(b'"model":"grok-3","n":1,"n":2'))
    assert asked.model == "grok-3"
    assert bytes(asked.fields["n"]) == b"2"


def test_a_key_spelled_with_an_escape_is_the_same_key():
    asked = decode_request(_with_raw(rb'"mod\u0065l":"grok-3"'))
    assert asked.model == "grok-3"
    assert asked.fields.keys() == {"model", "messages"}


def test_a_hundred_thousand_messages_are_taken():
    assert len(canonical(_asked(messages=HELLO * 100_000)).messages) == 100_000


def test_a_number_beyond_64_bits_is_passed_on_where_it_may_stand():
    raw = b"1" * 100
    assert bytes(decode_request(_with_raw(b'"seed":' + raw)).fields["seed"]) == raw


# ---------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": ""}, "model"),
        ({"model": None}, "model"),
        ({"model": 4}, "model"),
        ({"model": ["grok-4"]}, "model"),
        ({"model": "m" * 257}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": "Hello"}, "messages"),
        ({"messages": {"role": "user"}}, "messages"),
        ({"messages": ["Hello"]}, "messages.0"),
        ({"messages": [*HELLO, 5]}, "messages.1"),
        ({"messages": [{"content": "a"}]}, "messages.0.role"),
        ({"messages": [{"role": "robot", "content": "a"}]}, "messages.0.role"),
        ({"messages": [{"role": None, "content": "a"}]}, "messages.0.role"),
        ({"messages": [*HELLO, {"role": "user"}]}, "messages.1.content"),
        ({"messages": [{"role": "system", "content": None}]}, "messages.0.content"),
        ({"messages": [{"role": "developer"}]}, "messages.0.content"),
        ({"messages": [{"role": "tool", "content": "a"}]}, "messages.0.tool_call_id"),
        ({"messages": [{"role": "tool", "tool_call_id": "c"}]}, "messages.0.content"),
        (
            {"messages": [{"role": "tool", "content": "a", "tool_call_id": ""}]},
            "messages.0.tool_call_id",
        ),
        ({"messages": [{"role": "user", "content": "a", "name": 5}]}, "messages.0.name"),
        ({"messages": [{"role": "assistant", "tool_calls": {}}]}, "messages.0.tool_calls"),
        ({"messages": [{"role": "assistant", "tool_calls": [{}]}]}, "messages.0.tool_calls.0.id"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"id": "c", "function": {}}]}]},
            "messages.0.tool_calls.0.function.name",
        ),
        (
            {
                "messages": [
                    {
                        "role": "assistant",
                        "tool_calls": [{"id": "c", "function": {"name": "a", "arguments": {}}}],
                    }
                ]
            },
            "messages.0.tool_calls.0.function.arguments",
        ),
        (_user(5), "messages.1.content"),
        (_user({"type": "text"}), "messages.1.content"),
        (_user(["a"]), "messages.1.content.0"),
        (_user([{"text": "a"}]), "messages.1.content.0.type"),
        (_user([{"type": "text"}]), "messages.1.content.0.text"),
        (_user([{"type": "text", "text": 5}]), "messages.1.content.0.text"),
        (_user([{"type": "image_url"}]), "messages.1.content.0.image_url"),
        (_user([{"type": "image_url", "image_url": ""}]), "messages.1.content.0.image_url"),
        (_user([{"type": "image_url", "image_url": {}}]), "messages.1.content.0.image_url.url"),
        (
            _user([{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": 1}}]),
            "messages.1.content.1.image_url.url",
        ),
        ({"messages": [{"role": "assistant", "function_call": 5}]}, "messages.0.function_call"),
        ({"functions": {}}, "functions"),
        ({"function_call": 5}, "function_call"),
        ({"stream": "true"}, "stream"),
        ({"stream": 1}, "stream"),
        ({"stream_options": []}, "stream_options"),
        ({"stream_options": {"include_usage": "yes"}}, "stream_options.include_usage"),
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": "1"}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"top_p": 1.01}, "top_p"),
        ({"top_p": -1}, "top_p"),
        ({"n": 0}, "n"),
        ({"n": -1}, "n"),
        ({"n": 129}, "n"),
        ({"n": True}, "n"),
        ({"n": 1.5}, "n"),
        ({"n": "1e3"}, "n"),
        ({"n": 2**63}, "n"),
        ({"seed": 1.5}, "seed"),
        ({"seed": "7"}, "seed"),
        ({"stop": 5}, "stop"),
        ({"stop": ["a", 5]}, "stop.1"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": 2**31 + 1}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_completion_tokens": 0}, "max_completion_tokens"),
        ({"max_completion_tokens": 10**30}, "max_completion_tokens"),
        ({"presence_penalty": 2.5}, "presence_penalty"),
        ({"frequency_penalty": -2.5}, "frequency_penalty"),
        ({"logprobs": 5}, "logprobs"),
        ({"top_logprobs": 21}, "top_logprobs"),
        ({"top_logprobs": -1}, "top_logprobs"),
        ({"reasoning_effort": "extreme"}, "reasoning_effort"),
        ({"reasoning_effort": 5}, "reasoning_effort"),
        ({"response_format": "json"}, "response_format"),
        ({"response_format": {}}, "response_format.type"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema.schema"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {}}},
            "response_format.json_schema.schema",
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": "a"}}},
            "response_format.json_schema.schema",
        ),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"schema": {"a": 1}, "strict": "yes"},
                }
            },
            "response_format.json_schema.strict",
        ),
        ({"tools": {}}, "tools"),
        ({"tools": [LOOK] * 201}, "tools"),
        ({"tools": [LOOK, "look"]}, "tools.1"),
        ({"tools": [{"function": LOOK["function"]}]}, "tools.0.type"),
        ({"tools": [LOOK, {"type": "function"}]}, "tools.1.function"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools.0.function.name"),
        ({"tools": [{"type": "function", "function": {"name": ""}}]}, "tools.0.function.name"),
        (
            {"tools": [{"type": "function", "function": {"name": "a", "parameters": []}}]},
            "tools.0.function.parameters",
        ),
        ({"tool_choice": "look"}, "tool_choice"),
        ({"tool_choice": 5}, "tool_choice"),
        ({"tool_choice": {"type": "function", "function": {}}}, "tool_choice.function.name"),
        ({"parallel_tool_calls": "no"}, "parallel_tool_calls"),
        ({"user": 5}, "user"),
        ({"deferred": True, "stream": True}, "deferred"),
        ({"deferred": "yes"}, "deferred"),
        ({"models": "a"}, "models"),
        ({"models": ["a"] * 11}, "models"),
        ({"models": [""]}, "models.0"),
        ({"models": ["m" * 257]}, "models.0"),
        ({"provider": []}, "provider"),
        ({"provider": {"order": "xai"}}, "provider.order"),
        ({"usage": True}, "usage"),
        ({"usage": {"include": 1}}, "usage.include"),
        ({"reasoning": "high"}, "reasoning"),
        ({"reasoning": {"effort": "extreme"}}, "reasoning.effort"),
        ({"top_k": -1}, "top_k"),
        ({"search_parameters": {"mode": 1}}, "search_parameters.mode"),
        ({"search_parameters": {"sources": [{}]}}, "search_parameters.sources.0.type"),
        ({"prompt_cache_key": 5}, "prompt_cache_key"),
    ],
    ids=lambda value: json.dumps(value)[:60] if isinstance(value, dict) else value,
)
def test_a_wrong_field_is_named_by_its_dotted_path(fields, param):
    error = _refusal(_body(**fields))
    assert (error.kind, error.param) == (ErrorKind.BAD_REQUEST, param)
    assert error.message.startswith(f"`{param}` ")


@pytest.mark.parametrize(
    ("allowed", "param"),
    [
        (None, "tool_choice.allowed_tools"),
        ({}, "tool_choice.allowed_tools.tools"),
        ({"mode": "required", "tools": []}, "tool_choice.allowed_tools.tools"),
        ({"mode": "none", "tools": [LOOK]}, "tool_choice.allowed_tools.mode"),
        ({"tools": [{"type": "function"}]}, "tool_choice.allowed_tools.tools.0.function"),
        ({"tools": [LOOK, {"function": {"name": "jump"}}]}, "tool_choice.allowed_tools.tools.1"),
        ({"tools": [{"type": "web_search"}]}, "tool_choice.allowed_tools.tools.0"),
    ],
)
def test_allowed_tools_that_cannot_be_are_refused_by_the_field_at_fault(allowed, param):
    choice = {"type": "allowed_tools", "allowed_tools": allowed}
    error = _refusal(_body(tools=[LOOK], tool_choice=choice))
    assert (error.kind, error.param) == (ErrorKind.BAD_REQUEST, param)


@pytest.mark.parametrize("missing", ["model", "messages"])
def test_a_missing_field_is_named(missing):
    fields = {name: value for name, value in json.loads(_body()).items() if name != missing}
    error = _refusal(json.dumps(fields).encode())
    assert (error.param, error.message) == (missing, f"`{missing}` is required.")


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e", b"+1", b"01", b".5"])
@pytest.mark.parametrize("name", [b"temperature", b"n", b"max_tokens", b"unknown"])
def test_a_number_that_is_none_is_not_json(name, number):
    error = _refusal(_with_raw(b'"' + name + b'":' + number))
    assert error.kind is ErrorKind.BAD_JSON


@pytest.mark.parametrize("name", ["temperature", "top_p", "n", "seed", "max_tokens"])
@pytest.mark.parametrize("number", [b"1e999", b"-1e999", b"1" * 5000])
def test_a_number_out_of_every_range_is_named(name, number):
    error = _refusal(_with_raw(f'"{name}":'.encode() + number))
    assert (error.kind, error.param) == (ErrorKind.BAD_REQUEST, name)


@pytest.mark.parametrize(
    "text", [rb"\ud800", rb"\udc00", rb"\ud800\u0041", rb"\ud800abc", b"\xff", b"\xed\xa0\x80"]
)
@pytest.mark.parametrize(
    "member",
    [
        b'"user":"%s"',
        b'"unknown":"%s"',
        b'"%s":1',
        b'"tools":[{"type":"function","function":{"name":"a","parameters":{"%s":1}}}]',
        b'"tools":[{"type":"function","function":{"name":"a","parameters":{"a":"%s"}}}]',
        b'"messages":[{"role":"user","content":"%s"}]',
        b'"messages":[{"role":"user","content":"a","x":"%s"}]',
    ],
)
def test_text_that_is_no_unicode_is_not_json_wherever_it_stands(member, text):
    assert _refusal(_with_raw(member % text)).kind is ErrorKind.BAD_JSON


_DEEP = b"[" * 100_000 + b"]" * 100_000


@pytest.mark.parametrize(
    "member",
    [
        b'"unknown":%s',
        b'"messages":[{"role":"user","content":"a","x":%s}]',
        b'"messages":[{"role":"user","content":[{"type":"text","text":"a","x":%s}]}]',
        b'"tools":[{"type":"function","function":{"name":"a","parameters":{"a":%s}}}]',
        b'"response_format":{"type":"json_schema","json_schema":{"schema":{"a":%s}}}',
    ],
)
def test_deep_nesting_is_refused_wherever_it_stands(member):
    error = _refusal(_with_raw(member % _DEEP))
    assert error.kind is ErrorKind.BAD_JSON
    assert "nested too deeply" in error.message


@pytest.mark.parametrize("body", [b"[]", b"null", b"5", b'"a"', b"[" * 100_000])
def test_a_body_that_is_no_object_is_refused(body):
    error = _refusal(body)
    assert (error.kind, error.param) == (ErrorKind.BAD_REQUEST, None)


@pytest.mark.parametrize("body", [b"", b"  ", b"{", b"<xml/>", _body()[:-1], _body() + b"x"])
def test_a_body_that_is_not_json_is_refused(body):
    assert _refusal(body).kind is ErrorKind.BAD_JSON


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": [{"role": SECRET, "content": SECRET}]},
        {"messages": [{"role": "user", "content": {"text": SECRET}}]},
        {"messages": [{"role": "user", "content": [SECRET]}]},
        {"messages": [{"role": "user", "content": [{"type": SECRET, "text": [SECRET]}]}]},
        {"messages": [{"role": "assistant", "tool_calls": SECRET}]},
        {"messages": SECRET},
        {"model": [SECRET]},
        {"model": SECRET * 100},
        {"reasoning_effort": SECRET},
        {"response_format": {"type": SECRET}},
        {"tool_choice": SECRET},
        {"tools": [{"type": "function", "function": {"name": SECRET, "parameters": SECRET}}]},
        {"n": SECRET},
        {"stop": {SECRET: SECRET}},
    ],
)
def test_a_refusal_never_repeats_what_the_caller_wrote(fields):
    error = _refusal(_body(**fields))
    assert SECRET.encode() not in encode_error(error)
    assert SECRET not in error.detail


# --------------------------------------------------------------------------------------- properties

_LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=4)
    | st.sampled_from(["user", "tool", "text", "function", "json_schema", SECRET])
)
_NAMES = st.sampled_from(
    [*_EVERYTHING, "role", "content", "type", "text", "image_url", "url", "name", "function", "id"]
)
_ANY = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=4),
    max_leaves=10,
)
_PARTS = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "image_url", "file", "new"])},
    optional={
        "text": st.text(max_size=4) | _ANY,
        "image_url": st.just({"url": "https://a/"}) | st.just("data:") | _ANY,
        "file": st.just({"file_id": "f"}) | _ANY,
    },
)
_MESSAGES = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "developer", "user", "assistant", "tool", "function"])},
    optional={
        "content": st.text(max_size=5) | st.lists(_PARTS, max_size=2),
        "tool_call_id": st.just("c") | _ANY,
        "tool_calls": st.none()
        | st.just([{"id": "c", "function": {"name": "look", "arguments": "{}"}}])
        | _ANY,
        "reasoning_content": st.text(max_size=3),
        "extra": _ANY,
    },
)
_REQUESTS = st.fixed_dictionaries(
    {"model": st.just("grok-4"), "messages": st.lists(_MESSAGES, min_size=1, max_size=3)},
    optional={name: st.just(value) | _ANY for name, value in _EVERYTHING.items()},
)


@given(_REQUESTS | st.dictionaries(_NAMES, _ANY) | _ANY)
def test_any_json_is_refused_or_can_be_sent_counted_and_decoded(value):
    asked = _asked_or_refusal(json.dumps(value).encode())
    if isinstance(asked, GroxyError):
        assert SECRET.encode() not in encode_error(asked)
        return
    assert isinstance(prompt_text(asked), str)
    assert canonical(asked).model == asked.model
    assert outgoing(asked, model="m", effort=None, stream=True).keys() >= {"model", "messages"}


@given(_REQUESTS.map(lambda value: json.dumps(value).encode()), st.data())
def test_any_damaged_json_is_refused_or_taken(body, data):
    at, junk = data.draw(st.integers(0, len(body))), data.draw(st.binary(max_size=3))
    asked = _asked_or_refusal(body[:at] + junk + body[at + len(junk) :])
    if isinstance(asked, GroxyError):
        assert asked.kind in (ErrorKind.BAD_JSON, ErrorKind.BAD_REQUEST)


_UNKNOWN = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=6).map(lambda name: f"x-{name}"),
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text("ab"), inner, max_size=2)
        ),
        max_leaves=6,
    ),
    max_size=4,
)


@given(_UNKNOWN, st.sampled_from([None, 1]), st.booleans())
def test_what_goes_upstream_keeps_every_unknown_field_byte_for_byte(unknown, indent, is_stream):
    raw = {name: json.dumps(value, indent=indent).encode() for name, value in unknown.items()}
    members = [json.dumps(name).encode() + b" :\n" + value for name, value in raw.items()]
    asked = decode_request(_with_raw(b",".join(members)) if members else _body())
    sent = outgoing(asked, model="grok-4-fast", effort="low", stream=is_stream)
    assert {name: bytes(sent[name]) for name in raw} == raw


# ------------------------------------------------------------------------------- what goes upstream


def _sent(body: bytes, *, effort: str | None = None, stream: bool = False) -> dict[str, bytes]:
    fields = outgoing(decode_request(body), model="grok-4-fast", effort=effort, stream=stream)
    return {name: bytes(raw) for name, raw in fields.items()}


def test_the_model_sent_replaces_the_model_asked():
    assert _sent(_body())["model"] == b'"grok-4-fast"'


def test_messages_are_sent_as_they_were_spelled():
    messages = rb'[ {"role":"user", "content":"\u0048\ud83d\udc08", "x":1.0} ]'
    assert _sent(_with_raw(b'"messages":' + messages))["messages"] == messages


def test_a_stream_is_asked_for_together_with_its_usage():
    sent = _sent(_body(), stream=True)
    assert (sent["stream"], sent["stream_options"]) == (b"true", b'{"include_usage":true}')


@pytest.mark.parametrize("stream", [True, False])
def test_a_whole_reply_is_asked_for_in_words(stream):
    sent = _sent(_body(stream=stream, stream_options={"include_usage": True}))
    assert sent.keys() == {"model", "messages", "stream"}
    assert sent["stream"] == b"false"


def test_a_deferred_answer_is_asked_for_like_any_other():
    assert "deferred" not in _sent(_body(deferred=True))


def test_the_gateways_effort_replaces_the_callers():
    assert _sent(_body(reasoning_effort="low"), effort="high")["reasoning_effort"] == b'"high"'


def test_the_callers_effort_stays_when_the_gateway_has_none():
    assert _sent(_body(reasoning_effort="low"))["reasoning_effort"] == b'"low"'


def test_asking_one_upstream_leaves_the_request_for_the_next():
    asked = _asked(stream=True)
    outgoing(asked, model="other", effort="low", stream=False)
    assert asked.fields.keys() == {"model", "messages", "stream"}
    assert bytes(asked.fields["model"]) == b'"grok-4"'

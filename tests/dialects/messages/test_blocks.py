"""Content blocks of requests: what is checked, and which parts they become."""

import json
from typing import Any

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.parts import File, Image, Reasoning, Text, ToolCall, ToolResult
from groxy.core.request import Message, Role
from groxy.dialects.messages import DIALECT
from groxy.dialects.messages.sealing import sealed_token
from tests.dialects.messages.streams import FOREIGN_SIGNATURE, PIXEL, asked

PDF: Any = {"type": "base64", "media_type": "application/pdf", "data": PIXEL}
PNG: Any = {"type": "base64", "media_type": "image/png", "data": PIXEL}
PNG_URI = f"data:image/png;base64,{PIXEL}"
WHERE = "messages.0.content.0"


def _turns(*blocks: Any, role: str = "user") -> tuple[Message, ...]:
    history: Any = [{"role": role, "content": list(blocks)}]
    return DIALECT.canonical(asked(history)).messages


def _parts(*blocks: Any, role: str = "user") -> Any:
    (turn,) = _turns(*blocks, role=role)
    return turn.parts


def _error(*blocks: Any) -> GroxyError:
    with pytest.raises(GroxyError) as raised:
        asked(list(blocks))
    assert raised.value.kind is ErrorKind.BAD_REQUEST
    return raised.value


# ------------------------------------------------------------------------------------- checking


@pytest.mark.parametrize(
    ("block", "field"),
    [
        ({"type": "text"}, "text"),
        ({"type": "image"}, "source"),
        ({"type": "image", "source": "x"}, "source"),
        ({"type": "image", "source": {"type": "base64", "data": PIXEL}}, "source.media_type"),
        ({"type": "image", "source": {"type": "base64", "media_type": "image/png"}}, "source.data"),
        ({"type": "image", "source": {"type": "url"}}, "source.url"),
        ({"type": "image", "source": {"type": "file"}}, "source.file_id"),
        ({"type": "image", "source": {"type": "tape"}}, "source.type"),
        ({"type": "image", "source": {"type": "text", "data": "a"}}, "source.type"),
        ({"type": "image", "source": {"type": "content", "content": "a"}}, "source.type"),
        ({"type": "document", "source": {"type": "tape"}}, "source.type"),
        ({"type": "document", "source": {"type": "text"}}, "source.data"),
        ({"type": "document", "source": {"type": "content", "content": 7}}, "source.content"),
        ({"type": "tool_use", "name": "a", "input": {}}, "id"),
        ({"type": "tool_use", "id": "a", "input": {}}, "name"),
        ({"type": "tool_use", "id": "a", "name": "b"}, "input"),
        ({"type": "tool_use", "id": "a", "name": "b", "input": "{}"}, "input"),
        ({"type": "tool_result", "content": "x"}, "tool_use_id"),
        ({"type": "tool_result", "tool_use_id": "", "content": "x"}, "tool_use_id"),
        ({"type": "tool_result", "tool_use_id": "a", "content": 7}, "content"),
        (
            {"type": "tool_result", "tool_use_id": "a", "content": [{"type": "text"}]},
            "content.0.text",
        ),
        ({"type": "thinking", "signature": "x"}, "thinking"),
        ({"type": "redacted_thinking"}, "data"),
    ],
)
def test_a_block_that_lacks_something_is_named(block, field):
    assert _error(block).param == f"{WHERE}.{field}"


@pytest.mark.parametrize("data", ["iVBOR===", "AA=A", "ü===", "AA\nA", "AA-_", "====", "A"])
def test_broken_base64_is_named(data):
    source = PNG | {"data": data}
    assert _error({"type": "image", "source": source}).param == f"{WHERE}.source.data"


def test_a_source_that_is_none_for_a_picture_is_told_those_that_are():
    error = _error({"type": "image", "source": {"type": "text", "data": "a"}})
    assert "must be one of base64, url, file." in error.message


def test_base64_inside_a_tool_result_is_checked():
    image = {"type": "image", "source": PNG | {"data": "no!"}}
    result = {"type": "tool_result", "tool_use_id": "a", "content": [image]}
    assert _error({"type": "text", "text": "a"}, result).param == (
        "messages.0.content.1.content.0.source.data"
    )


def test_base64_inside_a_document_is_checked():
    image = {"type": "image", "source": PNG | {"data": "no!"}}
    document = {"type": "document", "source": {"type": "content", "content": [image]}}
    assert _error(document).param == f"{WHERE}.source.content.0.source.data"


def test_deep_nonsense_is_an_error_and_no_crash():
    body = (
        b'{"model":"m","max_tokens":1,"messages":[{"role":"user","content":'
        b'[{"type":"tool_result","tool_use_id":"a","content":'
        + b"[" * 5000
        + b"]" * 5000
        + b"}]}]}"
    )
    with pytest.raises(GroxyError):
        DIALECT.decode_request(body)


def test_unknown_blocks_and_fields_are_let_in():
    said = [{"type": "container_upload", "file_id": "f"}, {"type": "text", "text": "a", "x": 1}]
    assert asked(said).model == "grok-4.7"


# -------------------------------------------------------------------------------- what users say


@pytest.mark.parametrize(
    ("source", "part"),
    [
        (PNG, Image(url=PNG_URI)),
        ({"type": "url", "url": "https://x.test/a.png"}, Image(url="https://x.test/a.png")),
        ({"type": "file", "file_id": "file_1"}, File(file_id="file_1")),
    ],
)
def test_pictures(source, part):
    assert _parts({"type": "image", "source": source}) == (part,)


@pytest.mark.parametrize(
    ("source", "part"),
    [
        (PDF, File(url=f"data:application/pdf;base64,{PIXEL}", name="Plan")),
        (
            {"type": "url", "url": "https://x.test/a.pdf"},
            File(url="https://x.test/a.pdf", name="Plan"),
        ),
        ({"type": "file", "file_id": "file_1"}, File(file_id="file_1", name="Plan")),
        (
            {"type": "text", "media_type": "text/plain", "data": "Go."},
            Text(text="Document: Plan\nGo."),
        ),
        ({"type": "content", "content": "Go."}, Text(text="Document: Plan\nGo.")),
    ],
)
def test_documents(source, part):
    assert _parts({"type": "document", "source": source, "title": "Plan"}) == (part,)


def test_the_context_of_a_document_stands_before_it():
    block = {"type": "document", "source": PDF, "context": "Signed"}
    assert _parts(block)[0] == Text(text="Signed")


def test_the_context_of_a_text_stands_in_it():
    block = {"type": "document", "source": {"type": "text", "data": "Go."}, "context": "Signed"}
    assert _parts(block) == (Text(text="Context: Signed\nGo."),)


def test_a_document_of_blocks_keeps_its_pictures():
    inner = [{"type": "text", "text": "a"}, {"type": "image", "source": PNG}]
    block = {"type": "document", "source": {"type": "content", "content": inner}}
    assert _parts(block) == (Text(text="a"), Image(url=PNG_URI))


def test_a_search_result_is_text_with_its_source():
    block = {
        "type": "search_result",
        "source": "https://x.test",
        "title": "News",
        "content": [{"type": "text", "text": "Rain."}],
    }
    assert _parts(block) == (Text(text="Search result: News (https://x.test)\nRain."),)


def test_a_block_that_nobody_knows_is_refused_when_a_user_said_it():
    with pytest.raises(GroxyError) as raised:
        _turns({"type": "text", "text": "a"}, {"type": "container_upload"})
    assert raised.value.kind is ErrorKind.UNSUPPORTED
    assert raised.value.param == "messages.0.content.1.type"


# ------------------------------------------------------------------------------- what systems say


def test_a_system_in_between_says_texts_and_what_can_be_told_as_text():
    document = {"type": "document", "source": {"type": "text", "data": "Go."}, "title": "Plan"}
    parts = _parts({"type": "text", "text": "a"}, document, role="system")
    assert parts == (Text(text="a\n\nDocument: Plan\nGo."),)


@pytest.mark.parametrize(
    "block",
    [
        {"type": "image", "source": PNG},
        {"type": "document", "source": PDF},
        {"type": "tool_result", "tool_use_id": "a", "content": "1"},
        {"type": "thinking", "thinking": "Hm."},
        {"type": "container_upload"},
    ],
)
def test_what_a_system_cannot_say_elsewhere_is_refused_by_name(block):
    with pytest.raises(GroxyError) as raised:
        _turns({"type": "text", "text": "a"}, block, role="system")
    assert raised.value.kind is ErrorKind.UNSUPPORTED
    assert raised.value.param == "messages.0.content.1.type"


# ----------------------------------------------------------------------------------- tool results


def test_results_become_turns_of_their_own_before_what_else_was_said():
    turns = _turns(
        {"type": "tool_result", "tool_use_id": "a", "content": "1"},
        {"type": "tool_result", "tool_use_id": "b", "content": "2", "is_error": True},
        {"type": "text", "text": "Go on."},
    )
    assert turns == (
        Message(role=Role.TOOL, parts=(ToolResult(call_id="a", text="1"),)),
        Message(role=Role.TOOL, parts=(ToolResult(call_id="b", text="2", is_error=True),)),
        Message(role=Role.USER, parts=(Text(text="Go on."),)),
    )


@pytest.mark.parametrize("content", [{}, {"content": None}, {"content": []}, {"content": ""}])
def test_a_result_may_be_empty(content):
    (turn,) = _turns({"type": "tool_result", "tool_use_id": "a"} | content)
    assert turn.parts == (ToolResult(call_id="a", text=""),)


def test_a_result_holds_text_and_pictures():
    inner = [
        {"type": "text", "text": "a"},
        {"type": "image", "source": PNG},
        {"type": "text", "text": "b"},
        {"type": "tool_reference", "tool_name": "c"},
    ]
    (turn,) = _turns({"type": "tool_result", "tool_use_id": "a", "content": inner})
    assert turn.parts == (ToolResult(call_id="a", text="a\nb", images=(Image(url=PNG_URI),)),)


def test_a_document_in_a_result_stands_behind_it():
    inner = [{"type": "document", "source": PDF}]
    result, rest = _turns({"type": "tool_result", "tool_use_id": "a", "content": inner})
    assert result.parts == (ToolResult(call_id="a", text=""),)
    assert rest.parts == (File(url=f"data:application/pdf;base64,{PIXEL}"),)


# ------------------------------------------------------------------------- what assistants said


def test_an_assistants_turn_keeps_its_order():
    parts = _parts(
        {"type": "thinking", "thinking": "Hm.", "signature": sealed_token("enc", "rs_1")},
        {"type": "text", "text": "Let me look."},
        {"type": "tool_use", "id": "call_1", "name": "look", "input": {"at": [1, "é"]}},
        role="assistant",
    )
    assert [type(part) for part in parts] == [Reasoning, Text, ToolCall]
    assert parts[0] == Reasoning(text="Hm.", encrypted="enc", item_id="rs_1")
    assert (parts[2].call_id, parts[2].name) == ("call_1", "look")
    assert json.loads(parts[2].arguments) == {"at": [1, "é"]}


def test_arguments_stay_the_callers_own_spelling():
    body = (
        b'{"model":"m","max_tokens":1,"messages":[{"role":"assistant","content":'
        b'[{"type":"tool_use","id":"a","name":"b","input":{"x": 1.50}}]}]}'
    )
    (turn,) = DIALECT.canonical(DIALECT.decode_request(body)).messages
    assert turn.parts == (ToolCall(call_id="a", name="b", arguments='{"x": 1.50}'),)


@pytest.mark.parametrize("signature", [{}, {"signature": ""}, {"signature": FOREIGN_SIGNATURE}])
def test_thoughts_without_our_seal_are_only_text(signature):
    block = {"type": "thinking", "thinking": "Hm."} | signature
    assert _parts(block, role="assistant") == (Reasoning(text="Hm."),)


def test_redacted_thoughts_with_our_seal_come_back():
    block = {"type": "redacted_thinking", "data": sealed_token("enc")}
    assert _parts(block, role="assistant") == (Reasoning(text="", encrypted="enc"),)


@pytest.mark.parametrize(
    "block",
    [
        {"type": "redacted_thinking", "data": "EmwK"},
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "x"}},
        {"type": "web_search_tool_result", "tool_use_id": "s", "content": []},
        {"type": "web_search_tool_result", "tool_use_id": "s", "content": {"type": "x"}},
        {"type": "mcp_tool_use", "id": "m", "name": "y"},
    ],
)
def test_what_only_its_upstream_understands_is_dropped(block):
    assert _parts(block, {"type": "text", "text": "a"}, role="assistant") == (Text(text="a"),)

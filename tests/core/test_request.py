"""What a canonical request knows of itself."""

from groxy.core.parts import File, Image, Reasoning, Text, ToolCall, ToolResult
from groxy.core.request import Message, Options, OutputForm, Request, Role, Tool

PICTURE = Image(url="https://example.com/a.png")
REQUEST = Request(
    model="grok-4.3",
    messages=(
        Message(role=Role.SYSTEM, parts=(Text(text="Be brief."),)),
        Message(role=Role.USER, parts=(Text(text="Look!"), PICTURE, File(url="data:,x"))),
        Message(
            role=Role.ASSISTANT,
            parts=(
                Reasoning(text="Hm."),
                ToolCall(call_id="c1", name="look", arguments='{"at":1}'),
            ),
        ),
        Message(
            role=Role.TOOL, parts=(ToolResult(call_id="c1", text="A cat.", images=(PICTURE,)),)
        ),
    ),
    tools=(Tool(name="look", description="Looks.", parameters=b'{"type":"object"}'),),
    options=Options(output_form=OutputForm.SCHEMA, output_schema=b'{"type":"string"}'),
)


def test_all_text_that_a_model_reads_is_told() -> None:
    for piece in ("Be brief.", "Look!", "Hm.", '{"at":1}', "A cat.", "Looks.", '"string"'):
        assert piece in REQUEST.text


def test_what_is_no_text_is_not_told_as_text() -> None:
    assert "example.com" not in REQUEST.text
    assert "data:" not in REQUEST.text


def test_pictures_in_tool_results_count_too() -> None:
    assert REQUEST.images == (PICTURE, PICTURE)

"""What a whole request takes."""

from groxy.core.parts import File, Image, Reasoning, Text, ToolCall, ToolResult
from groxy.core.request import Message, Options, OutputForm, Request, Role, Tool
from groxy.core.tokens import TOKENS_PER_MESSAGE, TokenCounter, image_tokens, input_tokens


class _Letters:
    """A counter for which a letter is a token; line ends and blanks are none."""

    def count(self, text: str) -> int:
        return len("".join(text.split()))


_LETTERS: TokenCounter = _Letters()


def _request(*parts, tools=(), options=None):
    message = Message(role=Role.USER, parts=parts)
    return Request(model="m", messages=(message,), tools=tools, options=options or Options())


def _read(*parts, **fields):
    return input_tokens(_request(*parts, **fields), _LETTERS) - TOKENS_PER_MESSAGE


def test_text_is_counted_by_the_counter():
    assert _read(Text(text="abc"), Text(text="de")) == 5


def test_each_message_takes_a_few_tokens_for_itself():
    messages = (Message(role=Role.USER, parts=(Text(text="abc"),)),) * 3
    assert input_tokens(Request(model="m", messages=messages), _LETTERS) == 9 + 12


def test_pictures_take_tokens_by_their_detail():
    pictures = [Image(url="u", detail=detail) for detail in ("low", "high", "auto", "other")]
    asked = _request(*pictures)
    assert image_tokens(asked) == 256 + 1792 + 1024 + 1024
    assert _read(*pictures) == image_tokens(asked)


def test_pictures_in_results_of_tools_count_too():
    result = ToolResult(call_id="c", text="ab", images=(Image(url="u", detail="low"),))
    assert _read(result) == 2 + 256


def test_calls_results_and_thoughts_are_read():
    call = ToolCall(call_id="c", name="ab", arguments="{}")
    assert _read(call, ToolResult(call_id="c", text="abc"), Reasoning(text="d")) == 4 + 3 + 1


def test_sealed_thoughts_are_no_text():
    assert _read(Reasoning(text="d", encrypted="x" * 1000)) == 1


def test_tools_and_a_schema_are_read():
    tools = (Tool(name="ab", description="cd", parameters=b"{}"),)
    assert _read(tools=tools) == 6
    form = Options(output_form=OutputForm.SCHEMA, output_schema=b"true")
    assert _read(options=form) == 4
    assert _read(options=Options(output_schema=b"true")) == 0


def test_a_document_counts_by_its_size_and_one_elsewhere_by_a_guess():
    assert _read(File(url="data:text/plain;base64," + "A" * 600)) == (23 + 600) // 6
    assert _read(File(file_id="f")) == _read(File(url="https://example.com/a.pdf")) == 500


def test_nothing_at_all_is_one_token():
    assert input_tokens(Request(model="m", messages=()), _LETTERS) == 1

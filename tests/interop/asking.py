"""What the matrix asks: each scenario in the words of each client dialect."""

from collections.abc import Callable
from typing import Any

MODEL = "grok-4.3"
WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
CLOCK = {"type": "object", "properties": {"zone": {"type": "string"}}, "required": ["zone"]}
ANSWER = {
    "type": "object",
    "properties": {"answer": {"type": "string"}, "sure": {"type": "boolean"}},
    "required": ["answer", "sure"],
    "additionalProperties": False,
}
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAf"
    "FcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
PICTURE = f"data:image/png;base64,{PIXEL}"

Body = dict[str, Any]
PATHS = {
    "chat": "/v1/chat/completions",
    "responses": "/v1/responses",
    "messages": "/v1/messages",
    "completions": "/v1/completions",
}


def text(dialect: str, said: str) -> Body:
    """A plain question, with instructions where the dialect has a place for them."""
    match dialect:
        case "chat":
            messages = [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": said},
            ]
            return {"model": MODEL, "messages": messages}
        case "responses":
            return {"model": MODEL, "instructions": "Be brief.", "input": said, "store": False}
        case "messages":
            messages = [{"role": "user", "content": said}]
            return {"model": MODEL, "max_tokens": 4000, "system": "Be brief.", "messages": messages}
        case _:
            return {"model": MODEL, "prompt": said}


def with_tools(dialect: str, said: str) -> Body:
    """A question with two functions offered; the sandbox calls those that the text names."""
    body = text(dialect, said)
    tools = [("get_weather", "Tells the weather.", WEATHER), ("get_time", "Tells time.", CLOCK)]
    match dialect:
        case "chat":
            body["tools"] = [
                {
                    "type": "function",
                    "function": {"name": name, "description": about, "parameters": schema},
                }
                for name, about, schema in tools
            ]
        case "responses":
            body["tools"] = [
                {"type": "function", "name": name, "description": about, "parameters": schema}
                for name, about, schema in tools
            ]
        case "messages":
            body["tools"] = [
                {"name": name, "description": about, "input_schema": schema}
                for name, about, schema in tools
            ]
        case _:
            raise ValueError(dialect)
    return body


def with_picture(dialect: str, said: str) -> Body:
    """A question about a picture."""
    body = text(dialect, said)
    match dialect:
        case "chat":
            body["messages"][-1]["content"] = [
                {"type": "text", "text": said},
                {"type": "image_url", "image_url": {"url": PICTURE}},
            ]
        case "responses":
            parts = [
                {"type": "input_text", "text": said},
                {"type": "input_image", "image_url": PICTURE},
            ]
            body["input"] = [{"role": "user", "content": parts}]
        case "messages":
            source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
            body["messages"][-1]["content"] = [
                {"type": "image", "source": source},
                {"type": "text", "text": said},
            ]
        case _:
            raise ValueError(dialect)
    return body


def with_schema(dialect: str, said: str) -> Body:
    """A question whose answer has to fit a schema."""
    body = text(dialect, said)
    match dialect:
        case "chat":
            schema = {"name": "answer", "schema": ANSWER, "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        case "responses":
            body["text"] = {"format": {"type": "json_schema", "name": "answer", "schema": ANSWER}}
        case "messages":
            body["output_config"] = {"format": {"type": "json_schema", "schema": ANSWER}}
        case _:
            raise ValueError(dialect)
    return body


def with_reasoning(dialect: str, said: str) -> Body:
    """A question that is to be thought about."""
    body = text(dialect, said)
    match dialect:
        case "chat":
            body["reasoning_effort"] = "low"
        case "responses":
            body["reasoning"] = {"effort": "low", "summary": "auto"}
            body["include"] = ["reasoning.encrypted_content"]
        case "messages":
            body["thinking"] = {"type": "enabled", "budget_tokens": 2000}
        case _:
            raise ValueError(dialect)
    return body


def loop(dialect: str, first: Body, reply: Any, results: dict[str, str]) -> Body:
    """The turn after a call: the reply as it came, and the results by call id."""
    body = dict(first)
    match dialect:
        case "chat":
            answers = [
                {"role": "tool", "tool_call_id": call_id, "content": result}
                for call_id, result in results.items()
            ]
            said = reply["choices"][0]["message"]
            body["messages"] = [*first["messages"], said, *answers]
        case "responses":
            asked = first["input"]
            if isinstance(asked, str):
                asked = [{"role": "user", "content": asked}]
            outputs = [
                {"type": "function_call_output", "call_id": call_id, "output": result}
                for call_id, result in results.items()
            ]
            body["input"] = [*asked, *reply["output"], *outputs]
        case "messages":
            blocks = [
                {"type": "tool_result", "tool_use_id": call_id, "content": result}
                for call_id, result in results.items()
            ]
            said = {"role": "assistant", "content": reply["content"]}
            body["messages"] = [*first["messages"], said, {"role": "user", "content": blocks}]
        case _:
            raise ValueError(dialect)
    return body


Builder = Callable[[str, str], Body]

"""What a lane cannot carry is said, stop texts hold on every lane, and bad input costs nothing."""

from typing import Any

import pytest

from tests.inprocess import ask
from tests.interop import asking
from tests.interop.conftest import CALLERS


@pytest.mark.parametrize("caller", ["chat", "messages", "completions"])
async def test_a_stop_text_ends_the_answer_on_every_lane(bridge, caller, stream) -> None:
    word = "stop_sequences" if caller == "messages" else "stop"
    body = asking.text(caller, "Hello!") | {word: ["sandbox", "zzz"]}
    found = await bridge.ask(caller, body, stream=stream)
    assert "sandbox" not in found.text
    assert found.reason == "stop"
    if caller == "messages" and not stream:
        assert found.whole["stop_reason"] == "stop_sequence"
        assert found.whole["stop_sequence"] == "sandbox"


async def test_what_is_left_out_on_the_way_is_named(bridge) -> None:
    body = asking.text("chat", "Hello!") | {"seed": 7, "logit_bias": {"1": 2}, "made_up": 1}
    answer = await bridge.send("chat", body, stream=False)
    words = answer.headers.get("x-groxy-adjusted", "")
    if bridge.speaks == "chat":
        assert "seed" not in words
    else:
        assert "seed dropped" in words
        assert "made_up dropped" in words


async def test_several_choices_are_only_promised_where_they_can_be_had(bridge, stream) -> None:
    body = asking.text("chat", "Hello!") | {"n": 2}
    answer = await bridge.send("chat", body, stream=stream)
    assert (answer.status == 200) is (bridge.speaks == "chat")


_FORMS: dict[str, dict[str, Any]] = {
    "chat": {"response_format": {"type": "json_object"}},
    "responses": {"text": {"format": {"type": "json_object"}}},
}


@pytest.mark.parametrize(
    ("caller", "param"), [("chat", "response_format"), ("responses", "text.format")]
)
async def test_json_that_cannot_be_promised_is_refused_in_the_callers_words(
    bridge, caller, param
) -> None:
    body = asking.text(caller, "Hello!") | _FORMS[caller]
    answer = await bridge.send(caller, body, stream=False)
    if bridge.speaks != "messages":
        assert answer.status == 200
        return
    assert answer.status == 400
    assert answer.json["error"]["param"] == param
    assert f"`{param}`" in answer.json["error"]["message"]


_BAD: dict[str, list[tuple[dict[str, Any], str | None]]] = {
    "chat": [({"messages": []}, "messages"), ({"messages": "x"}, "messages")],
    "responses": [
        ({"input": []}, "input"),
        ({"input": [{"type": "strange"}]}, "input.0.type"),
        ({"tools": [{"type": "function"}]}, "tools.0.name"),
        ({"background": True}, "background"),
        ({"previous_response_id": "resp_of_nobody"}, "previous_response_id"),
    ],
    "messages": [
        ({"messages": []}, None),
        ({"max_tokens": None}, None),
        ({"tools": [{"name": "x"}]}, None),
    ],
    "completions": [({"prompt": [[1, 2], [3]]}, "prompt"), ({"prompt": ""}, "prompt")],
}


@pytest.mark.parametrize(
    ("caller", "wrong", "param"),
    [(caller, wrong, param) for caller in CALLERS for wrong, param in _BAD[caller]],
)
async def test_bad_input_is_named_and_costs_nothing(bridge, caller, wrong, param) -> None:
    body = asking.text(caller, "Hello!") | wrong
    answer = await bridge.send(caller, body, stream=False)
    assert answer.status in (400, 404)
    if caller != "messages":
        assert answer.json["error"]["param"] == param
    request, attempts = await bridge.booked()
    assert request.cost_ticks == 0
    assert attempts == []


@pytest.mark.parametrize("caller", CALLERS)
async def test_a_body_of_another_dialect_is_refused(bridge, caller) -> None:
    other = "messages" if caller == "completions" else "completions"
    answer = await bridge.send(caller, asking.text(other, "Hello!"), stream=False)
    assert answer.status == 400


async def test_a_wrong_key_gets_the_envelope_of_its_dialect(bridge) -> None:
    for caller in CALLERS:
        answer = await ask(bridge.app, "POST", asking.PATHS[caller], body=b"{}", key="sk-wrong")
        assert answer.status == 401
        assert (answer.json.get("type") == "error") is (caller == "messages")

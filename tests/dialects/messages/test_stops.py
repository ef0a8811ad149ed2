"""Why replies end, both ways."""

import pytest

from groxy.core.events import FinishReason
from groxy.dialects.messages.stops import finish_reason, mended_stop_reason, stop_reason


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("end_turn", FinishReason.STOP),
        ("stop_sequence", FinishReason.STOP),
        ("pause_turn", FinishReason.STOP),
        ("max_tokens", FinishReason.LENGTH),
        ("model_context_window_exceeded", FinishReason.LENGTH),
        ("tool_use", FinishReason.TOOL_CALLS),
        ("refusal", FinishReason.CONTENT_FILTER),
        ("something_new", FinishReason.STOP),
        ("", FinishReason.STOP),
        (None, FinishReason.STOP),
    ],
)
def test_what_a_stop_reason_means(said, meant):
    assert finish_reason(said, has_calls=False) is meant


@pytest.mark.parametrize("said", [None, "", "end_turn", "something_new"])
def test_a_stop_reason_that_says_nothing_of_calls_follows_what_the_reply_holds(said):
    assert finish_reason(said, has_calls=True) is FinishReason.TOOL_CALLS


@pytest.mark.parametrize("said", ["max_tokens", "refusal", "stop_sequence", "pause_turn"])
def test_a_stop_reason_that_says_more_stays_beside_calls(said):
    assert finish_reason(said, has_calls=True) is finish_reason(said, has_calls=False)
    assert mended_stop_reason(said, stop_text=None, has_calls=True) == said


@pytest.mark.parametrize(
    ("told", "stop_text", "has_calls", "said"),
    [
        (None, None, False, "end_turn"),
        (None, None, True, "tool_use"),
        ("", "", True, "tool_use"),
        (None, "END", False, "stop_sequence"),
        ("end_turn", None, False, "end_turn"),
        ("end_turn", None, True, "tool_use"),
        ("tool_use", None, True, "tool_use"),
        ("something_new", None, True, "something_new"),
    ],
)
def test_what_is_made_of_an_upstreams_stop_reason(told, stop_text, has_calls, said):
    assert mended_stop_reason(told, stop_text=stop_text, has_calls=has_calls) == said


@pytest.mark.parametrize(
    ("reason", "stop_text", "has_calls", "said"),
    [
        (FinishReason.STOP, "", False, "end_turn"),
        (FinishReason.STOP, "END", False, "stop_sequence"),
        (FinishReason.STOP, "END", True, "stop_sequence"),
        (FinishReason.STOP, "", True, "tool_use"),
        (FinishReason.LENGTH, "", True, "max_tokens"),
        (FinishReason.TOOL_CALLS, "", True, "tool_use"),
        (FinishReason.TOOL_CALLS, "", False, "end_turn"),
        (FinishReason.CONTENT_FILTER, "", False, "refusal"),
        (None, "", False, "end_turn"),
        (None, "", True, "tool_use"),
    ],
)
def test_what_is_said_of_an_end(reason, stop_text, has_calls, said):
    assert stop_reason(reason, stop_text=stop_text, has_calls=has_calls) == said

"""What Claude Code writes at the head of its system prompt, and that nothing else goes with it."""

import pytest

from groxy.dialects.messages.attribution import without_attribution

LINE = "x-anthropic-billing-header: cc_version=2.1.117.48f; cc_entrypoint=cli; cch=71fea;"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (LINE, ""),
        (LINE + "\nYou are Claude Code.", "You are Claude Code."),
        (LINE + "\n\nYou are Claude Code.\n", "You are Claude Code.\n"),
        (LINE + "\n" + LINE + "\nHi", "Hi"),
        ("You are Claude Code.", "You are Claude Code."),
        ("Never say " + LINE, "Never say " + LINE),
        ("", ""),
    ],
)
def test_only_the_attribution_at_the_head_is_taken_out(text, left):
    assert without_attribution(text) == left

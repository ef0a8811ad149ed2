"""Events: what a model's reply is made of, in order, whatever dialect carries it.

A reply is `Started`, then deltas of any number of choices, then one `Finished` per choice, with
`UsageReported` somewhere after `Started`; or it ends early with `Failed`. A whole reply is the
fold of its events.
"""

from enum import Enum

import msgspec

from groxy.core.errors import GroxyError
from groxy.core.usage import Usage


class FinishReason(Enum):
    """Why a choice ended."""

    STOP = "stop"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"
    CONTENT_FILTER = "content_filter"


class Started(msgspec.Struct, frozen=True, kw_only=True):
    """The reply begins; `model_served` is the upstream's own word for the model."""

    reply_id: str
    model_served: str
    created: int
    """Unix seconds."""


class TextDelta(msgspec.Struct, frozen=True, kw_only=True):
    """More of the answer."""

    text: str
    choice: int = 0


class ReasoningDelta(msgspec.Struct, frozen=True, kw_only=True):
    """More of the thoughts."""

    text: str
    choice: int = 0


class ReasoningSealed(msgspec.Struct, frozen=True, kw_only=True):
    """The thoughts so far in the upstream's own sealed form: opaque, to be sent back unread.

    xAI's `encrypted_content`, Anthropic's `signature`, OpenRouter's `reasoning.encrypted`. It comes
    after the text that it seals, if there is any, and ends those thoughts.
    """

    encrypted: str
    item_id: str = ""
    choice: int = 0


class Cited(msgspec.Struct, frozen=True, kw_only=True):
    """A source of the answer's text; `start` and `end` are characters of the text so far."""

    url: str
    title: str = ""
    start: int = 0
    end: int = 0
    choice: int = 0


class ToolCallDelta(msgspec.Struct, frozen=True, kw_only=True):
    """More of a tool call: the first one of a call has its id and name, all carry arguments."""

    index: int
    arguments: str
    call_id: str = ""
    name: str = ""
    choice: int = 0


class UsageReported(msgspec.Struct, frozen=True, kw_only=True):
    """Usage so far; a later report replaces an earlier one, they never add up."""

    usage: Usage


class Finished(msgspec.Struct, frozen=True, kw_only=True):
    """A choice is complete."""

    reason: FinishReason
    choice: int = 0
    stop_text: str = ""
    """The stop text that ended it, where that is known."""


class Failed(msgspec.Struct, frozen=True, kw_only=True):
    """The reply broke off; nothing follows."""

    error: GroxyError


Event = (
    Started
    | TextDelta
    | ReasoningDelta
    | ReasoningSealed
    | Cited
    | ToolCallDelta
    | UsageReported
    | Finished
    | Failed
)

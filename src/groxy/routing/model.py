"""What the catalog hands out: one value for each name that a caller may ask for.

In: nothing. Out: `Model` and its parts. It must not read files or decide anything.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import Enum

from groxy.core.money import MediaPrice, Price
from groxy.routing.pools import Pool


class Capability(Enum):
    """What a model makes."""

    CHAT = "chat"
    IMAGE = "image"
    IMAGE_EDIT = "image_edit"
    VIDEO = "video"
    EMBEDDING = "embedding"


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One name that a caller may ask for, with everything routing and billing need to know."""

    id: str
    title: str
    capability: Capability
    tier: Pool
    """The smallest pool that may serve it."""
    prefer_best: bool
    """True: try the largest pool first."""
    mode: str
    """auto, fast, expert, heavy, grok43, console, or official for a plain model of xAI."""
    sends: str
    """The official id sent upstream, after all retirements."""
    effort: str | None
    """The `reasoning_effort` that the name fixes; None leaves it to the caller."""
    efforts: tuple[str, ...]
    """The values of `reasoning_effort` that the model sent takes; () = it rejects the field."""
    reasons: bool
    """True for a reasoning model, also when `effort` is none: it rejects the same fields."""
    rejects: frozenset[str]
    """Fields of a chat request that the model sent answers with an error."""
    context_tokens: int
    """0 where xAI names no figure."""
    price: Price | None
    media_price: MediaPrice | None
    dialects: frozenset[str]
    """The dialects to speak with it at xAI: chat, responses, images …"""
    created: int
    """Unix seconds; 0 for a model that only the operator knows."""
    retired: date | None
    """The day on which xAI retired the id asked for."""
    replacement: str | None
    """What xAI named instead. It may be retired too: `sends` is the end of the chain."""
    upstream_ids: Mapping[str, str]
    """The id at an upstream, by upstream name, where it is not that upstream's usual form."""
    default_effort: str | None = None
    """What the upstream takes when nobody names an effort, where that is known."""
    replays_reasoning: bool = False
    """True when its tool loops go wrong unless it gets its reasoning back."""
    quality: str | None = None
    """The image quality to send unless the caller names one."""
    aliases: tuple[str, ...] = ()
    why: str = ""
    """Why the name stands for the model that it sends."""

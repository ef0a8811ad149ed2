"""What a bench request asks of the upstream: one word in its text, which every gateway passes on.

In: how many events, how they are written and how fast. Out: the word, the JSON body that carries
it, the way back from the bytes of a body, and the text that answers it in every dialect. A gateway
may rename, reorder or add fields, or write the request in another dialect; the text of the first
message arrives as it was sent.
"""

import json
import re
from dataclasses import dataclass

MODEL = "grok-4.3"
CREATED = 1_760_000_000
"""When every reply was made, in Unix seconds."""
INPUT_TOKENS = 32
WHOLE_TEXT = "Something, as you asked."
WHOLE_TOKENS = 9
_WORD = re.compile(rb"bench:(\d{1,6})/(\d{1,6})/(\d{1,8})/(end|each);")
_FILLER = "The quick brown fox jumps over the lazy dog; “naïve” says: 1, 2, 3.\n"
_MESSAGE_BYTES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One kind of reply."""

    events: int = 0
    """Events with content; 0 asks for a whole reply."""
    events_per_write: int = 1
    gap_us: int = 0
    """Time between two writes; 0 is as fast as possible."""
    usage: str = "end"
    """`end`: usage in an event of its own at the end; `each`: also on every event, as xAI does."""

    @property
    def word(self) -> str:
        """The word that stands for it."""
        return f"bench:{self.events}/{self.events_per_write}/{self.gap_us}/{self.usage};"

    def body(self, *, size: int = 0) -> bytes:
        """Return a chat request that carries the word, filled up to about `size` bytes."""
        messages = [{"role": "user", "content": f"{self.word} Say something."}]
        held = 0
        while held < size:
            text = (_FILLER * (1 + _MESSAGE_BYTES // len(_FILLER)))[: min(size, _MESSAGE_BYTES)]
            role = "assistant" if len(messages) % 2 else "user"
            messages.append({"role": role, "content": text})
            held += len(json.dumps(text, ensure_ascii=False).encode()) + 36
        fields: dict[str, object] = {"model": MODEL, "messages": messages}
        if self.events:
            fields |= {"stream": True, "stream_options": {"include_usage": True}}
        return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()


def encode(value: object) -> bytes:
    """Return `value` as JSON without spaces."""
    return json.dumps(value, separators=(",", ":")).encode()


def step_text(number: int) -> str:
    """Return what one event of a stream says."""
    return f" word{number}"


def stream_text(events: int) -> str:
    """Return what a stream of so many events says; the last one says nothing but that it ends."""
    return "".join(step_text(number) for number in range(events - 1))


def read_word(body: bytes) -> Ask | None:
    """Return what the word in `body` asks for, or None when there is no such word."""
    if body.find(b"bench:") < 0:
        return None
    found = _WORD.search(body)
    if found is None:
        return None
    events, per_write, gap_us, usage = found.groups()
    return Ask(
        events=int(events),
        events_per_write=max(int(per_write), 1),
        gap_us=int(gap_us),
        usage=usage.decode(),
    )


WHOLE = Ask()
BURST = Ask(events=100, events_per_write=100)
"""All events in one write, as when a fast upstream's packets pile up."""
SINGLE = Ask(events=100)
"""A write for each event, as fast as they are taken."""
PACED = Ask(events=100, gap_us=10_000)
"""An event every 10 ms, so that each arrives alone: what a real model's stream looks like."""
USAGE_EACH = Ask(events=100, usage="each")
"""As SINGLE, and every event repeats role and cumulative usage, as xAI's do."""
FIRST = Ask(events=5, gap_us=1_000)
"""A short stream, to look at its first event."""

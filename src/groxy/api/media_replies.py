"""Replies of models that make pictures or film, as chat and Responses tell them.

In: what was made, as `Shown` values. Out: bytes, of a stream piece by piece or whole. A picture is
Markdown in the text; Responses has it as an item of its own beside (`image_generation_call`, in
the order of events of OpenAI's API description, 2026-08). Must not make or store anything.
"""

import base64
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from groxy.core.errors import GroxyError
from groxy.core.events import (
    Event,
    Finished,
    FinishReason,
    ReasoningDelta,
    TextDelta,
)
from groxy.core.usage import Usage
from groxy.dialects._base import Asked, Frame
from groxy.dialects.chat import DIALECT as CHAT
from groxy.dialects.responses.output import COMPLETED, MessageItem, OutputItem, ReasoningItem
from groxy.dialects.responses.reply import blank_reply, failed_reply
from groxy.dialects.responses.sending import LAST, EventWriter
from groxy.dialects.responses.usage import written_usage
from groxy.media.content import data_uri
from groxy.wire.json import encode

_CALL = "response.image_generation_call"


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """A picture or film of a reply."""

    link: str = ""
    content: bytes = b""
    """A picture's bytes, for those who want them in the reply itself."""
    content_type: str = ""
    revised_prompt: str = ""


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What a reply tells."""

    text: str
    pictures: Sequence[Shown] = ()
    cost_ticks: int | None = None


def pictures_text(pictures: Sequence[Shown], refusals: Sequence[str], form: str) -> str:
    """Return pictures as the text of an answer, a line each: url, markdown or base64."""
    lines = [_picture_text(one, form) for one in pictures]
    if refusals:
        count = len(refusals)
        what = "1 picture was" if count == 1 else f"{count} pictures were"
        lines.append(f"_{what} not made: {refusals[0]}_")
    return "\n\n".join(lines)


def _picture_text(one: Shown, form: str) -> str:
    if form == "base64" or not one.link:
        return f"![image]({data_uri(one.content, one.content_type)})"
    return one.link if form == "url" else f"![image]({one.link})"


def film_text(link: str, form: str) -> str:
    """Return a film as the text of an answer: url, markdown or html."""
    if form == "html":
        return f'<video controls src="{link.replace("&", "&amp;")}"></video>'
    return link if form == "url" else f"[video]({link})"


class MediaReply(Protocol):
    """Writes one reply: either `begin`, `progress`…, then `finish` or `fail`; or `whole`."""

    def progress(self, line: str) -> bytes:
        """Return a line that says how far it is, as thoughts; the first one opens the stream."""
        ...

    def finish(self, told: Told) -> bytes:
        """Return the end of a stream that went well."""
        ...

    def fail(self, error: GroxyError) -> bytes:
        """Return the end of a stream that broke off."""
        ...

    def whole(self, told: Told) -> bytes:
        """Return the whole reply."""
        ...


class ChatMediaReply:
    """A reply of chat; see `MediaReply`."""

    def __init__(self, asked: Asked, frame: Frame) -> None:
        self._encoder = CHAT.encoder(asked, frame)

    def progress(self, line: str) -> bytes:
        """Return a chunk of thoughts."""
        return self._encoder.feed(ReasoningDelta(text=f"{line}\n"))

    def finish(self, told: Told) -> bytes:
        """Return the answer, why it ended, usage where that is asked for, and `[DONE]`."""
        written = b"".join(self._encoder.feed(event) for event in _events(told))
        return written + self._encoder.finish(_usage(told))

    def fail(self, error: GroxyError) -> bytes:
        """Return the event of an error."""
        return self._encoder.fail(error)

    def whole(self, told: Told) -> bytes:
        """Return the whole reply."""
        return self._encoder.whole(_events(told), _usage(told))


class ResponsesMediaReply:
    """A reply of Responses; see `MediaReply`. It is not kept, and says so."""

    def __init__(self, asked: Asked, frame: Frame) -> None:
        self._frame = frame
        self._writer = EventWriter()
        self._reply: dict[str, Any] = blank_reply(asked, frame) | {"store": False}
        self._items: list[OutputItem] = []
        self._thoughts: ReasoningItem | None = None
        self._has_begun = False

    def progress(self, line: str) -> bytes:
        """Return events of a reasoning item."""
        written = self._begun()
        if self._thoughts is None:
            self._thoughts = ReasoningItem(self._writer, *self._place("rs_"))
            self._items.append(self._thoughts)
            written += self._thoughts.opened()
        return written + self._thoughts.add(f"{line}\n")

    def finish(self, told: Told) -> bytes:
        """Return the pictures as items, the message with the text, and the completed reply."""
        written = self._begun()
        if self._thoughts is not None:
            written += self._closed(self._thoughts)
        for picture in told.pictures:
            call = PictureItem(self._writer, *self._place("ig_"), picture=picture)
            self._items.append(call)
            written += call.opened() + self._closed(call)
        message = MessageItem(self._writer, *self._place("msg_"), 0)
        self._items.append(message)
        written += message.opened() + message.add(told.text) + self._closed(message)
        self._reply |= {
            "status": COMPLETED,
            "completed_at": self._frame.created,
            "output": self._output(),
            "usage": written_usage(_usage(told), self._frame.counting),
        }
        return written + self._writer.write("response.completed", {"response": self._reply}) + LAST

    def fail(self, error: GroxyError) -> bytes:
        """Return the failed reply."""
        written = self._begun()
        reply = failed_reply(self._reply, error) | {"output": self._output()}
        return written + self._writer.write("response.failed", {"response": reply}) + LAST

    def whole(self, told: Told) -> bytes:
        """Return the object that ends the stream."""
        self._writer.is_silent = True
        self.finish(told)
        return encode(self._reply)

    def _begun(self) -> bytes:
        if self._has_begun:
            return b""
        self._has_begun = True
        return b"".join(
            self._writer.write(f"response.{kind}", {"response": self._reply})
            for kind in ("created", "in_progress")
        )

    def _place(self, prefix: str) -> tuple[str, int]:
        """Return the id and the place of the next item."""
        at = len(self._items)
        return f"{prefix}{self._frame.reply_id}{at}", at

    def _closed(self, item: OutputItem) -> bytes:
        return item.closed(COMPLETED, with_sealed=False)

    def _output(self) -> list[dict[str, Any]]:
        return [item.written("incomplete", with_sealed=False) for item in self._items]


class PictureItem(OutputItem):
    """A picture, as the call of OpenAI's own tool that would have made it."""

    def __init__(
        self, writer: EventWriter, item_id: str, output_index: int, *, picture: Shown
    ) -> None:
        super().__init__(writer, item_id, output_index)
        self._picture = picture

    def opened(self) -> bytes:
        """Return the events that open it."""
        opening = self._opened()
        return opening + b"".join(
            self._write_inner(f"{_CALL}.{kind}") for kind in ("in_progress", "generating")
        )

    def _ending(self) -> bytes:
        return self._write_inner(f"{_CALL}.completed")

    def written(self, status: str, *, with_sealed: bool) -> dict[str, Any]:
        """Return the picture as it stands: its content comes with its end."""
        del with_sealed
        item: dict[str, Any] = {"id": self.item_id, "type": "image_generation_call"}
        item["status"] = self._final(status)
        item["result"] = None
        if not self.is_open:
            item["result"] = base64.b64encode(self._picture.content).decode()
            item["output_format"] = self._picture.content_type.removeprefix("image/")
            if self._picture.revised_prompt:
                item["revised_prompt"] = self._picture.revised_prompt
        return item


def _events(told: Told) -> list[Event]:
    return [TextDelta(text=told.text), Finished(reason=FinishReason.STOP)]


def _usage(told: Told) -> Usage:
    return Usage(cost_ticks=told.cost_ticks)

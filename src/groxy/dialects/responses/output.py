"""Output items while they are written: each opens, grows and closes, and knows its final form.

Order of events: OpenAI's example stream and Open Responses, 2026.
"""

from typing import Any

from groxy.core.events import Cited
from groxy.dialects.responses.sending import EventWriter
from groxy.dialects.responses.tools import Offered, call_item, unwrapped_input
from groxy.wire.json import UNREADABLE, decode_any

IN_PROGRESS = "in_progress"
COMPLETED = "completed"
INCOMPLETE = "incomplete"


class OutputItem:
    """What all items have in common."""

    def __init__(self, writer: EventWriter, item_id: str, output_index: int) -> None:
        self.item_id = item_id
        self.is_open = True
        self._writer = writer
        self._index = output_index
        self._pieces: list[str] = []
        self._status = IN_PROGRESS

    @property
    def text(self) -> str:
        """What it holds so far."""
        return "".join(self._pieces)

    def written(self, status: str, *, with_sealed: bool) -> dict[str, Any]:
        """Return the item as it stands, with this status if it is still open."""
        raise NotImplementedError

    def closed(self, status: str, *, with_sealed: bool) -> bytes:
        """End the item; return the events for it."""
        ending = self._ending()
        self.is_open, self._status = False, status
        item = self.written(status, with_sealed=with_sealed)
        return ending + self._write("response.output_item.done", item=item)

    def _ending(self) -> bytes:
        return b""

    def _opened(self) -> bytes:
        item = self.written(IN_PROGRESS, with_sealed=False)
        return self._write("response.output_item.added", item=item)

    def _final(self, status: str) -> str:
        return status if self.is_open else self._status

    def _write(self, kind: str, **fields: Any) -> bytes:
        return self._writer.write(kind, {"output_index": self._index, **fields})

    def _write_inner(self, kind: str, **fields: Any) -> bytes:
        return self._write(kind, item_id=self.item_id, **fields)


class MessageItem(OutputItem):
    """The answer's text."""

    def __init__(self, writer: EventWriter, item_id: str, output_index: int, base: int) -> None:
        super().__init__(writer, item_id, output_index)
        self._base = base
        """Characters of the whole answer before this message."""
        self._annotations: list[dict[str, Any]] = []
        self._has_part = False

    def opened(self) -> bytes:
        """Return the events that open it."""
        opening = self._opened()
        self._has_part = True
        empty = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
        return opening + self._write_inner(
            "response.content_part.added", content_index=0, part=empty
        )

    def add(self, text: str) -> bytes:
        """Add text; return the event for it."""
        self._pieces.append(text)
        return self._write_inner(
            "response.output_text.delta", content_index=0, delta=text, logprobs=[]
        )

    def cite(self, cited: Cited) -> bytes:
        """Add a source; return the event for it, or none once the message is closed."""
        annotation = {
            "type": "url_citation",
            "url": cited.url,
            "title": cited.title,
            "start_index": max(cited.start - self._base, 0),
            "end_index": max(cited.end - self._base, 0),
        }
        self._annotations.append(annotation)
        if not self.is_open:
            return b""
        return self._write_inner(
            "response.output_text.annotation.added",
            content_index=0,
            annotation_index=len(self._annotations) - 1,
            annotation=annotation,
        )

    def _part(self) -> dict[str, Any]:
        part = {"type": "output_text", "text": self.text, "annotations": self._annotations}
        return part | {"logprobs": []}

    def _ending(self) -> bytes:
        done = self._write_inner(
            "response.output_text.done", content_index=0, text=self.text, logprobs=[]
        )
        return done + self._write_inner(
            "response.content_part.done", content_index=0, part=self._part()
        )

    def written(self, status: str, *, with_sealed: bool) -> dict[str, Any]:
        """Return the message as it stands."""
        del with_sealed
        content = [self._part()] if self._has_part else []
        head = {"id": self.item_id, "type": "message", "status": self._final(status)}
        return head | {"role": "assistant", "content": content}


class ReasoningItem(OutputItem):
    """Thoughts: their text as a summary, and sealed."""

    def __init__(self, writer: EventWriter, item_id: str, output_index: int) -> None:
        super().__init__(writer, item_id, output_index)
        self.sealed = ""

    def opened(self) -> bytes:
        """Return the event that opens it."""
        return self._opened()

    def add(self, text: str) -> bytes:
        """Add thoughts; return the events for them."""
        opening = b""
        if not self._pieces:
            part = {"type": "summary_text", "text": ""}
            opening = self._write_inner(
                "response.reasoning_summary_part.added", summary_index=0, part=part
            )
        self._pieces.append(text)
        return opening + self._write_inner(
            "response.reasoning_summary_text.delta", summary_index=0, delta=text
        )

    def _ending(self) -> bytes:
        if not self._pieces:
            return b""
        part = {"type": "summary_text", "text": self.text}
        done = self._write_inner(
            "response.reasoning_summary_text.done", summary_index=0, text=self.text
        )
        return done + self._write_inner(
            "response.reasoning_summary_part.done", summary_index=0, part=part
        )

    def written(self, status: str, *, with_sealed: bool) -> dict[str, Any]:
        """Return the thoughts as they stand."""
        item: dict[str, Any] = {"id": self.item_id, "type": "reasoning"}
        item["status"] = self._final(status)
        item["summary"] = [{"type": "summary_text", "text": self.text}] if self._pieces else []
        if with_sealed and self.sealed:
            item["encrypted_content"] = self.sealed
        return item


class CallItem(OutputItem):
    """A call of a function or of a custom tool."""

    def __init__(
        self,
        writer: EventWriter,
        item_id: str,
        output_index: int,
        *,
        call_id: str,
        name: str,
        offered: Offered | None,
    ) -> None:
        super().__init__(writer, item_id, output_index)
        self._call_id = call_id
        self._name = name
        self._offered = offered
        self._is_custom = offered is not None and offered.is_custom

    @property
    def is_whole(self) -> bool:
        """True when its arguments are complete JSON."""
        try:
            decode_any(self.text.encode())
        except (*UNREADABLE, UnicodeEncodeError):
            return False
        return True

    def opened(self) -> bytes:
        """Return the event that opens it."""
        return self._opened()

    def add(self, arguments: str) -> bytes:
        """Add arguments; a custom tool's are held back, as they stand inside JSON."""
        if not arguments:
            return b""
        self._pieces.append(arguments)
        if self._is_custom:
            return b""
        return self._write_inner("response.function_call_arguments.delta", delta=arguments)

    def _ending(self) -> bytes:
        if self._is_custom:
            text = unwrapped_input(self.text)
            delta = self._write_inner("response.custom_tool_call_input.delta", delta=text)
            return delta + self._write_inner("response.custom_tool_call_input.done", input=text)
        filled = b"" if self.text.strip() else self.add("{}")
        return filled + self._write_inner(
            "response.function_call_arguments.done", arguments=self.text, name=self._name
        )

    def written(self, status: str, *, with_sealed: bool) -> dict[str, Any]:
        """Return the call as it stands."""
        del with_sealed
        return call_item(
            self._offered,
            item_id=self.item_id,
            call_id=self._call_id,
            name=self._name,
            arguments=self.text,
            status=self._final(status),
        )

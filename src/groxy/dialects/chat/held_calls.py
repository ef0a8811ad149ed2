"""Tool calls of a streamed reply, held back until each can be written whole.

In: the pieces of one choice's calls, as they come. Out: calls as chat has them, each once, in the
order of their indices. xAI never sends a call in pieces, and `@ai-sdk/xai` refuses a piece without
id and name; clients that can put pieces together take a whole call as well. Must not write bytes.
"""

from typing import Any

from groxy.core.events import ToolCallDelta
from groxy.wire.json import UNREADABLE, decode_fields


class HeldCalls:
    """The calls of one choice that were not written yet."""

    def __init__(self) -> None:
        self._held: dict[int, _Call] = {}
        self._written: set[int] = set()

    def take(self, event: ToolCallDelta) -> list[dict[str, Any]]:
        """Take more of a call; return those that can be written because another one begins."""
        if event.index in self._written:
            return []  # To arguments that were whole nothing can be added that makes sense.
        before: list[dict[str, Any]] = []
        call = self._held.get(event.index)
        if call is None:
            before = self.whole()
            call = self._held[event.index] = _Call(event)
        call.pieces.append(event.arguments)
        return before

    def whole(self) -> list[dict[str, Any]]:
        """Return the calls that are whole, up to the first that is not.

        More of that one may come, mixed up with pieces of later ones.
        """
        ready: list[int] = []
        for index in sorted(self._held):
            if not self._held[index].is_whole:
                break
            ready.append(index)
        return [self._let_go(index) for index in ready]

    def rest(self, *, is_cut: bool) -> list[dict[str, Any]]:
        """Return what is still held when the choice ends.

        Where it was cut off a call that is not whole is left out: a client that takes calls as
        they come would run it, with arguments that the model never finished.
        """
        ready = [at for at in sorted(self._held) if not is_cut or self._held[at].is_whole]
        return [self._let_go(index) for index in ready]

    def _let_go(self, index: int) -> dict[str, Any]:
        self._written.add(index)
        return self._held.pop(index).written(index)


class _Call:
    """One call, as far as it has come."""

    def __init__(self, first: ToolCallDelta) -> None:
        self.pieces: list[str] = []
        self._id, self._name = first.call_id, first.name
        self._looked_at = 0
        self._is_whole = False

    @property
    def is_whole(self) -> bool:
        """True when its arguments are a whole JSON object: nothing more can come."""
        if self._looked_at < len(self.pieces):
            self._looked_at = len(self.pieces)
            self._is_whole = _is_object(self.pieces)
        return self._is_whole

    def written(self, index: int) -> dict[str, Any]:
        """Return the call as chat has it."""
        function = {"name": self._name, "arguments": "".join(self.pieces)}
        return {"index": index, "id": self._id, "type": "function", "function": function}


def _is_object(pieces: list[str]) -> bool:
    if pieces[-1].rstrip()[-1:] not in ("}", ""):
        return False  # Most pieces end elsewhere: then there is no need to put all together.
    try:
        decode_fields("".join(pieces).encode())
    except (*UNREADABLE, UnicodeEncodeError):
        return False
    return True

"""The tool calls of one choice of a stream: which call a fragment is of, and what of it is new.

In: fragments as upstreams number and name them. Out: the same fragments, with the index of their
call, and with id and name only where these are told for the first time: clients add up what comes.
Must not touch what a call says.

Sources: Gemini behind OpenAI-like endpoints gives each parallel call index 0 and an id of its own
(lobehub/lobehub#10201, 2025-11), vLLM and SGLang do with some models (InternLM/lmdeploy#3412,
2025); Fireworks repeats id, type and name in every fragment (BerriAI/litellm#8990, 2025-03, and
SillyTavern#5827, 2026-07); Poolside has another id, and no name, in all fragments behind the first
(poolsideai/pool#9, 2026-05).
"""

from dataclasses import dataclass

from groxy.dialects.chat.mend import Call


@dataclass(slots=True)
class _Call:
    """A call that began: what its caller has been told of it."""

    number: int
    place: int
    """The index that the upstream gives it, which may be that of other calls, too."""
    call_id: str = ""
    name: str = ""


class Calls:
    """Numbers the calls of one choice."""

    def __init__(self) -> None:
        self._known: dict[tuple[int | None, str], _Call] = {}
        """Calls by index and id: one id at two indexes is two calls. By id alone under None."""
        self._newest: dict[int | None, _Call] = {}
        """The call that began last at an index; under None the last of all."""
        self._numbers: set[int] = set()
        self._next = 0

    def settle(self, fragment: Call) -> bool:
        """Give a fragment its call's index, take off what was told; return whether it changed."""
        function = fragment.function
        name = (function.name if function is not None else None) or ""
        call = self._newest.get(fragment.index)
        if call is None or name or fragment.id:
            call = self._call_of(fragment, name)
        elif fragment.index == call.number:
            return False  # As nearly all fragments are.
        is_told = bool(fragment.id and call.call_id)
        has_changed = is_told or fragment.index != call.number
        if fragment.id and not is_told:
            call.call_id = fragment.id
            self._known.setdefault((call.place, fragment.id), call)
            self._known.setdefault((None, fragment.id), call)
        if function is not None and name:
            if call.name and (is_told or name == call.name):
                function.name, has_changed = None, True
            call.name = call.name or name
        fragment.index = call.number
        if is_told:
            fragment.id = fragment.type = None
        return has_changed

    def _call_of(self, fragment: Call, name: str) -> _Call:
        if fragment.id:
            known = self._known.get((fragment.index, fragment.id))
            if known is not None:
                return known
        last = self._newest.get(fragment.index)
        if last is None or _begins(fragment, name, last):
            return self._begun(fragment.index)
        return last

    def _begun(self, index: int | None) -> _Call:
        """Return a new call: with the index that it came with, or else with the next free one."""
        number = index
        if number is None or number in self._numbers:
            while self._next in self._numbers:
                self._next += 1
            number = self._next
        self._numbers.add(number)
        call = _Call(number, number if index is None else index)
        self._newest[call.place] = self._newest[None] = call
        return call


def _begins(fragment: Call, name: str, last: _Call) -> bool:
    """True when a fragment is not of the last call at its index, but of a new one."""
    has_other_id = bool(fragment.id and last.call_id and fragment.id != last.call_id)
    if fragment.index is None:
        # With neither index nor id a name begins a call, what has none goes on with the last.
        return has_other_id or bool(name and last.name)
    # Where an index is given, an id alone is not enough: some have a new one in each fragment.
    return has_other_id and bool(name)

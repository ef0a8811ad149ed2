"""A text that matches a regular expression, for schemas with `pattern`.

In: the pattern and the length the text should have at least. Out: a short text that matches, or
`UnknownPatternError` for what is too rare to bother (lookaround, back references, Unicode classes).
Reads the pattern and never runs it: a pattern from a caller may take years to match.
"""

import re
import string
from dataclasses import dataclass, field

_MAX_PATTERN = 2000
_MAX_TEXT = 4000
_MAX_DEPTH = 40
_MAX_TRIES = 200
_UNBOUNDED = 1_000_000

_Signs = set[str]
_PRINTABLE: list[str] = [
    *string.ascii_letters,
    *string.digits,
    *" _-.,:;!?@#$%&*+/=<>()[]{}|~^'\"\\`\t\n",
]
_CLASSES: dict[str, _Signs] = {
    "d": set(string.digits),
    "w": set(string.ascii_letters + string.digits + "_"),
    "s": set(" \t\n"),
}
_CONTROLS = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v", "0": "\0"}
_REPEAT = re.compile(r"\{(\d{1,6})(,(\d{0,6}))?\}")


class UnknownPatternError(ValueError):
    """No text for this pattern."""


@dataclass(slots=True)
class _Repeat:
    """An atom and how often it comes. An atom is a text or a group of alternatives."""

    atom: "str | list[_Sequence]"
    least: int = 1
    most: int = 1


@dataclass(slots=True)
class _Sequence:
    items: list[_Repeat] = field(default_factory=list)


def text_for(pattern: str, *, at_least: int = 0) -> str:
    """Return a text that matches `pattern`, of `at_least` so many characters where it can be."""
    if len(pattern) > _MAX_PATTERN:
        raise UnknownPatternError("too long")
    tree = _Reader(pattern).read()
    text = _written(tree, 0)
    for extra in range(1, _MAX_TRIES):
        if len(text) >= at_least:
            break
        text = _written(tree, extra)
    return text


def _written(alternatives: list[_Sequence], extra: int) -> str:
    """Return the first alternative, each atom as often as it must come, and `extra` more times."""
    pieces = []
    size = 0
    for item in alternatives[0].items:
        count = min(item.least + extra, item.most)
        atom = item.atom if isinstance(item.atom, str) or not count else _written(item.atom, extra)
        if isinstance(atom, str) and count:
            size += len(atom) * count
            if size > _MAX_TEXT:
                raise UnknownPatternError("makes too long a text")
            pieces.append(atom * count)
    return "".join(pieces)


class _Reader:
    """Reads a pattern from left to right."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0
        self._depth = 0

    def read(self) -> list[_Sequence]:
        tree = self._alternatives()
        if self._at < len(self._pattern):
            raise UnknownPatternError("a bracket too many")
        return tree

    def _alternatives(self) -> list[_Sequence]:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise UnknownPatternError("nested too deeply")
        found = [self._sequence()]
        while self._take("|"):
            found.append(self._sequence())
        self._depth -= 1
        return found

    def _sequence(self) -> _Sequence:
        sequence = _Sequence()
        while self._at < len(self._pattern) and self._pattern[self._at] not in "|)":
            atom = self._atom()
            least, most = self._repeat()
            if atom is not None:
                sequence.items.append(_Repeat(atom, least, most))
        return sequence

    def _atom(self) -> "str | list[_Sequence] | None":
        sign = self._next()
        match sign:
            case "^" | "$":
                return None
            case ".":
                return "a"
            case "(":
                return self._group()
            case "[":
                return self._class()
            case "\\":
                return self._escape()
            case "{" if not _REPEAT.match(self._pattern, self._at - 1):
                return sign
            case "*" | "+" | "?" | "{":
                raise UnknownPatternError("nothing to repeat")
            case _:
                return sign

    def _group(self) -> list[_Sequence]:
        if self._take("?"):
            if self._take("P<") or (
                self._pattern[self._at : self._at + 1] == "<" and self._named()
            ):
                end = self._pattern.find(">", self._at)
                if end < 0:
                    raise UnknownPatternError("a group's name does not end")
                self._at = end + 1
            elif not self._take(":"):
                raise UnknownPatternError("a kind of group that is not known")
        found = self._alternatives()
        if not self._take(")"):
            raise UnknownPatternError("a bracket is missing")
        return found

    def _named(self) -> bool:
        """True at `<name>`, false at the lookbehinds `<=` and `<!`."""
        return self._pattern[self._at + 1 : self._at + 2] not in ("=", "!", "")

    def _escape(self) -> str | None:
        sign = self._next()
        if sign in "bBAZzG":
            return None
        if sign.lower() in _CLASSES:
            return _first(_CLASSES[sign.lower()], negated=sign.isupper())
        if sign in _CONTROLS:
            return _CONTROLS[sign]
        if sign in "xu":
            return self._code(2 if sign == "x" else 4)
        if sign.isalnum():
            raise UnknownPatternError("an escape that is not known")
        return sign

    def _code(self, digits: int) -> str:
        text = self._pattern[self._at : self._at + digits]
        self._at += digits
        try:
            return chr(int(text, 16))
        except ValueError:
            raise UnknownPatternError("a character code that is none") from None

    def _class(self) -> str:
        negated = self._take("^")
        signs: _Signs = set()
        is_first = True
        while is_first or not self._take("]"):
            low = self._class_sign(signs)
            if low and self._pattern[self._at : self._at + 1] == "-" and not self._ends_in_dash():
                self._at += 1
                high = self._class_sign(set())
                if not low <= high or ord(high) - ord(low) > 0x3000:
                    raise UnknownPatternError("a range that is not known")
                signs.update(chr(code) for code in range(ord(low), ord(high) + 1))
            elif low:
                signs.add(low)
            is_first = False
        return _first(signs, negated=negated)

    def _ends_in_dash(self) -> bool:
        return self._pattern[self._at + 1 : self._at + 2] == "]"

    def _class_sign(self, signs: _Signs) -> str:
        """Return one sign of a class; a class within it goes to `signs` and gives none."""
        sign = self._next()
        if sign != "\\":
            return sign
        name = self._pattern[self._at : self._at + 1]
        if name.lower() in _CLASSES and name:
            self._at += 1
            known = _CLASSES[name.lower()]
            signs |= known if name.islower() else set(_PRINTABLE) - known
            return ""
        if name == "b":
            raise UnknownPatternError("a backspace in a class")
        return self._escape() or ""

    def _repeat(self) -> tuple[int, int]:
        least, most = 1, 1
        if self._take("*"):
            least, most = 0, _UNBOUNDED
        elif self._take("+"):
            most = _UNBOUNDED
        elif self._take("?"):
            least = 0
        elif match := _REPEAT.match(self._pattern, self._at):
            self._at = match.end()
            least = most = int(match[1])
            if match[2]:
                most = int(match[3]) if match[3] else _UNBOUNDED
        else:
            return 1, 1
        if not self._take("?"):  # Lazy or possessive: the same texts match.
            self._take("+")
        return least, most

    def _next(self) -> str:
        if self._at >= len(self._pattern):
            raise UnknownPatternError("it ends too early")
        self._at += 1
        return self._pattern[self._at - 1]

    def _take(self, text: str) -> bool:
        if self._pattern.startswith(text, self._at):
            self._at += len(text)
            return True
        return False


def _first(signs: _Signs, *, negated: bool) -> str:
    """Return a plain-looking sign that is in `signs`, or that is not when `negated`."""
    for sign in _PRINTABLE:
        if (sign in signs) is not negated:
            return sign
    if negated or not signs:
        raise UnknownPatternError("a class without a plain character")
    return min(signs)

#!/usr/bin/env python3
"""Fail when a file or a function is too long to be read in one go.

In: the Python files under src, tools and bench. Out: one line for each file over 600 lines and
each function over 60, exit code 1 if there is any; and one notice about those that are past what
we aim at, 400 and 40. Tests are not measured: a table of cases may be long. Standard library only.
"""

import ast
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

FILE_AIM, FILE_LIMIT = 400, 600
FUNCTION_AIM, FUNCTION_LIMIT = 40, 60
FOLDERS = ("src", "tools", "bench")

# What may be longer, and why: "path" or "path:function" -> reason. This list may only shrink: an
# entry that is no longer needed fails the check until it is taken off.
EXCEPTIONS: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How long one file or one function is, and how long it should and may be."""

    name: str
    """`path`, or `path:Class.function`."""

    lines: int
    aim: int
    limit: int


def sizes_of(path: Path, root: Path) -> Iterator[Size]:
    """Yield the size of the file at `path` and of every function in it, nested ones too."""
    text = path.read_text(encoding="utf-8")
    name = path.relative_to(root).as_posix()
    yield Size(name=name, lines=len(text.splitlines()), aim=FILE_AIM, limit=FILE_LIMIT)
    yield from _functions(ast.parse(text, filename=name), f"{name}:")


def _functions(parent: ast.AST, prefix: str) -> Iterator[Size]:
    for node in ast.iter_child_nodes(parent):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            full_name = prefix + node.name
            yield Size(name=full_name, lines=lines, aim=FUNCTION_AIM, limit=FUNCTION_LIMIT)
            yield from _functions(node, f"{full_name}.")
        elif isinstance(node, ast.ClassDef):
            yield from _functions(node, f"{prefix}{node.name}.")
        else:
            yield from _functions(node, prefix)


def python_files(root: Path) -> list[Path]:
    """Return the Python files to measure, sorted; a folder that does not exist has none."""
    return sorted(path for folder in FOLDERS for path in (root / folder).rglob("*.py"))


def complaints(sizes: Iterable[Size], exceptions: Mapping[str, str]) -> list[str]:
    """Return a line for each size over its limit and for each exception that is not needed."""
    too_long = {size.name: size for size in sizes if size.lines > size.limit}
    lines = [
        f"{size.name}: {size.lines} lines, {size.limit} at most: split it"
        for name, size in too_long.items()
        if name not in exceptions
    ]
    lines += [
        f"{name}: no longer too long, take it off EXCEPTIONS in tools/check_sizes.py"
        for name in exceptions
        if name not in too_long
    ]
    return lines


def notice(sizes: Iterable[Size]) -> str:
    """Return one line about what is past its aim, the longest first; empty if nothing is."""
    long = [size for size in sizes if size.aim < size.lines <= size.limit]
    if not long:
        return ""
    long.sort(key=lambda size: size.lines / size.limit, reverse=True)
    shown = ", ".join(f"{size.name} ({size.lines})" for size in long[:5])
    more = f" and {len(long) - 5} more" if len(long) > 5 else ""
    return (
        f"notice: past the aim of {FILE_AIM} lines a file, {FUNCTION_AIM} a function: {shown}{more}"
    )


def main(root: Path) -> int:
    """Check the checkout at `root`, print what is wrong, and return the exit code."""
    sizes = [size for path in python_files(root) for size in sizes_of(path, root)]
    wrong = complaints(sizes, EXCEPTIONS)
    for line in (*wrong, notice(sizes)):
        if line:
            print(line)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(Path(__file__).resolve().parent.parent))

"""Pages of the docs with a part that a tool writes, between two markers.

    <!-- NAME:begin -->  …  <!-- NAME:end -->

In: a page and what belongs between its markers. Out: the page, written or compared. What is
outside the markers is never touched.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path


def markers(name: str) -> tuple[str, str]:
    """Return the two markers of the part `name`."""
    return f"<!-- {name}:begin -->", f"<!-- {name}:end -->"


def with_part(text: str, name: str, part: str) -> str:
    """Return `text` with `part` between the markers of `name`; stop when they are not there."""
    begin, end = markers(name)
    before, found_begin, rest = text.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found_begin or not found_end:
        sys.exit(f"The page needs the two markers {begin} and {end}.")
    return f"{before}{begin}\n\n{part.strip()}\n\n{end}{after}"


def write_or_check(
    arguments: Sequence[str] | None, page: Path, name: str, make: Callable[[], str]
) -> int:
    """Write the part of `page`, or with --check only compare; return the exit code."""
    script = f"python -m tools.write_{name}_table"
    parser = argparse.ArgumentParser(prog=script, description=f"Write the table in {page.name}.")
    parser.add_argument("--check", action="store_true", help="change nothing, only compare")
    is_check: bool = parser.parse_args(arguments).check
    old = page.read_text("utf-8")
    new = with_part(old, name, make())
    if is_check and new != old:
        print(f"{page.name} is out of step: run {script}")
        return 1
    if not is_check:
        page.write_text(new, "utf-8")
    return 0

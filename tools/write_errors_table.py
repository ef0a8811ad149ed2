"""Write the table of all error kinds into docs/errors.md, or check that it is in step.

    python tools/write_errors_table.py            write
    python tools/write_errors_table.py --check    change nothing; exit 1 if the table is old

In: `core.errors`. Out: the lines between the two markers of the page. It must not touch anything
outside them. Needs groxy installed, or src on PYTHONPATH.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from groxy.core.errors import ErrorKind, facts_of

PAGE = Path(__file__).parents[1] / "docs" / "errors.md"
BEGIN, END = "<!-- errors:begin -->", "<!-- errors:end -->"


def table() -> str:
    """Return the table in Markdown."""
    lines = [
        "| `code` | status | `type` | whose fault | another account may try |",
        "|---|---|---|---|---|",
    ]
    for kind in ErrorKind:
        facts = facts_of(kind)
        may_try = "yes" if facts.next_step.value == "other account" else "no"
        row = (f"`{kind.value}`", facts.status, f"`{facts.type}`", facts.fault.value, may_try)
        lines.append(f"| {' | '.join(str(cell) for cell in row)} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None, page: Path = PAGE) -> int:
    """Write or check `page`; return the exit code."""
    parser = argparse.ArgumentParser(description="Write the table of error kinds into the docs.")
    parser.add_argument("--check", action="store_true", help="change nothing, only compare")
    check = parser.parse_args(arguments).check
    old = page.read_text("utf-8")
    before, begin, rest = old.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        sys.exit(f"The page needs the two markers {BEGIN} and {END}.")
    new = f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}"
    if check and new != old:
        print(f"{page.name} is out of step: run python tools/write_errors_table.py")
        return 1
    if not check:
        page.write_text(new, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Write the table of all error kinds into docs/errors.md, or check that it is in step.

    python -m tools.write_errors_table            write
    python -m tools.write_errors_table --check    change nothing; exit 1 if the table is old

In: `core.errors`. Out: the lines between the two markers of the page. It must not touch anything
outside them. Needs groxy installed, or src on PYTHONPATH.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from groxy.core.errors import ErrorKind, facts_of
from tools.marked_page import write_or_check

PAGE = Path(__file__).parents[1] / "docs" / "errors.md"
NAME = "errors"


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
    return write_or_check(arguments, page, NAME, table)


if __name__ == "__main__":
    sys.exit(main())

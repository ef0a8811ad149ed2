#!/usr/bin/env python3
"""Writes the tables of docs/settings.md from the settings themselves.

    python tools/write_settings_table.py            rewrites what stands between the markers
    python tools/write_settings_table.py --check    changes nothing; exit code 1 if out of step

In come the rows of `every_setting()`, out goes Markdown. It must not touch the text around the
markers: that is written by hand.
"""

import argparse
import sys
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from groxy.settings import SettingInfo, every_setting

PAGE = Path(__file__).resolve().parent.parent / "docs" / "settings.md"
BEGIN = "<!-- settings: begin. Written by tools/write_settings_table.py; do not edit by hand. -->"
END = "<!-- settings: end -->"


def table_of(settings: Sequence[SettingInfo]) -> str:
    """Return one heading and one table for each section."""
    parts: list[str] = []
    for section, rows in groupby(settings, key=_section_of):
        parts += [
            f"### {section}",
            "",
            "| setting | type | default | meaning |",
            "|---|---|---|---|",
            *(_row_of(row) for row in rows),
            "",
        ]
    return "\n".join(parts)


def _section_of(setting: SettingInfo) -> str:
    return setting.name.partition(".")[0].removesuffix("[]")


def _row_of(setting: SettingInfo) -> str:
    in_words = setting.default in {"generated", "required", "none"}
    default = setting.default if in_words else f"`{setting.default}`"
    secret = " Secret." if setting.secret else ""
    cells = [f"`{setting.name}`", setting.type, default, setting.help + secret]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def page_with_table(page: str, table: str) -> str:
    """Return the page with the table between its markers; ValueError if a marker is missing."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        message = f"the page has no lines {BEGIN!r} and {END!r}"
        raise ValueError(message)
    return f"{before}{BEGIN}\n\n{table}\n{END}{after}"


def main(arguments: Sequence[str] | None = None, page: Path = PAGE) -> int:
    """Write or check the page; return the exit code."""
    parser = argparse.ArgumentParser(description="Write the tables of docs/settings.md.")
    parser.add_argument("--check", action="store_true", help="change nothing, only compare")
    is_check: bool = parser.parse_args(arguments).check
    old = page.read_text(encoding="utf-8")
    new = page_with_table(old, table_of(every_setting()))
    if new == old:
        return 0
    if is_check:
        print(f"{page.name} is not in step: run python tools/write_settings_table.py")
        return 1
    page.write_text(new, encoding="utf-8")
    print(f"wrote {page}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Writes the tables of docs/settings.md from the settings themselves.

    python -m tools.write_settings_table            rewrites what stands between the markers
    python -m tools.write_settings_table --check    changes nothing; exit code 1 if out of step

In come the rows of `every_setting()`, out goes Markdown. It must not touch the text around the
markers: that is written by hand.
"""

import sys
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from groxy.settings import SettingInfo, every_setting
from tools.marked_page import write_or_check

PAGE = Path(__file__).resolve().parent.parent / "docs" / "settings.md"
NAME = "settings"


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


def table() -> str:
    """Return all tables in Markdown."""
    return table_of(every_setting())


def main(arguments: Sequence[str] | None = None, page: Path = PAGE) -> int:
    """Write or check `page`; return the exit code."""
    return write_or_check(arguments, page, NAME, table)


if __name__ == "__main__":
    sys.exit(main())

import io
import re
from contextlib import redirect_stderr

import pytest
import structlog

from groxy.cli.context import loaded_settings, opened_store, print_table, run
from groxy.core.errors import GroxyError
from groxy.observe import logs


def test_the_data_folder_is_made_for_its_owner_only(tmp_path):
    folder = tmp_path / "new" / "data"

    loaded_settings(None, folder)

    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_store_is_opened_with_its_secret_and_closed_again(tmp_path):
    async def use():
        async with opened_store(loaded_settings(None, tmp_path)) as store:
            return await store.database.revision("keys"), len(store.secret.digest("k"))

    assert run(use()) == (0, 32)


def test_a_row_that_is_not_for_a_terminal_is_one_line_however_long(capsys):
    print_table(["name", "text"], [["a", "x" * 300], ["b", "y"]])

    lines = capsys.readouterr().out.splitlines()
    assert sum("x" * 300 in line for line in lines) == 1


@pytest.mark.parametrize("cell", ["\x1b[31mred", "two\nlines", "[bold]not markup[/bold]"])
def test_a_cell_cannot_command_the_terminal(capsys, cell):
    print_table(["name"], [[cell]])

    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "two\nlines" not in out
    assert "[bold]" in out or "bold" not in cell


def test_a_data_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(GroxyError) as caught:
        loaded_settings(None, tmp_path / "file" / "data")

    assert str(tmp_path / "file") in caught.value.message


def test_what_a_command_logs_is_there_when_it_ends():
    async def work():
        logs.get_logger("test").warning("beware")

    written = io.BytesIO()
    with redirect_stderr(io.TextIOWrapper(written)) as stderr:
        run(work())
        shown = written.getvalue()
    structlog.reset_defaults()

    assert b"beware" in shown
    stderr.close()


def test_a_table_for_a_file_has_neither_colours_nor_empty_lines(capsys):
    print_table(["id", "name"], [["1", "one"], ["2", "two"]])

    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines[0].split() == ["id", "name"]
    assert [line.split() for line in lines[2:]] == [["1", "one"], ["2", "two"]]


def test_in_a_narrow_terminal_nothing_is_cut_off(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "40")

    print_table(["id", "name"], [["key_" + "0123456789" * 3, "grok-4.20-0309-non-reasoning"]])

    shown = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    rows = [line for line in shown.splitlines() if line][2:]
    assert "".join(row[:19].strip() for row in rows) == "key_" + "0123456789" * 3
    assert "…" not in shown

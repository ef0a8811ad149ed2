from groxy.core.errors import ErrorKind
from tools.write_errors_table import BEGIN, END, PAGE, main

EMPTY_PAGE = f"# Title\n\n{BEGIN}\nold\n{END}\n\nAfter.\n"


def test_the_page_is_in_step_with_the_error_kinds():
    assert main(["--check"]) == 0


def test_the_page_names_every_code():
    page = PAGE.read_text("utf-8")

    assert [kind.value for kind in ErrorKind if f"`{kind.value}`" not in page] == []


def test_an_old_table_is_reported_and_left_alone(tmp_path, capsys):
    page = tmp_path / "errors.md"
    page.write_text(EMPTY_PAGE, "utf-8")

    assert main(["--check"], page) == 1
    assert "out of step" in capsys.readouterr().out
    assert page.read_text("utf-8") == EMPTY_PAGE


def test_writing_keeps_what_is_outside_the_markers(tmp_path):
    page = tmp_path / "errors.md"
    page.write_text(EMPTY_PAGE, "utf-8")

    assert main([], page) == 0
    text = page.read_text("utf-8")
    assert text.startswith("# Title\n") and text.endswith("After.\n") and "old\n" not in text

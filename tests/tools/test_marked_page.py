import pytest

from tools.marked_page import markers, with_part, write_or_check

BEGIN, END = markers("things")
PAGE = f"# Title\n\n{BEGIN}\nold\n{END}\n\nAfter.\n"


@pytest.fixture
def page(tmp_path):
    path = tmp_path / "page.md"
    path.write_text(PAGE, "utf-8")
    return path


def test_only_what_is_between_the_markers_changes():
    assert with_part(PAGE, "things", "new") == f"# Title\n\n{BEGIN}\n\nnew\n\n{END}\n\nAfter.\n"


def test_a_page_without_the_markers_is_refused_and_they_are_named():
    with pytest.raises(SystemExit, match="things:begin"):
        with_part("nothing", "things", "new")


def test_an_old_page_is_reported_and_left_alone(page, capsys):
    assert write_or_check(["--check"], page, "things", lambda: "new") == 1
    assert "run python -m tools.write_things_table" in capsys.readouterr().out
    assert page.read_text("utf-8") == PAGE


def test_a_written_page_is_in_step(page):
    assert write_or_check([], page, "things", lambda: "new") == 0
    assert write_or_check(["--check"], page, "things", lambda: "new") == 0

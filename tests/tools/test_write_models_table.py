import pytest

from groxy.routing.catalog import Catalog
from tools.marked_page import markers
from tools.write_models_table import NAME, PAGE, main, table

BEGIN, END = markers(NAME)
EMPTY_PAGE = f"# Title\n\nBefore.\n\n{BEGIN}\nold\n{END}\n\nAfter.\n"


def test_the_guide_is_in_step_with_the_catalog():
    assert main(["--check"]) == 0


def test_the_guide_names_every_id_and_alias():
    page = PAGE.read_text("utf-8")

    for model in Catalog.load().models():
        for name in (model.id, *model.aliases):
            assert f"`{name}`" in page


def test_an_old_table_is_reported_and_left_alone(tmp_path, capsys):
    page = tmp_path / "models.md"
    page.write_text(EMPTY_PAGE, "utf-8")

    assert main(["--check"], page) == 1
    assert "out of step" in capsys.readouterr().out
    assert page.read_text("utf-8") == EMPTY_PAGE


def test_writing_puts_the_table_between_the_markers_and_keeps_the_rest(tmp_path):
    page = tmp_path / "models.md"
    page.write_text(EMPTY_PAGE, "utf-8")

    assert main([], page) == 0

    text = page.read_text("utf-8")
    assert text.startswith(f"# Title\n\nBefore.\n\n{BEGIN}\n")
    assert text.endswith(f"\n{END}\n\nAfter.\n")
    assert table() in text
    assert main(["--check"], page) == 0


def test_writing_twice_changes_nothing_more(tmp_path):
    page = tmp_path / "models.md"
    page.write_text(EMPTY_PAGE, "utf-8")
    main([], page)
    once = page.read_text("utf-8")

    main([], page)

    assert page.read_text("utf-8") == once


def test_a_page_without_markers_is_refused(tmp_path):
    page = tmp_path / "models.md"
    page.write_text("no markers", "utf-8")

    with pytest.raises(SystemExit, match="two markers"):
        main([], page)


def test_the_table_shows_prices_efforts_and_retirements():
    lines = table().splitlines()

    def line_of(name):
        return next(line for line in lines if line.startswith(f"| `{name}` |"))

    assert "2.00 / 0.50 / 6.00; from 200,000 tokens 4.00 / 1.00 / 12.00" in line_of("grok-4.7")
    assert "low, medium, **high**, xhigh" in line_of("grok-4.7")
    assert "picture handed in 0.002" in line_of("grok-imagine-video")
    assert "`grok-4.3`, effort none" in line_of("grok-4-fast-non-reasoning")
    assert "heavy, heavy, best first" in line_of("grok-4.20-heavy")
    assert "2026-11-02" in line_of("grok-imagine-image-quality")

"""The size check: what it measures, what it refuses, what it only mentions."""

from pathlib import Path

import pytest

from tools import check_sizes
from tools.check_sizes import FILE_AIM, FILE_LIMIT, FUNCTION_AIM, FUNCTION_LIMIT


def function(name: str, lines: int, *, indent: str = "") -> str:
    """Return the source of a function that is `lines` long, its first line included."""
    return f"{indent}def {name}():\n" + f"{indent}    pass\n" * (lines - 1)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "src" / "groxy" / "core" / "events.py"
    path.parent.mkdir(parents=True)
    return path


def test_a_tree_of_short_files_passes_and_prints_nothing(source, tmp_path, capsys):
    source.write_text(function("fold", FUNCTION_AIM))
    assert check_sizes.main(tmp_path) == 0
    assert capsys.readouterr().out == ""


def test_a_function_at_the_limit_passes_with_a_notice(source, tmp_path, capsys):
    source.write_text(function("fold", FUNCTION_LIMIT))
    assert check_sizes.main(tmp_path) == 0
    assert "notice: " in (out := capsys.readouterr().out)
    assert "src/groxy/core/events.py:fold (60)" in out


def test_a_function_over_the_limit_fails_and_is_named(source, tmp_path, capsys):
    source.write_text(function("fold", FUNCTION_LIMIT + 1))
    assert check_sizes.main(tmp_path) == 1
    assert "src/groxy/core/events.py:fold: 61 lines, 60 at most" in capsys.readouterr().out


def test_a_decorator_does_not_count_as_a_line_of_the_function(source, tmp_path):
    source.write_text("@decorated\n" + function("fold", FUNCTION_LIMIT))
    assert check_sizes.main(tmp_path) == 0


def test_a_method_carries_the_name_of_its_class(source, tmp_path, capsys):
    source.write_text("class Decoder:\n" + function("feed", FUNCTION_LIMIT + 1, indent="    "))
    assert check_sizes.main(tmp_path) == 1
    assert "events.py:Decoder.feed: 61 lines" in capsys.readouterr().out


def test_an_async_function_behind_an_if_is_measured_too(source, tmp_path, capsys):
    inner = function("pump", FUNCTION_LIMIT + 1, indent="    ").replace("def", "async def", 1)
    source.write_text("if True:\n" + inner)
    assert check_sizes.main(tmp_path) == 1
    assert "events.py:pump: 61 lines" in capsys.readouterr().out


def test_a_file_over_the_limit_fails(source, tmp_path, capsys):
    source.write_text("x = 1\n" * (FILE_LIMIT + 1))
    assert check_sizes.main(tmp_path) == 1
    assert "src/groxy/core/events.py: 601 lines, 600 at most" in capsys.readouterr().out


def test_the_notice_names_the_five_longest_and_counts_the_others(source, tmp_path, capsys):
    names = ["a", "b", "c", "d", "e", "f", "g"]
    sizes = range(FUNCTION_AIM + 1, FUNCTION_AIM + 1 + len(names))
    source.write_text("".join(function(n, s) for n, s in zip(names, sizes, strict=True)))
    assert check_sizes.main(tmp_path) == 0
    out = capsys.readouterr().out
    assert out.index("events.py:g (47)") < out.index("events.py:c (43)")
    assert "events.py:b" not in out
    assert "and 2 more" in out


def test_tests_may_be_long(tmp_path):
    path = tmp_path / "tests" / "test_events.py"
    path.parent.mkdir()
    path.write_text("x = 1\n" * (FILE_LIMIT + 1))
    assert check_sizes.main(tmp_path) == 0


def test_an_exception_lets_a_long_file_pass(source, tmp_path, monkeypatch):
    source.write_text("x = 1\n" * (FILE_LIMIT + 1))
    name = "src/groxy/core/events.py"
    monkeypatch.setattr(check_sizes, "EXCEPTIONS", {name: "one table"})
    assert check_sizes.main(tmp_path) == 0


def test_an_exception_that_is_not_needed_fails(source, tmp_path, monkeypatch, capsys):
    source.write_text("x = 1\n" * FILE_AIM)
    name = "src/groxy/core/events.py"
    monkeypatch.setattr(check_sizes, "EXCEPTIONS", {name: "one table"})
    assert check_sizes.main(tmp_path) == 1
    assert f"{name}: no longer too long" in capsys.readouterr().out

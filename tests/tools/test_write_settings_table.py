import re
import tomllib

from groxy.settings import every_setting, load_settings
from tools.marked_page import markers
from tools.write_settings_table import NAME, PAGE, main

BEGIN, END = markers(NAME)


def test_the_page_is_in_step_with_the_settings():
    assert main(["--check"]) == 0


def test_every_setting_is_on_the_page():
    page = PAGE.read_text(encoding="utf-8")
    for setting in every_setting():
        assert f"`{setting.name}`" in page


def test_the_examples_on_the_page_are_settings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "xai.key").write_text("k-1")
    environ = {"HOME": str(tmp_path), "MY_CLOUDFLARE_TOKEN": "k-2"}
    examples = re.findall(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(examples) >= 2
    for example in examples:
        assert tomllib.loads(example)
        (tmp_path / "groxy.toml").write_text(example)
        assert load_settings(environ=environ).settings.accounts


def test_check_finds_a_page_that_is_out_of_step_and_leaves_it(tmp_path, capsys):
    page = tmp_path / "settings.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    assert main(["--check"], page) == 1
    assert "old" in page.read_text()
    assert "run python -m tools.write_settings_table" in capsys.readouterr().out
    assert main([], page) == 0
    assert main(["--check"], page) == 0

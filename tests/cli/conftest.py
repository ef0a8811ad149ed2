"""What tests of commands share: running one in this process, with a data folder of its own."""

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from groxy.cli import app

Run = Callable[..., Result]


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def groxy(data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `groxy …` and return what it printed and its exit status."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XAI_API_KEY", "OPENROUTER_API_KEY", "COMETAPI_KEY", "CLOUDFLARE_API_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GROXY_DATA_DIR", str(data_dir))

    def run(*arguments: str, stdin: str = "") -> Result:
        return CliRunner().invoke(app, list(arguments), input=stdin)

    return run


@pytest.fixture
def two(groxy: Run) -> None:
    """Two accounts at a sandbox in this process."""
    for name, tag in (("one", "fast"), ("two", "slow")):
        added = groxy("account", "add", name, "--upstream", "sandbox", "--tag", tag)
        assert added.exit_code == 0, added.exception

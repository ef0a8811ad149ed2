"""The documentation cannot lie: what it names exists, and what exists is named."""

import re
from pathlib import Path

import pytest
import typer

from groxy.cli import app
from groxy.observe.metrics import Metrics
from groxy.settings import every_setting
from groxy.upstreams import discover

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("bench/*.md")])


def text_of(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_somewhere(page):
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text("utf-8"))
    local = [link for link in links if "://" not in link]

    assert [link for link in local if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_page_that_a_text_names_exists(page):
    named = re.findall(r"\b(docs/[\w/.-]+\.md)", page.read_text("utf-8"))

    assert [name for name in named if "<" not in name and not (ROOT / name).exists()] == []


def test_every_file_that_the_architecture_names_exists():
    named = re.findall(r"`((?:[\w]+/)+[\w]+\.(?:py|toml))`", text_of("ARCHITECTURE.md"))

    assert len(named) > 15
    assert [name for name in named if not (ROOT / "src/groxy" / name).exists()] == []


def test_every_package_is_in_the_architecture():
    packages = [path.parent.name for path in (ROOT / "src/groxy").glob("*/__init__.py")]
    page = text_of("ARCHITECTURE.md")

    assert [name for name in packages if f"`{name}`" not in page] == []


def test_every_setting_is_documented():
    page = text_of("docs/settings.md")

    names = [setting.name for setting in every_setting()]

    assert [name for name in names if f"`{name}`" not in page] == []


def test_every_upstream_has_a_page():
    pages = {path.stem for path in ROOT.glob("docs/upstreams/*.md")} | {"sandbox"}

    assert (ROOT / "docs/guide/sandbox.md").exists()
    assert [name for name in discover() if name not in pages] == []


def test_every_command_is_documented():
    page = text_of("docs/guide/commands.md")
    group = typer.main.get_command(app)

    assert [name for name in _commands(group, "groxy") if f"`{name}" not in page] == []


def _commands(command, path):
    children = getattr(command, "commands", None)
    if not children:
        return [path]
    return [name for key, child in children.items() for name in _commands(child, f"{path} {key}")]


def test_every_metric_is_documented():
    page = text_of("docs/guide/operations.md")
    families = [family.name for family in Metrics().registry.collect()]

    assert len(families) > 5
    assert [name for name in families if name not in page] == []


def test_every_decision_is_in_the_list():
    page = text_of("docs/decisions/README.md")
    records = [path.name for path in ROOT.glob("docs/decisions/[0-9]*.md")]

    assert [name for name in records if f"({name})" not in page] == []

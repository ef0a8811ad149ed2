"""How upstreams are found: files of the package, and entry points of other packages."""

from collections.abc import Iterator
from importlib.metadata import EntryPoint

import pytest

import groxy.upstreams
from groxy.upstreams import discover
from groxy.upstreams._base import Upstream


class Example(Upstream):
    name = "example"
    title = "Example"


class Intruder(Upstream):
    name = "xai"
    title = "Not xAI"


EXAMPLE = Example()
INTRUDER = Intruder()
NOTHING = object()


@pytest.fixture(autouse=True)
def _found_anew() -> Iterator[None]:
    """Look again for what is installed, also after a test that installed something."""
    discover.cache_clear()
    yield
    discover.cache_clear()


def point(monkeypatch, name, value):
    points = [EntryPoint(name, f"{__name__}:{value}", "groxy.upstreams")]
    monkeypatch.setattr(groxy.upstreams, "entry_points", lambda group: points)
    monkeypatch.setattr(EntryPoint, "load", lambda entry: globals()[entry.attr])


def test_files_are_found_and_helpers_are_not():
    found = discover()
    assert {"xai", "openrouter", "cometapi", "cloudflare", "openai_compatible"} <= set(found)
    assert not any(name.startswith("_") for name in found)
    assert list(found) == sorted(found)


def test_other_packages_add_upstreams(monkeypatch):
    point(monkeypatch, "example", "EXAMPLE")
    assert discover()["example"] is EXAMPLE


def test_other_packages_do_not_replace_our_own(monkeypatch):
    point(monkeypatch, "xai", "INTRUDER")
    assert discover()["xai"].title == "xAI"


@pytest.mark.parametrize(("name", "value"), [("example", "NOTHING"), ("other", "EXAMPLE")])
def test_module_that_declares_no_upstream_of_its_name_stops_the_start(monkeypatch, name, value):
    point(monkeypatch, name, value)
    with pytest.raises(TypeError, match=name):
        discover()

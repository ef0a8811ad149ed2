import pytest

from groxy import upstreams
from groxy.upstreams import _guess
from groxy.upstreams._base import Upstream
from groxy.upstreams._guess import guess_upstream


@pytest.fixture
def found(monkeypatch):
    """Upstreams of a test's own."""

    def put(**prefixes):
        made = {}
        for name, declared in prefixes.items():
            made[name] = Upstream()
            made[name].key_prefixes = declared
        monkeypatch.setattr(upstreams, "discover", lambda: made)
        _guess._prefixes.cache_clear()

    yield put
    _guess._prefixes.cache_clear()


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("xai-AbC123", "xai"),
        ("  xai-AbC123\n", "xai"),
        ("sk-or-v1-0123", "openrouter"),
        ("sk-0123", None),
        ("XAI-AbC123", None),
        ("my xai-key", None),
        ("", None),
    ],
)
def test_a_key_tells_whose_it_is_where_its_beginning_does(key, name):
    assert guess_upstream(key) == name


def test_the_longest_beginning_wins(found):
    found(plain=("sk-",), special=("sk-or-", "zz-"))
    assert guess_upstream("sk-or-1") == "special"
    assert guess_upstream("sk-1") == "plain"
    assert guess_upstream("zz-1") == "special"


def test_an_empty_beginning_is_nobodys(found):
    found(anybody=("",))
    assert guess_upstream("sk-1") is None

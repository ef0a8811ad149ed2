import time

import pytest
from hypothesis import given, strategies as st

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.grants import KeyGrant, Plan, PlanGrant
from groxy.policy.keys import Caller
from groxy.policy.models import compiled, may_use, require_model


def caller(models=(), plan=()):
    return Caller(
        key_id="k",
        name="n",
        grant=KeyGrant(models=models),
        plan=Plan(grant=PlanGrant(models=plan)),
    )


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("grok-4", "grok-4", True),
        ("grok-4", "grok-4.7", False),
        ("grok-4", "Grok-4", False),
        ("grok-*", "grok-", True),
        ("grok-*", "grok-4.7", True),
        ("grok-*", "grok", False),
        ("grok-*", "x-grok-4", False),
        ("*", "", True),
        ("*", "anything/at all", True),
        ("*-mini", "grok-3-mini", True),
        ("*-mini", "grok-3-mini-fast", False),
        ("grok-*-fast", "grok-4-fast", True),
        ("grok-*-fast", "grok--fast", True),
        ("grok-*-fast", "grok-fast", False),
        ("a*a", "a", False),
        ("a*a", "aa", True),
        ("a*b*c", "abc", True),
        ("a*b*c", "acb", False),
        ("a*b*bc", "abc", False),
        ("ab*ba", "aba", False),
        ("*a*", "bab", True),
        ("*a*", "bb", False),
        ("**", "x", True),
    ],
)
def test_a_star_stands_for_any_characters_and_for_nothing_else(pattern, name, fits):
    assert compiled((pattern,)).has(name) is fits


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("grok-.", "grok-4"),
        ("grok.*", "grok-4"),
        ("grok-?", "grok-4"),
        ("grok-[0-9]", "grok-4"),
        ("(grok-4|x)*", "grok-4"),
        ("grok-%", "grok-4"),
        ("grok-_", "grok-4"),
        ("^grok-4$", "grok-4"),
        ("\\*", "*"),
        ("grok-*", "x\ngrok-4"),
        ("", "grok-4"),
    ],
)
def test_no_other_sign_is_special(pattern, name):
    assert not compiled((pattern,)).has(name)


@given(st.lists(st.text("ab", max_size=3), min_size=2, max_size=5), st.text("ab", max_size=8))
def test_it_finds_what_trying_every_place_finds(parts, name):
    def fits(rest, left):
        if not left:
            return not rest
        if len(left) == 1:
            return rest.endswith(left[0])
        places = [n for n in range(len(rest) + 1) if rest.startswith(left[0], n)]
        return any(fits(rest[n + len(left[0]) :], left[1:]) for n in places)

    first, *others = parts
    naive = name.startswith(first) and fits(name[len(first) :], others)

    assert compiled(("*".join(parts),)).has(name) is naive


def test_a_nasty_pattern_takes_no_time():
    pattern = "*" + "a*" * 60 + "b"
    began = time.perf_counter()
    assert not compiled((pattern,)).has("a" * 100_000)

    assert time.perf_counter() - began < 1.0


def test_key_and_plan_have_to_allow_a_model_both():
    both = caller(models=("grok-4*",), plan=("*-fast",))

    assert may_use(both, "grok-4-fast")
    assert not may_use(both, "grok-4")
    assert not may_use(both, "grok-3-fast")
    assert may_use(caller(), "anything")


def test_any_name_of_a_model_will_do():
    require_model(caller(models=("grok-4.7",)), ("latest", "grok-4.7"))
    require_model(caller(models=("latest",)), ("latest", "grok-4.7"))
    require_model(caller(models=("latest",), plan=("grok-4.7",)), ("latest", "grok-4.7"))


def test_a_model_that_is_not_allowed_is_named_as_it_was_asked_for():
    with pytest.raises(GroxyError) as caught:
        require_model(caller(models=("grok-3",)), ("latest" + "x" * 1_000, "grok-4.7"))

    error = caught.value
    assert (error.kind, error.code, error.param) == (
        ErrorKind.FORBIDDEN,
        "model_not_allowed",
        "model",
    )
    assert "latest" in error.message
    assert "grok-4.7" not in error.message
    assert len(error.message) < 300


def test_no_name_at_all_is_not_allowed_by_a_list():
    with pytest.raises(GroxyError):
        require_model(caller(models=("*",)), ())


def test_a_list_is_made_ready_once():
    assert compiled(("a*", "b")) is compiled(("a*", "b"))

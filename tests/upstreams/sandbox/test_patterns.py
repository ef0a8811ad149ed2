"""Texts for regular expressions."""

import re
import time

import pytest
from hypothesis import given, settings, strategies as st

from groxy.upstreams.sandbox.patterns import UnknownPatternError, text_for

_KNOWN = [
    "",
    "^$",
    "abc",
    "^[A-Z]{3}$",
    r"^\d{4}-\d{2}-\d{2}$",
    r"^[a-z0-9._%+-]+@[a-z0-9.-]+\.[a-z]{2,}$",
    r"^(foo|bar)+$",
    r"^(?:https?)://\w+",
    r"^(?P<year>\d{4})$",
    r"^#[0-9a-fA-F]{6}$",
    r"^\+?[1-9]\d{1,14}$",
    r"^[^\s@]+$",
    r"^[^a-zA-Z]$",
    r"^[]x]$",
    r"^[a-]$",
    r"^[\w-]{2,5}$",
    r"^\x41\u0042$",
    r"^a{2}b*?c+?$",
    r"^\S\D\W$",
    r"^.{5,}$",
    r"^v\d+(\.\d+){2}$",
    r"a{,3}",
    r"^\/api\/$",
    r"^\t$",
    "^é[à-ü]$",
]


@pytest.mark.parametrize("pattern", _KNOWN)
def test_the_text_matches_its_pattern(pattern):
    assert re.search(pattern, text_for(pattern))


def test_a_name_in_the_way_of_javascript_is_read():
    assert text_for("^(?<year>[0-9]{4})$").isdigit()


@pytest.mark.parametrize("pattern", [r"^[a-z]+$", r"^(ab)*$", r"^\d{2,}x?$", "^.{3,8}$"])
def test_a_text_is_drawn_out_to_a_length(pattern):
    text = text_for(pattern, at_least=6)
    assert len(text) >= 6
    assert re.search(pattern, text)


@pytest.mark.parametrize(
    "pattern",
    [
        r"^(?=a)b",
        r"^(?!a)b",
        r"(?<=a)b",
        r"(?<!a)b",
        r"(a)\1",
        r"\p{L}",
        "(a",
        "a)",
        "[a",
        "*a",
        "\\",
        "[a-\\d]",
        "[z-a]",
        "[\\b]",
        r"\xZZ",
        "(?<name",
        r"[^\s\S]",
        "(" * 100 + ")" * 100,
        "a{3000}{3000}",
        "((((a{500}){500}){500}){500})",
        "a" * 5000,
    ],
)
def test_a_pattern_that_is_too_much_is_said_to_be_so(pattern):
    with pytest.raises(UnknownPatternError):
        text_for(pattern)


@given(st.text(alphabet="ab1-^$.|?*+()[]{},\\dwsxA: \n", max_size=40))
@settings(max_examples=400)
def test_any_pattern_is_matched_or_refused(pattern):
    try:
        text = text_for(pattern)
    except UnknownPatternError:
        return
    assert isinstance(text, str)


def test_a_pattern_that_takes_ages_to_match_is_filled_at_once():
    started = time.perf_counter()
    assert text_for("^(a+)+$" + "(a|a)*" * 50, at_least=3000)
    assert time.perf_counter() - started < 1


_atoms = st.sampled_from(
    ["a", "Z", "7", "_", " ", r"\.", r"\d", r"\w", r"\s", r"\S", "[a-f]", "[^a]", "[0-9A]", "."]
)
_counts = st.sampled_from(["", "?", "*", "+", "{2}", "{1,3}", "{0,}", "+?"])
_regexes = st.recursive(
    st.tuples(_atoms, _counts).map("".join),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.lists(inner, min_size=1, max_size=3).map("|".join).map(lambda text: f"({text})"),
        st.tuples(inner, _counts).map(lambda parts: f"(?:{parts[0]}){parts[1]}"),
    ),
    max_leaves=6,
)


@given(_regexes)
@settings(max_examples=400)
def test_any_regular_expression_of_the_usual_kind_is_matched(regex):
    assert re.search(f"^(?:{regex})$", text_for(f"^(?:{regex})$"))

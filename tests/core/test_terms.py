"""Terms: what an operator may lay down, and what is wrong with the rest."""

import msgspec
import pytest
from hypothesis import given, strategies as st

from groxy.core.terms import (
    MAX_PRIORITY,
    MAX_TAGS,
    MAX_WEIGHT,
    NO_TERMS,
    Terms,
    fault_of,
    read_quota,
)


@pytest.mark.parametrize(
    ("text", "quota"),
    [
        ("400/2h", (400, 7200)),
        ("30/1d", (30, 86_400)),
        ("60/minute", (60, 60)),
        ("5/second", (5, 1)),
        ("5/hour", (5, 3600)),
        ("5/day", (5, 86_400)),
        ("0/1s", (0, 1)),
        (" 7/90m ", (7, 5400)),
        ("999999999999/9999999d", (999_999_999_999, 9_999_999 * 86_400)),
    ],
)
def test_a_quota_is_read(text, quota):
    assert read_quota(text) == quota


@pytest.mark.parametrize(
    "text",
    ["", "400", "/2h", "400/", "400/h", "400/0h", "-1/2h", "1.5/2h", "400/2w", "400 / 2h", "4/2H",
     "400/2h/3", "4/minutes", "9" * 13 + "/1h", "1/" + "9" * 8 + "s", "400/2h\n1/1s"],
)  # fmt: skip
def test_what_is_no_quota_is_refused(text):
    with pytest.raises(ValueError, match="must"):
        read_quota(text)


@given(st.integers(0, 10**12 - 1), st.integers(1, 10**7 - 1), st.sampled_from("smhd"))
def test_every_quota_that_can_be_written_is_read(count, number, unit):
    seconds = {"s": 1, "m": 60, "h": 3600, "d": 86_400}[unit]

    assert read_quota(f"{count}/{number}{unit}") == (count, number * seconds)


@given(st.text(max_size=20))
def test_no_text_is_a_crash(text):
    terms = Terms(quotas={"fast": text})
    fault = fault_of(terms)

    assert fault is None or fault[0] == "quotas.fast"


GOOD = [
    NO_TERMS,
    Terms(tags=("a",) * MAX_TAGS),
    Terms(tags=("größe", "x" * 64)),
    Terms(weight=MAX_WEIGHT, priority=-MAX_PRIORITY),
    Terms(weight=1, priority=MAX_PRIORITY, max_in_flight=1_000_000, rpm=10**9, tpm=10**12),
    Terms(models=("grok-4.3", "grok-4*", "*")),
    Terms(quotas={"fast": "1/1s", "official": "400/2h"}),
]


@pytest.mark.parametrize("terms", GOOD)
def test_terms_that_can_be_have_no_fault(terms):
    assert fault_of(terms) is None


BAD = [
    ("tags", Terms(tags=("a",) * (MAX_TAGS + 1))),
    ("tags", Terms(tags=("",))),
    ("tags", Terms(tags=("x" * 65,))),
    ("tags", Terms(tags=("a,b",))),
    ("tags", Terms(tags=("a\nb",))),
    ("weight", Terms(weight=0)),
    ("weight", Terms(weight=MAX_WEIGHT + 1)),
    ("priority", Terms(priority=MAX_PRIORITY + 1)),
    ("priority", Terms(priority=-MAX_PRIORITY - 1)),
    ("max_in_flight", Terms(max_in_flight=-1)),
    ("rpm", Terms(rpm=-1)),
    ("tpm", Terms(tpm=10**12 + 1)),
    ("models", Terms(models=("",))),
    ("models", Terms(models=(" ",))),
    ("models", Terms(models=("*-fast",))),
    ("models", Terms(models=("grok-*-fast",))),
    ("quotas.fast", Terms(quotas={"fast": "many"})),
]


@pytest.mark.parametrize(("field", "terms"), BAD)
def test_a_fault_names_its_field_and_the_remedy(field, terms):
    found = fault_of(terms)

    assert found is not None
    assert found[0] == field
    assert len(found[1]) > 10


def test_what_is_not_laid_down_is_not_written():
    assert msgspec.json.encode(NO_TERMS) == b"{}"


@pytest.mark.parametrize("terms", GOOD)
def test_terms_survive_being_written_and_read(terms):
    assert msgspec.json.decode(msgspec.json.encode(terms), type=Terms) == terms


def test_terms_cannot_be_changed():
    with pytest.raises(AttributeError):
        setattr(NO_TERMS, "weight", 2)  # noqa: B010 - the type checker knows better

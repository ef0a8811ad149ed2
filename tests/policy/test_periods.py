from datetime import UTC, datetime

import pytest

from groxy.core.grants import Caps
from groxy.policy.periods import ends_of, spends_of

ALL = Caps(day=1, week=2, month=3, total=4)


def at(text):
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def names(caps, moment):
    return [name for name, _, _ in spends_of("key_1", caps, at(moment))]


def test_a_key_without_caps_has_no_periods():
    assert names(Caps(), "2026-11-25T12:00") == []


def test_each_cap_looks_at_its_own_balance():
    found = {name: cap for name, cap, _ in spends_of("key_1", ALL, at("2026-11-25T12:00"))}

    assert found == {
        "spend:key_1:total": 4,
        "spend:key_1:day:2026-11-25": 1,
        "spend:key_1:week:2026-11-23": 2,
        "spend:key_1:month:2026-11-01": 3,
    }


@pytest.mark.parametrize(
    ("moment", "day", "week", "month"),
    [
        ("2026-11-22T23:59:59.999", "2026-11-22", "2026-11-16", "2026-11-01"),
        ("2026-11-23T00:00", "2026-11-23", "2026-11-23", "2026-11-01"),
        ("2026-12-31T23:59:59.999", "2026-12-31", "2026-12-28", "2026-12-01"),
        ("2027-01-01T00:00", "2027-01-01", "2026-12-28", "2027-01-01"),
        ("2028-02-29T12:00", "2028-02-29", "2028-02-28", "2028-02-01"),
    ],
)
def test_periods_begin_at_midnight_utc_on_mondays_and_firsts(moment, day, week, month):
    found = names(ALL, moment)

    assert found == [
        "spend:key_1:total",
        f"spend:key_1:day:{day}",
        f"spend:key_1:week:{week}",
        f"spend:key_1:month:{month}",
    ]


def test_a_total_of_nothing_is_a_cap_too():
    assert names(Caps(total=0), "2026-11-25T12:00") == ["spend:key_1:total"]


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("spend:key_1:total", None),
        ("spend:key_1:day:2026-12-31", "2027-01-01"),
        ("spend:key_1:week:2026-12-28", "2027-01-04"),
        ("spend:key_1:month:2026-12-01", "2027-01-01"),
        ("spend:key_1:month:2028-02-01", "2028-03-01"),
    ],
)
def test_a_balance_tells_when_its_period_is_over(name, end):
    found = ends_of(name)

    assert (found.date().isoformat() if found else None) == end


def test_a_balance_is_kept_for_a_while_after_its_period():
    kept = [until for _, _, until in spends_of("key_1", ALL, at("2026-11-25T12:00"))]

    assert kept[0] is None
    assert all(until > at("2026-12-31T00:00") for until in kept[1:])

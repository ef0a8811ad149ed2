"""`groxy account list` and `show`."""

import json
from typing import Any

import pytest

from groxy.cli import account_list
from groxy.core.errors import ErrorKind, GroxyError
from tests.cli.accounts import PlayedDesk, seat, shown, told

NOON_MS = 1_785_585_600_000
"""2026-08-01 12:00:00 UTC."""


def listed(groxy, *arguments):
    """Return the names that a list has."""
    return {
        one["name"] for one in json.loads(groxy("account", "list", "--json", *arguments).stdout)
    }


def page(*accounts, more=None):
    return {
        "tokens": list(accounts),
        "pagination": {"has_more": more is not None, "next": more},
    }


def fields_shown(groxy):
    """Return what `show` prints, by field."""
    lines = groxy("account", "show", "one").stdout.splitlines()
    return {line.split()[0]: line.partition(" ")[2].strip() for line in lines if " " in line}


# ---------------------------------------------------------------------------------------- list


def test_with_no_account_the_sandbox_is_listed(groxy):
    assert "sandbox" in groxy("account", "list").output


def test_a_list_as_json_is_one_array(groxy, two):
    accounts = json.loads(groxy("account", "list", "--json").stdout)

    assert {account["name"] for account in accounts} == {"one", "two"}
    assert json.loads(groxy("account", "list", "--json", "--tag", "none").stdout) == []


def test_a_list_of_many_pages_has_everyone_once(groxy, two, monkeypatch):
    monkeypatch.setattr(account_list, "_PAGE_SIZE", 1)
    groxy("account", "add", "three", "--upstream", "sandbox")

    lines = groxy("account", "list").stdout.splitlines()
    accounts = json.loads(groxy("account", "list", "--json").stdout)

    assert lines[0].split()[:2] == ["name", "upstream"]
    assert {line.split()[0] for line in lines[1:]} == {"one", "two", "three"}
    assert len(lines) == 4
    assert len(accounts) == 3


def test_an_account_is_one_line_with_its_place_and_how_it_stands(groxy, monkeypatch):
    rest: dict[str, Any] = {"until": None, "reason": "", "models": [{}, {}]}
    account = told(status="cooling", reason="rate_limited", cooling=rest, tags=["a", "b"])
    seat(monkeypatch, account_list, PlayedDesk(page(account, told(name="here", base_url=""))))

    *_, first, second = groxy("account", "list").stdout.splitlines()

    assert first.split("  ")[0] == "one"
    assert "https://api.x.ai/v1" in first
    assert "cooling (rate_limited), 2 models rest" in first
    assert first.rstrip().endswith("a, b")
    assert "in this process" in second


def test_a_list_has_what_its_filters_leave(groxy, two):
    groxy("account", "add", "cheap", "--pool", "basic", stdin="xai-key-0123456789\n")
    groxy("account", "disable", "two")

    assert listed(groxy) == {"one", "two", "cheap"}
    assert listed(groxy, "--tag", "fast") == {"one"}
    assert listed(groxy, "--pool", "basic") == listed(groxy, "--upstream", "xai") == {"cheap"}
    assert listed(groxy, "--status", "disabled") == {"two"}
    assert listed(groxy, "--status", "active", "--upstream", "sandbox") == {"one"}
    assert listed(groxy, "--tag", "none") == set()


def test_all_filters_are_sent_with_every_page(groxy, monkeypatch):
    desk = seat(monkeypatch, account_list, PlayedDesk(page(told(), more="acc_1"), page(told())))

    filters = ("--pool", "super", "--status", "expired", "--upstream", "xai", "--tag", "eu")
    groxy("account", "list", *filters)

    wanted = {"pool": "super", "status": "expired", "upstream": "xai", "tag": "eu"}
    assert [wanted.items() <= asked.query.items() for asked in desk.asked] == [True, True]
    assert [asked.query["after"] for asked in desk.asked] == ["", "acc_1"]


@pytest.mark.parametrize("option", [("--status", "asleep"), ("--pool", "tiny")])
def test_a_filter_that_can_match_nothing_is_refused_at_once(groxy, option):
    refused = groxy("account", "list", *option)

    assert refused.exit_code == 2
    assert option[1] in refused.stderr


def test_the_first_page_is_printed_before_the_second_is_fetched(groxy, monkeypatch):
    first = page(told(), more="acc_1")
    seat(monkeypatch, account_list, PlayedDesk(first))  # the second one is an IndexError

    broken = groxy("account", "list")

    assert isinstance(broken.exception, IndexError)
    assert broken.stdout.splitlines()[1].split()[:2] == ["one", "xai"]


def test_in_a_list_of_many_pages_columns_are_as_wide_as_the_first_page_needs(groxy, monkeypatch):
    desk = PlayedDesk(page(told(name="a" * 30), more="acc_1"), page(told(name="b" * 40)))
    seat(monkeypatch, account_list, desk)

    head, first, second = groxy("account", "list").stdout.splitlines()

    assert head.index("upstream") == first.index("xai") == 32
    assert second.startswith("b" * 40 + "  xai"), "a longer name is whole"


@pytest.mark.parametrize("more", [None, "acc_1"], ids=["one page", "several"])
def test_a_terminal_obeys_nothing_that_a_list_prints(groxy, monkeypatch, more):
    account = told(tags=["\x1b[31mred"])
    pages = [page(account, more=more), *([page()] if more else [])]
    seat(monkeypatch, account_list, PlayedDesk(*pages))

    printed = groxy("account", "list").stdout

    assert "\ufffd[31mred" in printed
    assert "\x1b" not in printed


# ---------------------------------------------------------------------------------------- show


def test_an_account_that_is_not_there_cannot_be_shown(groxy, two):
    error = groxy("account", "show", "nobody").exception

    assert isinstance(error, GroxyError)
    assert error.kind is ErrorKind.NOT_FOUND


def test_an_account_is_shown_by_name_and_by_id_without_its_key(groxy):
    groxy("account", "add", "x", stdin="xai-key-0123456789abcdef\n")
    account = shown(groxy, "x")

    assert shown(groxy, account["id"])["name"] == "x"
    assert "xai-key-0123456789abcdef" not in json.dumps(account)
    table = groxy("account", "show", "x").stdout
    assert "xai-key-0123456789abcdef" not in table
    assert account["token"] in table


def test_what_there_is_to_say_of_an_account_is_a_line_a_field(groxy, monkeypatch):
    account = {
        "since": NOON_MS,
        "last_used_at": NOON_MS + 1_999,
        "cost_ticks": 12_345_000_000,
        "tags": ["a", "b"],
        "quotas": {"fast": "400/2h", "heavy": "30/1d"},
        "weight": 0,
    }
    seat(monkeypatch, account_list, PlayedDesk(account))

    assert fields_shown(groxy) == {
        "field": "value",
        "since": "2026-08-01 12:00:00 UTC",
        "last_used_at": "2026-08-01 12:00:01 UTC",
        "cost_ticks": "1.2345 USD",
        "tags": "a, b",
        "quotas": "fast 400/2h, heavy 30/1d",
        "weight": "0",
    }


def test_fields_with_nothing_to_say_are_left_out(groxy, monkeypatch):
    empty: dict[str, Any] = {
        "latency_ms": None,
        "note": "",
        "tags": [],
        "quotas": {},
        "since": None,
        "quota": {},
    }
    seat(monkeypatch, account_list, PlayedDesk({"name": "one", "cooling": None, **empty}))

    assert fields_shown(groxy) == {"field": "value", "name": "one"}


def test_quotas_are_shown_where_they_have_a_bound(groxy, monkeypatch):
    quota = {
        "auto": {"remaining": 0, "total": 0, "source": "none", "reset_at": None},
        "fast": {"remaining": 3, "total": 400, "source": "terms", "reset_at": NOON_MS},
        "heavy": {"remaining": 30, "total": 30, "source": "upstream", "reset_at": None},
    }
    seat(monkeypatch, account_list, PlayedDesk({"quota": quota}))

    assert fields_shown(groxy)["quota"] == (
        "fast 3 of 400 (terms, full again 2026-08-01 12:00:00 UTC); heavy 30 of 30 (upstream)"
    )


@pytest.mark.parametrize(
    ("reason", "until", "text"),
    [
        ("rate_limited", NOON_MS, "all until 2026-08-01 12:00:00 UTC (rate_limited); "),
        ("out_of_credit", None, "all until a refresh (out_of_credit); "),
        ("", None, ""),
    ],
    ids=["for a while", "until a refresh", "only models"],
)
def test_rests_are_shown_with_their_ends_and_reasons(groxy, monkeypatch, reason, until, text):
    models = [{"model": "grok-4", "until": NOON_MS, "reason": "down"}]
    cooling = {"until": until, "reason": reason, "models": models}
    seat(monkeypatch, account_list, PlayedDesk({"cooling": cooling}))

    assert fields_shown(groxy)["cooling"] == f"{text}grok-4 until 2026-08-01 12:00:00 UTC (down)"


def test_a_name_is_one_part_of_the_path_whatever_is_in_it(groxy, monkeypatch):
    desk = seat(monkeypatch, account_list, PlayedDesk({"name": "a/b?c"}))

    groxy("account", "show", "a/b?c")

    assert desk.asked[0].path == "/tokens/a%2Fb%3Fc"

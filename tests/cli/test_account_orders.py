"""`groxy account` enable, disable, cool, clear, test and refresh."""

import re

import pytest

from groxy.cli import account_orders
from groxy.core.errors import ErrorKind, GroxyError
from tests.cli.accounts import ADDRESS, PlayedDesk, seat, shown


def started(task_id="job_1", total=1):
    return {"task_id": task_id, "total": total}


def ended(kind="done", **results):
    return {"type": kind, "result": {"results": results}}


@pytest.mark.parametrize("order", ["enable", "disable", "clear", "test"])
def test_an_account_that_is_not_there_takes_no_orders(groxy, two, order):
    error = groxy("account", order, "nobody").exception

    assert isinstance(error, GroxyError)
    assert error.kind is ErrorKind.NOT_FOUND


# --------------------------------------------------------------------------- enable and disable


@pytest.mark.parametrize(("order", "verb"), [("enable", "Enabled"), ("disable", "Disabled")])
def test_one_that_is_missing_among_several_fails_the_command_but_not_the_others(
    groxy, two, order, verb
):
    done = groxy("account", order, "one", "nobody")

    assert done.exit_code == 1
    assert done.stdout == f"{verb} 1 account.\n"
    assert "1 of those named were not there" in done.stderr


def test_disabled_accounts_are_listed_as_such_until_they_are_enabled(groxy, two):
    assert groxy("account", "disable", "one", "two").stdout == "Disabled 2 accounts.\n"
    assert groxy("account", "list", "--status", "disabled").stdout.count("disabled (") == 2

    assert groxy("account", "enable", "one").stdout == "Enabled one.\n"
    assert "one" in groxy("account", "list", "--status", "active").stdout


def test_names_are_switched_once_each_and_a_thousand_at_a_time(groxy, monkeypatch):
    answers = [{"summary": {"ok": 1000}}, {"summary": {"ok": 200}}]
    desk = seat(monkeypatch, account_orders, PlayedDesk(*answers))
    names = [f"n{number}" for number in range(1200)]

    done = groxy("account", "disable", *names, *names)

    assert (done.exit_code, done.stdout) == (0, "Disabled 1,200 accounts.\n")
    assert [asked.body["tokens"] for asked in desk.asked] == [names[:1000], names[1000:]]
    assert all(asked.body["disabled"] for asked in desk.asked)


# -------------------------------------------------------------------------------- cool and clear


def test_a_rest_that_nobody_would_learn_of_is_refused(groxy, two):
    for arguments in (("cool", "one", "--for", "60"), ("clear", "one", "--model", "grok-4.3")):
        error = groxy("account", *arguments).exception
        assert isinstance(error, GroxyError)
        assert "--url" in error.message

    assert groxy("account", "clear", "one", "two").exit_code == 0


def test_a_rest_is_ordered_for_an_account_or_one_model_of_it(groxy, monkeypatch):
    desk = seat(monkeypatch, account_orders, PlayedDesk({}, {}))

    whole = groxy("account", "cool", "a/b", "--for", "90")
    model = groxy("account", "cool", "one", "--for", "0.5", "--model", "grok-4")

    assert whole.stdout == "a/b rests for 90 s.\n"
    assert model.stdout == "one rests for 0.5 s from grok-4.\n"
    assert [(asked.path, asked.body) for asked in desk.asked] == [
        ("/tokens/a%2Fb/cool", {"seconds": 90, "model": ""}),
        ("/tokens/one/cool", {"seconds": 0.5, "model": "grok-4"}),
    ]


def test_how_long_a_rest_is_has_to_be_said(groxy):
    refused = groxy("account", "cool", "one")

    assert refused.exit_code == 2
    assert "--for" in refused.stderr


def test_rests_are_ended_once_for_each_name(groxy, monkeypatch):
    desk = seat(monkeypatch, account_orders, PlayedDesk({}, {}))

    cleared = groxy("account", "clear", "one", "two", "one", "--model", "grok-4")

    assert cleared.stdout == "Cleared one.\nCleared two.\n"
    assert [asked.path for asked in desk.asked] == ["/tokens/one/clear", "/tokens/two/clear"]
    assert [asked.body for asked in desk.asked] == [{"model": "grok-4"}] * 2


@pytest.mark.redis
def test_with_redis_a_rest_outlives_the_command_that_ordered_it(groxy, two, redis, monkeypatch):
    monkeypatch.setenv("GROXY_STATE__URL", redis.url)

    cooled = groxy("account", "cool", "one", "--for", "600")
    assert cooled.stdout == "one rests for 600 s.\n", cooled.exception

    listed = groxy("account", "list", "--status", "cooling").stdout
    assert "one" in listed
    assert "two" not in listed
    groxy("account", "clear", "one")
    assert "one" not in groxy("account", "list", "--status", "cooling").stdout


# ------------------------------------------------------------------------------------------ test


def test_testing_an_account_out_of_reach_fails_with_the_reason(groxy):
    groxy("account", "add", "far", *ADDRESS)

    tested = groxy("account", "test", "far")

    assert tested.exit_code == 1
    assert "upstream_unavailable" in tested.output


def test_testing_an_account_that_works_says_ok(groxy):
    assert groxy("account", "test", "sandbox").output == "sandbox: ok\n"


def test_a_terminal_obeys_nothing_of_what_an_upstream_said(groxy, monkeypatch):
    seat(monkeypatch, account_orders, PlayedDesk({"ok": False, "error": "\x1b[2Jgone"}))

    assert groxy("account", "test", "one").stdout == "one: \ufffd[2Jgone\n"


# --------------------------------------------------------------------------------------- refresh


@pytest.mark.parametrize("arguments", [(), ("one", "--all")], ids=["nobody", "some and all"])
def test_a_refresh_is_of_accounts_that_are_named_or_of_all(groxy, arguments):
    error = groxy("account", "refresh", *arguments).exception

    assert isinstance(error, GroxyError)
    assert (error.kind, error.param) == (ErrorKind.BAD_REQUEST, "names")


@pytest.mark.parametrize("at_once", ["0", "81"])
def test_a_refresh_of_none_or_too_many_at_once_is_refused(groxy, at_once):
    refused = groxy("account", "refresh", "--all", "--concurrency", at_once)

    assert refused.exit_code == 2
    assert "--concurrency" in refused.stderr


def test_a_refresh_says_how_many_went_well(groxy, two):
    assert groxy("account", "refresh", "--all").stdout == "Refreshed 2 of 2 accounts.\n"
    assert shown(groxy, "one")["checked_at"] > 0


def test_a_refresh_that_fails_names_the_account_and_why(groxy, two):
    groxy("account", "add", "far", *ADDRESS)

    refreshed = groxy("account", "refresh", "one", "far", "nobody")

    assert refreshed.exit_code == 1
    assert "Refreshed 1 of 2 accounts." in refreshed.stdout
    assert re.search(r"far .*upstream_unavailable", refreshed.stdout)
    assert "1 of those named are not there" in refreshed.stderr


def test_all_are_asked_for_as_such_and_names_by_the_thousand(groxy, monkeypatch):
    fine = {"type": "done", "result": {"results": {}}}
    names = [f"n{number}" for number in range(1001)]
    desk = PlayedDesk(started(), started(), started(), events=[fine, fine, fine])
    seat(monkeypatch, account_orders, desk)

    groxy("account", "refresh", "--all", "--concurrency", "7")
    groxy("account", "refresh", *names)

    everyone, first, second = desk.asked
    assert everyone.body == {"tokens": []}
    assert everyone.query == {"async": True, "all_manageable": True, "concurrency": 7}
    assert [first.body["tokens"], second.body["tokens"]] == [names[:1000], names[1000:]]
    assert first.query == {"async": True, "all_manageable": False, "concurrency": None}


def test_a_refresh_that_was_stopped_is_no_success(groxy, monkeypatch):
    desk = PlayedDesk(started(), events=[ended("cancelled", a={"name": "one", "token": "xai"})])
    seat(monkeypatch, account_orders, desk)

    error = groxy("account", "refresh", "--all").exception

    assert isinstance(error, GroxyError)
    assert error.kind is ErrorKind.CANCELLED


def test_of_many_failures_a_hundred_are_shown_and_all_counted(groxy, monkeypatch):
    failed = {
        f"acc_{number}": {"name": f"bad{number}", "token": "xai-...", "error": "upstream_auth"}
        for number in range(150)
    }
    good = {"acc_good": {"name": "good", "token": "xai-..."}}
    desk = PlayedDesk(started(total=151), events=[ended(**failed, **good)])
    seat(monkeypatch, account_orders, desk)

    refreshed = groxy("account", "refresh", "--all")

    assert refreshed.exit_code == 1
    assert refreshed.stdout.count("upstream_auth") == 100
    assert "Refreshed 1 of 151 accounts." in refreshed.stdout


def test_an_account_that_is_named_twice_is_not_missed(groxy, two):
    one = shown(groxy, "one")

    refreshed = groxy("account", "refresh", "one", one["id"])

    assert (refreshed.exit_code, refreshed.stdout) == (0, "Refreshed 1 of 1 account.\n")

from math import inf

import pytest

from groxy.admin.portraits import host_of, token_of
from groxy.core.errors import ErrorKind
from groxy.routing.account import Status
from groxy.store.standings import Tally
from tests.admin.office import key_of

NONE = Tally(account_id="")


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("", ""),
        ("http://proxy.test:8080", "proxy.test:8080"),
        ("socks5h://me:p@ss@10.0.0.1:1080/x", "10.0.0.1:1080"),
        ("http://[::1", ""),
    ],
)
def test_of_a_proxy_only_the_host_shows(url, host):
    assert host_of(url) == host


def test_an_account_that_rests_says_until_when_and_why(office):
    one = office.declare("one")
    office.desk.directory.rest(one, 2_000_000_000.0, ErrorKind.UPSTREAM_QUOTA)

    token = token_of(one, NONE, 1_999_999_000.0)

    assert (token.status, token.reason) == ("cooling", "upstream_quota_exhausted")
    assert token.cooling is not None
    assert token.cooling.until == 2_000_000_000_000


def test_a_rest_that_only_a_refresh_ends_has_no_end(office):
    one = office.declare("one")
    one.stand(Status.COOLING, "upstream_quota_exhausted", 5.0)
    one.rest_until = inf

    token = token_of(one, NONE, 10.0)

    assert (token.status, token.since) == ("cooling", 5000)
    assert token.cooling is not None
    assert (token.cooling.until, token.cooling.reason) == (None, "upstream_quota_exhausted")


@pytest.mark.parametrize("status", [Status.DISABLED, Status.EXPIRED])
def test_an_account_out_of_service_does_not_cool(office, status):
    one = office.declare("one")
    one.stand(status, "why", 5.0)

    token = token_of(one, NONE, 10.0)

    assert (token.status, token.reason, token.cooling) == (status.value, "why", None)


def test_a_rest_that_is_over_shows_no_more(office):
    one = office.declare("one")
    office.desk.directory.rest(one, 50.0, ErrorKind.UPSTREAM_DOWN)
    office.desk.directory.rest(one, 50.0, ErrorKind.UPSTREAM_LIMITED, "grok-4.3")

    token = token_of(one, NONE, 60.0)

    assert (token.status, token.reason, token.cooling) == ("active", "", None)


def test_the_newer_of_two_times_counts(office):
    one = office.declare("one")
    one.tally.last_used, one.tally.last_failed, one.tally.last_error = 3.0, 2.0, "new"
    counted = Tally(account_id="one", last_used_ms=9000, last_failed_ms=1000, last_error="old")

    token = token_of(one, counted, 10.0)

    assert (token.last_used_at, token.last_failed_at, token.last_error) == (9000, 2000, "new")
    assert key_of("one") not in token.model_dump_json()

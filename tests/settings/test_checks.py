from pathlib import Path

import pytest
from pydantic import ValidationError

from groxy.settings import Settings
from groxy.settings.checks import check_together
from groxy.settings.sources import Draft


def problems_of(**sections):
    settings = Settings.model_validate({"data_dir": Path("/data"), **sections})
    return [str(problem) for problem in check_together(settings, Draft())]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "groxy.lan"])
def test_open_mode_is_refused_where_others_can_reach_it(host):
    (problem,) = problems_of(server={"host": host}, app={"api_key": ""})
    assert "app.api_key" in problem
    assert "app.allow_open_network = true" in problem


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "[::1]", "localhost"])
def test_open_mode_is_fine_on_this_machine(host):
    assert problems_of(server={"host": host}, app={"api_key": ""}) == []


def test_open_mode_on_the_network_can_be_permitted():
    app = {"api_key": "", "allow_open_network": True}
    assert problems_of(server={"host": "0.0.0.0"}, app=app) == []


def test_a_key_makes_the_network_fine():
    assert problems_of(server={"host": "0.0.0.0"}, app={"api_key": "sk-a"}) == []
    assert problems_of(server={"host": "0.0.0.0"}) == []


def test_workers_need_state_that_they_can_share():
    (problem,) = problems_of(server={"workers": 2})
    assert 'set state.url = "redis://host:6379/0", or server.workers = 1' in problem
    assert problems_of(server={"workers": 2}, state={"url": "redis://h"}) == []


@pytest.mark.parametrize(
    "url", ["sqlite+aiosqlite://", "sqlite:///:memory:", "sqlite:///:memory:?cache=shared"]
)
def test_workers_need_a_database_that_they_can_share(url):
    (problem,) = problems_of(server={"workers": 2}, state={"url": "redis://h"}, store={"url": url})
    assert "store.url" in problem


def test_workers_need_a_media_store_that_they_can_share():
    shared = {"server": {"workers": 2}, "state": {"url": "redis://h"}}
    (problem,) = problems_of(**shared, media={"url": "memory://"})
    assert "media.url" in problem
    assert problems_of(**shared, media={"url": "s3://bucket"}) == []
    assert problems_of(media={"url": "memory://"}) == []


def test_the_operators_key_is_no_callers_key():
    (problem,) = problems_of(app={"api_key": "sk-a,sk-b", "app_key": "sk-b"})
    assert "every caller would be an operator" in problem
    assert "sk-b" not in problem


def test_account_names_differ_in_more_than_capitals():
    accounts = [{"name": name, "upstream": "xai"} for name in ("a", "b", "A")]
    (problem,) = problems_of(accounts=accounts)
    assert 'accounts.2.name is "A", like accounts.0.name' in problem


def test_aliases_that_lead_to_a_model_are_fine():
    aliases = {"claude-*": "grok-4.3", "*": "grok-4.7", "a": "upstream/own-id", "same": "same"}
    assert problems_of(aliases=aliases) == []


@pytest.mark.parametrize(
    ("name", "target", "words"),
    [
        ("a", "", "aliases.a is empty"),
        ("a", "  ", "aliases.a is empty"),
        ("", "grok-4.3", "has no name"),
        (" ", "grok-4.3", "has no name"),
        ("a*b", "grok-4.3", "has a `*` before its end"),
        ("a**", "grok-4.3", "has a `*` before its end"),
        ("a", "grok-*", "name one model"),
        ("a", "known", 'is "known", which is an alias itself'),
    ],
)
def test_an_alias_that_leads_nowhere_is_told(name, target, words):
    (problem,) = problems_of(aliases={"known": "grok-4.3", name: target})
    assert words in problem


@pytest.mark.parametrize(
    ("section", "first", "longest"),
    [
        ("attempts", "backoff_s", "backoff_max_s"),
        ("cooling", "limited_s", "limited_max_s"),
        ("cooling", "down_s", "down_max_s"),
    ],
)
def test_what_grows_cannot_begin_above_its_bound(section, first, longest):
    (problem,) = problems_of(**{section: {first: 0.5, longest: 0.25}})
    assert f"{section}.{longest} is 0.25, less than {section}.{first} (0.5)" in problem
    assert problems_of(**{section: {first: 0.5, longest: 0.5}}) == []


def test_a_status_cannot_be_both_followed_and_not():
    attempts = {"also_rotate_on": [404, 409], "never_rotate_on": [500, 409]}
    (problem,) = problems_of(attempts=attempts)
    assert "never_rotate_on holds 409" in problem
    assert problems_of(attempts={"also_rotate_on": [404], "never_rotate_on": [409]}) == []


def test_quotas_name_a_pool_and_a_mode():
    good = {"basic.fast": "30/1d", "super.expert-2": "60/minute", "heavy.a_b": "1/5s"}
    assert problems_of(routing={"quotas": good}) == []


@pytest.mark.parametrize(
    ("name", "quota", "words"),
    [
        ("fast", "1/1h", "no pool and mode"),
        ("gold.fast", "1/1h", "no pool and mode"),
        ("super.", "1/1h", "no pool and mode"),
        ("super.Fast", "1/1h", "no pool and mode"),
        ("Super.fast", "1/1h", "no pool and mode"),
        ("super.a.b", "1/1h", "no pool and mode"),
        ("super.fast", "", "400/2h"),
        ("super.fast", "400/0h", "longer than nothing"),
    ],
)
def test_a_quota_that_cannot_be_is_told(name, quota, words):
    (problem,) = problems_of(routing={"quotas": {name: quota}})
    assert f"routing.quotas.{name} " in problem
    assert words in problem


@pytest.mark.parametrize(
    ("terms", "words"),
    [
        ({"tags": [f"t{n}" for n in range(11)]}, "accounts.1.tags has 11 tags"),
        ({"tags": ["x" * 65]}, "accounts.1.tags has a tag"),
        ({"models": ["a*b"]}, "accounts.1.models must be model ids"),
        ({"quotas": {"fast": "often"}}, "accounts.1.quotas.fast must be requests"),
        ({"quotas": {"Fast": "1/1h"}}, "accounts.1.quotas.Fast is no mode"),
    ],
)
def test_terms_that_cannot_be_are_told(terms, words):
    accounts = [{"name": "a", "upstream": "xai"}, {"name": "b", "upstream": "xai", **terms}]
    (problem,) = problems_of(accounts=accounts)
    assert words in problem


STRIPE = {
    "stripe_secret_key": "sk_test_1",
    "stripe_webhook_secret": "whsec_1",
    "stripe_success_url": "https://shop.example/paid?id={CHECKOUT_SESSION_ID}",
}


def test_payments_are_off_or_whole():
    assert problems_of() == problems_of(billing=STRIPE) == []
    for missing in ("stripe_secret_key", "stripe_webhook_secret"):
        (problem,) = problems_of(billing={**STRIPE, missing: None})
        assert f"billing.{missing} is not set" in problem
        assert "sk_test_1" not in problem
        assert "whsec_1" not in problem
    (problem,) = problems_of(billing={**STRIPE, "stripe_success_url": ""})
    assert "billing.stripe_success_url is empty" in problem


@pytest.mark.parametrize("name", ["stripe_secret_key", "stripe_webhook_secret"])
@pytest.mark.parametrize("text", ["", "  ", "a b"])
def test_an_empty_secret_of_payments_is_refused(name, text):
    with pytest.raises(ValidationError) as caught:
        problems_of(billing={**STRIPE, name: text})
    assert f"billing.{name}" in str(caught.value)


def test_topups_have_bounds_that_leave_some():
    (problem,) = problems_of(billing={"least_topup_usd": 50, "most_topup_usd": 20})
    assert "billing.most_topup_usd is 20" in problem


def test_alerts_are_signed():
    (problem,) = problems_of(billing={"low_balance_url": "https://user:pass@hook.example"})
    assert "billing.low_balance_secret is not set" in problem
    assert "pass" not in problem


@pytest.mark.parametrize(
    "billing",
    [
        {"low_balance_url": "ftp://hook.example"},
        {"low_balance_url": "hook"},
        {"stripe_success_url": "javascript:alert(1)"},
        {"stripe_cancel_url": "https://user:pass@shop.example"},
        {"low_balance_usd": -1},
        {"low_balance_usd": 0.5},
        {"least_topup_usd": True},
        {"most_topup_usd": 2**63},
    ],
    ids=repr,
)
def test_a_setting_of_billing_that_makes_no_sense_is_refused(billing):
    with pytest.raises(ValidationError):
        problems_of(billing=billing)

import asyncio
import socket

import pytest

from groxy.api import checkout
from groxy.api.checkout import StripeRules, create_page
from groxy.core.errors import ErrorKind, GroxyError
from tests.api.stripe_server import SECRET_KEY, SIGNING, fake_stripe


def rules(url, **more):
    given = {
        "secret_key": SECRET_KEY,
        "webhook_secret": SIGNING,
        "success_url": "https://a.example",
    }
    return StripeRules(**{**given, "api_base": url, **more})


def begun(url, **more):
    return create_page(rules(url, **more), topup_id="top_1", user_id="usr_1", cents=2000)


def test_payments_need_both_secrets_and_show_none():
    assert rules("").is_on
    assert not rules("", secret_key="").is_on
    assert not rules("", webhook_secret="").is_on
    assert SECRET_KEY not in repr(rules(""))
    assert SIGNING not in repr(rules(""))


async def test_who_does_not_pay_goes_to_another_page():
    with fake_stripe() as stripe:
        page = await begun(stripe.url, cancel_url="https://b.example")

    assert (page.id, page.url) == ("cs_test_1", "https://checkout.example/cs_test_1")
    assert stripe.asked[0]["cancel_url"] == "https://b.example"


async def test_many_begin_at_the_same_time():
    with fake_stripe() as stripe:
        pages = await asyncio.gather(*(begun(stripe.url) for _ in range(20)))

    assert len({page.id for page in pages}) == 20


async def test_nobody_waits_for_ever(monkeypatch):
    monkeypatch.setattr(checkout, "_TIMEOUTS_S", (0.2, 0.2))
    monkeypatch.setattr(checkout, "_RETRIES", 0)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(GroxyError) as caught:
            await begun(f"http://127.0.0.1:{silent.getsockname()[1]}")

    assert caught.value.kind is ErrorKind.UPSTREAM_DOWN
    assert SECRET_KEY not in caught.value.message + caught.value.detail

from groxy.app.payments import stripe_rules_of
from groxy.settings import Settings
from tests.inprocess import ADMIN_KEY, application, ask

STRIPE = {
    "stripe_secret_key": "sk_test_1234567890",
    "stripe_webhook_secret": "whsec_1234567890",
    "stripe_success_url": "https://shop.example/paid",
}


def test_settings_say_what_payments_are_bound_to(tmp_path):
    billing = {**STRIPE, "least_topup_usd": 7, "most_topup_usd": 70}
    rules = stripe_rules_of(Settings.model_validate({"data_dir": tmp_path, "billing": billing}))

    assert rules.is_on
    assert (rules.secret_key, rules.webhook_secret) == ("sk_test_1234567890", "whsec_1234567890")
    assert (rules.success_url, rules.cancel_url) == ("https://shop.example/paid", "")
    assert (rules.least_usd, rules.most_usd, rules.api_base) == (7, 70, "")
    assert "1234567890" not in repr(rules)
    assert not stripe_rules_of(Settings(data_dir=tmp_path)).is_on


async def test_payments_are_switched_on_while_the_gateway_runs(tmp_path):
    async with application(tmp_path) as app:

        async def patched(billing):
            body = {"billing": billing}
            return await ask(app, "PATCH", "/admin/api/config", body=body, key=ADMIN_KEY)

        async def heard():
            return await ask(app, "POST", "/v1/webhooks/stripe", body=b"{}", key=None)

        assert (await heard()).error["code"] == "payments_off"
        half = await patched({"stripe_secret_key": "sk_test_1234567890"})
        assert (half.status, half.error["param"]) == (400, "billing.stripe_webhook_secret")
        other = await patched({"stripe_api_base": "https://evil.example"})
        assert (other.status, other.error["code"]) == (400, "startup_only_config")
        done = await patched(STRIPE)
        assert done.status == 200, done.body
        assert b"1234567890" not in done.body
        assert (await heard()).error["code"] == "signature_invalid"
        shown = await ask(app, "GET", "/admin/api/config", key=ADMIN_KEY)
        audit = await ask(app, "GET", "/admin/api/audit", key=ADMIN_KEY)
        assert b"1234567890" not in shown.body + audit.body


async def test_credits_are_below_both_prefixes(tmp_path):
    async with application(tmp_path) as app:
        for path in ("/v1/credits", "/api/v1/credits"):
            assert (await ask(app, "GET", path)).error["code"] == "no_balance"
        answer = await ask(app, "GET", "/v1/credits/redeem")
        assert (answer.status, answer.headers["allow"]) == (405, "POST")

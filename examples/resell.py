"""Lives the story of a gateway that sells access: a plan, a user, a code, a key, calls, a bill.

    export GROXY_URL=http://127.0.0.1:8000 GROXY_ADMIN_KEY=adm-…
    python examples/resell.py

The operator makes a plan with a mark-up, a user, and a code that is worth credits. The user logs
in, redeems the code, makes a key, and calls through OpenAI's own client, until the credits are used
up (402). The operator gives more, and it goes on. After every step the books are checked: the
balance is the sum of the user's entries, and the ledger as a whole adds up.

Needs `pip install openai`; it works on the sandbox, without any credentials of an upstream.
"""
# ruff: noqa: INP001, T201, S101, PT017, TID251 - a script for people, who want to see that it is so

import json
import os
import secrets
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from openai import APIStatusError, OpenAI

MODEL = "grok-4.3"
CODE_USD = "0.01"
TOP_UP_USD = "0.05"
MARKUP_BP = 2_000


@dataclass(frozen=True)
class Api:
    """HTTP with a key: the operator's, or a user's session."""

    url: str
    key: str

    def ask(self, method: str, path: str, **fields: object) -> Any:  # noqa: ANN401 - JSON
        """Send a request; return the JSON that it answers."""
        request = urllib.request.Request(  # noqa: S310 - the address is yours
            self.url + path,
            data=json.dumps(fields).encode() if fields else None,
            headers={"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - the same
            return json.load(answer, parse_float=Decimal)


class Story:
    """Operator and user, and the books of both."""

    def __init__(self, url: str, admin_key: str) -> None:
        self.url = url
        self.operator = Api(url, admin_key)
        self.user_id = ""

    def live(self) -> None:
        """Live it from the beginning to the end."""
        user = self.open_account()
        self.redeem(user)
        client = self.make_key(user)
        self.call(client)
        self.read_the_bill(user)
        self.run_dry(client)
        self.top_up()
        self.call(client)
        self.read_the_bill(user)
        self.show_the_margin()

    def open_account(self) -> Api:
        """The operator makes a plan and a user, who logs in."""
        name = f"reseller {secrets.token_hex(4)}"
        plan = self.operator.ask(
            "POST",
            "/admin/api/plans",
            name=name,
            markup_bp=MARKUP_BP,
            user_rates={"requests": 6_000, "concurrency": 50},
        )
        email, password = f"{secrets.token_hex(6)}@example.com", secrets.token_urlsafe(16)
        user = self.operator.ask(
            "POST",
            "/admin/api/users",
            name="Ada",
            email=email,
            password=password,
            plan_id=plan["id"],
        )
        self.user_id = user["id"]
        login = Api(self.url, "").ask("POST", "/v1/auth/login", email=email, password=password)
        print(f"plan {plan['id']} ({MARKUP_BP // 100} % mark-up), user {self.user_id}, logged in")
        self.check_books(Decimal(0))
        return Api(self.url, login["token"])

    def redeem(self, user: Api) -> None:
        """The operator makes a code, the user redeems it; a second time it is worth nothing."""
        made = self.operator.ask("POST", "/admin/api/codes", count=1, usd=CODE_USD)
        code = made["codes"][0]
        user.ask("POST", "/v1/credits/redeem", code=code)
        assert self.refusal(lambda: user.ask("POST", "/v1/credits/redeem", code=code)) == 409
        print(f"code {code[:9]}… redeemed for {CODE_USD} USD, once")
        self.check_books(Decimal(CODE_USD))

    def make_key(self, user: Api) -> OpenAI:
        """The user makes a key with a cap of its own; return OpenAI's client with it."""
        made = user.ask("POST", "/v1/keys", name="my program", limit="5", limit_reset="daily")
        print(f"key {made['data']['hash']}, which may spend 5 USD a day")
        return OpenAI(base_url=f"{self.url}/v1", api_key=made["key"], max_retries=0)

    def call(self, client: OpenAI) -> None:
        """Call whole and streamed; the books have each of them."""
        before = self.balance()
        whole = client.chat.completions.create(
            model=MODEL, max_tokens=100, messages=[{"role": "user", "content": "Say hello."}]
        )
        with client.chat.completions.create(
            model=MODEL,
            max_tokens=100,
            messages=[{"role": "user", "content": "Count to five."}],
            stream=True,
        ) as stream:
            text = "".join(
                event.choices[0].delta.content or "" for event in stream if event.choices
            )
        spent = before - self.balance()
        print(f"{whole.choices[0].message.content!r}, {text[:40]!r}: {spent} USD")
        assert spent > 0
        self.check_books(before - spent)

    def read_the_bill(self, user: Api) -> None:
        """The user reads what there was, what was charged, and a signed receipt of one request."""
        credit = user.ask("GET", "/v1/credits")["data"]
        lines = user.ask("GET", "/v1/credits/statement?limit=100")["data"]
        charged = [line for line in lines if line["kind"] == "charge"]
        receipt = user.ask("GET", f"/v1/receipts/{charged[0]['request_id']}")
        assert credit["total_credits"] - credit["total_usage"] == credit["balance"]
        assert Decimal(receipt["receipt"]["charge"]) == -Decimal(str(charged[0]["amount_usd"]))
        print(
            f"{len(charged)} calls for {credit['total_usage']} USD, {credit['balance']} USD left; "
            f"the newest has a receipt signed by {receipt['key_id']}"
        )

    def run_dry(self, client: OpenAI) -> None:
        """Call until a request may cost more than is left."""
        calls = 0
        try:
            while True:
                client.chat.completions.create(
                    model=MODEL,
                    max_tokens=1_000,
                    messages=[{"role": "user", "content": "Tell me a story. " * 50}],
                )
                calls += 1
        except APIStatusError as error:
            assert error.status_code == 402, error
            assert isinstance(error.body, dict)
            print(f"dry after {calls} more: {error.body['message']}")
        assert self.balance() >= 0
        self.check_books(self.balance())

    def top_up(self) -> None:
        """The operator gives more credits, with a reason that the user reads too."""
        before = self.balance()
        self.operator.ask(
            "POST",
            f"/admin/api/users/{self.user_id}/credits",
            usd=TOP_UP_USD,
            reason="paid in cash",
        )
        print(f"{TOP_UP_USD} USD more")
        self.check_books(before + Decimal(TOP_UP_USD))

    def show_the_margin(self) -> None:
        """The operator reads what callers paid, and what upstreams cost."""
        sums = self.operator.ask("GET", "/admin/api/ledger")
        print(f"sales {sums['sales']}, costs {sums['costs']}, margin {sums['margin']} USD")
        assert Decimal(sums["margin"]) == Decimal(sums["sales"]) - Decimal(sums["costs"])

    # ------------------------------------------------------------------------------------ the books

    def balance(self) -> Decimal:
        """Return what the user has, as the operator sees it."""
        user = self.operator.ask("GET", f"/admin/api/users/{self.user_id}")
        return Decimal(user["balance"])

    def check_books(self, expected: Decimal) -> None:
        """The balance is what it should be and the sum of all entries; the ledger adds up."""
        path = f"/admin/api/users/{self.user_id}/entries?limit=500"
        shown = self.operator.ask("GET", path)
        total = sum((Decimal(str(line["amount_usd"])) for line in shown["entries"]), Decimal(0))
        assert not shown["has_more"]
        assert total == self.balance() == expected, (total, self.balance(), expected)
        verified = self.operator.ask("GET", "/admin/api/ledger/verify")
        assert verified["is_right"], verified["findings"]
        print(f"    books: {verified['entries']} entries add up, balance {expected} USD")

    @staticmethod
    def refusal(call: Any) -> int:  # noqa: ANN401 - whatever is called
        """Return the status that a call is refused with."""
        try:
            call()
        except urllib.error.HTTPError as error:
            return error.code
        raise AssertionError("it was not refused")


if __name__ == "__main__":
    try:
        story = Story(os.environ["GROXY_URL"].rstrip("/"), os.environ["GROXY_ADMIN_KEY"])
    except KeyError as missing:
        sys.exit(f"Set {missing.args[0]} first; see the top of this file.")
    story.live()

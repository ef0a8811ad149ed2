import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import stripe

from groxy.app.alerts import SIGNATURE, TRIES, AlertRules, Alerts, alert_rules_of, signature_of
from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.grants import UserGrant
from groxy.settings import Settings
from groxy.store.alerts import AlertBook
from groxy.store.kept import KeptStore
from groxy.store.ledger import Entry, enter
from groxy.store.secrets import InstallationSecret
from groxy.store.users import create_user
from groxy.wire.http import Outgoing

USD = 10**10
URL = "http://10.0.0.1/hook"
RULES = AlertRules(url=URL, secret="whsec_ours", bound_ticks=5 * USD)
LATER_NS = 700 * 10**9


@dataclass
class Reply:
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)

    def close(self) -> None:
        pass


@dataclass
class Hook:
    """A webhook: what it was sent, and what it answers next; usually 200."""

    answers: list[int | Exception] = field(default_factory=list)
    sent: list[Outgoing] = field(default_factory=list)

    async def send(self, outgoing: Outgoing) -> Any:
        self.sent.append(outgoing)
        answer = self.answers.pop(0) if self.answers else 200
        if isinstance(answer, Exception):
            raise answer
        return Reply(answer)

    async def close(self) -> None:
        pass

    @property
    def told(self) -> list[tuple[str, str]]:
        """Who was told about, and of which balance."""
        return [
            (data["user_id"], data["balance_usd"])
            for data in (json.loads(one.body)["data"] for one in self.sent)
        ]


@dataclass
class Watch:
    """Alerts over a database, with a clock and a webhook."""

    database: Any
    hook: Hook
    rules: AlertRules = RULES
    ahead_ns: int = 0
    numbers: int = 0

    def __post_init__(self) -> None:
        self.alerts = self.process()

    def process(self) -> Alerts:
        """Return the alerts of one more process."""
        secret = InstallationSecret(b"s" * 32)
        book = AlertBook(self.database, KeptStore(self.database, secret))

        def clock_ns() -> int:
            return time.time_ns() + self.ahead_ns

        return Alerts(book, self.hook, lambda: self.rules, pause_s=0, clock_ns=clock_ns)

    async def move(self, user_id: str, usd: float) -> None:
        self.numbers += 1
        sides = ("gifts", f"user:{user_id}") if usd > 0 else (f"user:{user_id}", "sales")
        ticks = abs(int(usd * USD))
        line = Entry(f"l:{self.numbers}", 1, "adjust", *sides, ticks, user_id, "", "", "")
        async with self.database.transaction() as connection:
            await enter(connection, [line])


@pytest.fixture
async def watch(database):
    return Watch(database, Hook())


async def user_of(watch, usd, **grant):
    user = await create_user(watch.database, name="ada", grant=UserGrant(**grant))
    if usd:
        await watch.move(user.id, usd)
    return user.id


async def test_a_fall_is_told_once_and_again_only_after_a_rise(watch):
    ada = await user_of(watch, 8)
    await watch.alerts.look()
    assert watch.hook.told == []

    await watch.move(ada, -4)
    for _ in range(3):
        await watch.alerts.look()
    await watch.move(ada, -1)
    await watch.alerts.look()
    assert watch.hook.told == [(ada, "4")]

    await watch.move(ada, 10)
    await watch.alerts.look()
    await watch.move(ada, -12)
    await watch.alerts.look()
    assert watch.hook.told == [(ada, "4"), (ada, "1")]


async def test_another_process_tells_nothing_twice(watch):
    await user_of(watch, 1)

    await watch.alerts.look()
    await watch.process().look()
    await asyncio.gather(*(watch.process().look() for _ in range(5)))

    assert len(watch.hook.sent) == 1


async def test_processes_at_the_same_time_tell_it_once(watch):
    await user_of(watch, 1)

    await asyncio.gather(*(watch.process().look() for _ in range(5)))

    assert len(watch.hook.sent) == 1


async def test_the_bound_itself_is_not_below_it(watch):
    await user_of(watch, 5)
    low = await user_of(watch, 4.99)

    await watch.alerts.look()

    assert watch.hook.told == [(low, "4.99")]


async def test_a_users_own_bound_counts_before_the_general_one(watch):
    early = await user_of(watch, 50, alert_below=100 * USD)
    await user_of(watch, 1, alert_below=USD)
    debtor = await user_of(watch, -1, alert_below=0)
    watch.rules = AlertRules(url=URL, secret="s")

    await watch.alerts.look()

    assert sorted(watch.hook.told) == sorted([(early, "50"), (debtor, "-1")])


async def test_without_an_address_nobody_is_told(watch):
    await user_of(watch, 1)
    watch.rules = AlertRules(secret="s", bound_ticks=5 * USD)

    await watch.alerts.look()

    assert watch.hook.sent == []


async def test_a_message_is_signed_and_says_what_is_to_know(watch):
    ada = await user_of(watch, 1.5)

    await watch.alerts.look()

    (sent,) = watch.hook.sent
    assert (sent.method, sent.url) == ("POST", URL)
    at, _, digest = sent.headers[SIGNATURE].partition(",v1=")
    signed = f"{at.removeprefix('t=')}.".encode() + sent.body
    assert digest == hmac.new(b"whsec_ours", signed, hashlib.sha256).hexdigest()
    told = json.loads(sent.body)
    assert told["type"] == "balance.low"
    assert told["data"] == {
        "user_id": ada,
        "name": "ada",
        "balance_usd": "1.5",
        "below_usd": "5",
    }


DOWN = GroxyError(ErrorKind.UPSTREAM_DOWN, "down")


@pytest.mark.parametrize("answer", [500, 302, 404, DOWN, TimeoutError()], ids=repr)
async def test_who_does_not_listen_is_told_again_and_then_later(watch, answer):
    await user_of(watch, 1)
    watch.hook.answers = [answer] * TRIES

    await watch.alerts.look()
    await watch.alerts.look()
    assert len(watch.hook.sent) == TRIES
    assert len({one.body for one in watch.hook.sent}) == 1

    watch.ahead_ns = LATER_NS
    await watch.alerts.look()
    await watch.alerts.look()
    assert len(watch.hook.sent) == TRIES + 1


async def test_whoever_answers_the_second_time_was_told(watch):
    await user_of(watch, 1)
    watch.hook.answers = [503]

    await watch.alerts.look()
    watch.ahead_ns = LATER_NS
    await watch.alerts.look()

    assert len(watch.hook.sent) == 2


async def test_many_who_are_low_are_all_told(watch):
    low = [await user_of(watch, 1) for _ in range(30)]

    await watch.alerts.look()

    assert sorted(user for user, _ in watch.hook.told) == sorted(low)


def test_settings_say_where_and_from_which_balance_on(tmp_path):
    billing = {
        "low_balance_usd": 5,
        "low_balance_url": "https://user:pass@hook.example/a",
        "low_balance_secret": "whsec_ours",
    }
    settings = Settings.model_validate({"data_dir": tmp_path, "billing": billing})

    rules = alert_rules_of(settings)

    assert rules.url == "https://user:pass@hook.example/a"
    assert (rules.secret, rules.bound_ticks) == ("whsec_ours", 5 * USD)
    assert "pass" not in repr(rules) + repr(settings)
    assert "whsec" not in repr(rules) + repr(settings)
    assert not alert_rules_of(Settings(data_dir=tmp_path)).url


def test_the_signature_is_that_of_stripes_package():
    theirs = stripe.WebhookSignature.generate_signature_header("{}", "whsec_x", 1_790_000_000)
    assert signature_of(b"{}", "whsec_x", 1_790_000_000) == theirs

"""What a request that is paid for holds, is charged, and leaves behind, through the pipeline."""

import asyncio
import hashlib
import json

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.grants import Caps, KeyGrant, Plan, PlanGrant, Rates, UserGrant
from groxy.core.money import TICKS_PER_USD, Price, TokenPrice
from groxy.dialects.embeddings import DIALECT as EMBEDDINGS
from groxy.dialects.messages import DIALECT as MESSAGES
from groxy.policy.admission import Demand
from groxy.policy.keys import Caller
from groxy.store.ledger import SALES, Kind
from groxy.store.prices import PriceVersion
from tests.gateway.stage import DOWN, END, ROLE, Reply, Seat, Stage, chunk, whole

USER = "user:usr_1"
BILL = 777
"""What the scripted upstream bills."""


def paying(stage, ticks=TICKS_PER_USD, **caller):
    """Let the caller be a user with so many ticks."""
    stage.caller = {"user_id": "usr_1", **caller}
    stage.books.move(USER, ticks)
    return stage


def balance(stage):
    return stage.books.balances[USER][0]


async def held(stage):
    """Return what the gate holds of the balance, and what it thinks the balance is."""
    ticks, holds = await stage.gate.available(USER)
    return ticks, holds


def charges(stage):
    return [line for line in stage.books.lines if line.kind == Kind.CHARGE.value]


# ------------------------------------------------------------------------------------ what is paid


async def test_a_reply_is_charged_once_and_the_rest_of_the_hold_comes_back():
    stage = paying(Stage(Seat(Reply(script=[whole()]))))

    await stage.ask()

    (line,) = charges(stage)
    assert (line.debit, line.credit, line.ticks) == (USER, SALES, BILL)
    assert line.id == f"{stage.entry.id}.0"
    assert stage.entry.charge_ticks == BILL <= stage.entry.held_ticks
    assert balance(stage) == TICKS_PER_USD - BILL
    assert await held(stage) == (TICKS_PER_USD - BILL, 0)


async def test_a_stream_is_charged_as_a_whole_reply_is():
    stage = paying(Stage(Seat(Reply(script=[ROLE, chunk({"content": "Hi"}), *END]))))

    await stage.ask(stream=True)

    assert stage.entry.charge_ticks == BILL
    assert await held(stage) == (TICKS_PER_USD - BILL, 0)


async def test_what_every_attempt_cost_is_in_the_books_but_its_caller_pays_once():
    broken = Reply(script=[whole(choices=[])])
    stage = paying(Stage(Seat(broken), Seat(Reply(script=[whole()]))))

    await stage.ask()

    assert len(stage.books.attempts) == 2
    assert [line.ticks for line in charges(stage)] == [BILL]
    costs = {line.id for line in stage.books.lines if line.kind == Kind.COST.value}
    assert costs == {
        f"{one.request_id}.{one.number}" for one in stage.books.attempts if one.cost_ticks
    }


async def test_a_failure_costs_nothing():
    stage = paying(Stage(Seat(DOWN)))

    await stage.ask()

    assert charges(stage) == []
    assert stage.entry.user_id == "usr_1"
    assert await held(stage) == (TICKS_PER_USD, 0)


async def test_an_empty_reply_costs_its_caller_nothing_and_the_operator_what_it_cost():
    empty = whole("", usage={"prompt_tokens": 10, "completion_tokens": 0, "cost_in_usd_ticks": 50})
    stage = paying(Stage(Seat(Reply(script=[empty]))))

    await stage.ask()

    assert charges(stage) == []
    assert [line.ticks for line in stage.books.lines] == [50]
    assert await held(stage) == (TICKS_PER_USD, 0)


async def test_a_client_that_leaves_pays_for_what_was_made():
    words = [chunk({"content": f"word{number} "}) for number in range(10)]
    stage = paying(Stage(Seat(Reply(script=[ROLE, *words, 5.0, *END]))))
    asyncio.get_running_loop().call_later(0.4, stage.client.left.set)

    await stage.ask(stream=True)

    assert stage.entry.outcome == ErrorKind.CANCELLED.value
    (line,) = charges(stage)
    assert 0 < line.ticks <= stage.entry.held_ticks
    assert (await held(stage))[1] == 0


async def test_a_client_that_leaves_before_anything_came_pays_for_what_was_read():
    stage = paying(Stage(Seat(Reply(script=[60.0]))))
    asyncio.get_running_loop().call_later(0.1, stage.client.left.set)

    await stage.ask(max_tokens=10)

    (line,) = charges(stage)
    assert line.ticks == 3 * 12_500
    assert await held(stage) == (TICKS_PER_USD - line.ticks, 0)


async def test_books_that_cannot_be_written_charge_nothing():
    stage = paying(Stage(Seat(Reply(script=[whole()]))))
    stage.books.failure = GroxyError(ErrorKind.STORE_DOWN, "Away.")

    await stage.ask()

    assert stage.client.status == 503
    assert await held(stage) == (TICKS_PER_USD, 0)


async def test_while_the_database_is_away_what_is_owed_stays_held():
    stage = paying(Stage(Seat(Reply(script=[whole()]), Reply(script=[whole()]))))
    await stage.gate.fill({USER: (TICKS_PER_USD, 1)})
    stage.books.is_away = True

    await stage.ask()
    during = await held(stage)
    stage.books.is_away = False
    stage.gateway.admission.books_are_whole()
    await settled()

    assert during == (TICKS_PER_USD, BILL)
    assert await held(stage) == (TICKS_PER_USD - BILL, 0)


async def settled():
    for _ in range(5):
        await asyncio.sleep(0)


# ---------------------------------------------------------------------------------- mark-up, prices


@pytest.mark.parametrize(("markup_bp", "ticks"), [(0, 777), (1500, 894), (-5000, 389)])
async def test_a_plan_adds_to_the_bill_or_takes_from_it(markup_bp, ticks):
    plan = Plan(id="plan_1", grant=PlanGrant(markup_bp=markup_bp))
    stage = paying(Stage(Seat(Reply(script=[whole()]))), plan=plan)

    await stage.ask()

    assert stage.entry.charge_ticks == ticks
    assert stage.entry.cost_ticks == BILL


async def test_a_plan_may_charge_by_the_list_whatever_was_billed():
    plan = Plan(id="plan_1", grant=PlanGrant(basis="list"))
    stage = paying(Stage(Seat(Reply(script=[whole()]))), plan=plan)

    await stage.ask()

    (attempt,) = stage.books.attempts
    assert attempt.list_ticks == 10 * 12_500 + 5 * 25_000
    assert stage.entry.charge_ticks == attempt.list_ticks


async def test_a_bill_beyond_the_hold_takes_what_there_is_and_no_more():
    dear = whole(usage={"prompt_tokens": 10, "completion_tokens": 5, "cost_in_usd_ticks": 10**11})
    stage = paying(Stage(Seat(Reply(script=[dear]))))

    await stage.ask(max_tokens=10)

    assert stage.entry.charge_ticks == TICKS_PER_USD
    assert balance(stage) == 0
    assert stage.books.attempts[0].cost_ticks == 10**11


async def test_a_bill_beyond_the_hold_leaves_alone_what_others_hold():
    dear = whole(usage={"prompt_tokens": 10, "completion_tokens": 5, "cost_in_usd_ticks": 10**11})
    stage = paying(Stage(Seat(Reply(script=[dear]))))
    other = await stage.gateway.admission.admit(stage_caller(stage), demand(TICKS_PER_USD // 2))

    await stage.ask(max_tokens=10)
    await other.release()

    assert stage.entry.charge_ticks == TICKS_PER_USD // 2
    assert await held(stage) == (TICKS_PER_USD // 2, 0)


async def test_a_bill_beyond_the_hold_takes_the_hold_while_the_gate_is_away(monkeypatch):
    dear = whole(usage={"prompt_tokens": 10, "completion_tokens": 5, "cost_in_usd_ticks": 10**11})
    stage = paying(Stage(Seat(Reply(script=[dear]))))
    granted = stage.gate.claim

    async def once(claim):
        monkeypatch.setattr(stage.gate, "claim", down)
        return await granted(claim)

    async def down(claim):
        raise GroxyError(ErrorKind.STORE_DOWN, "Away.")

    await stage.gate.fill({USER: (TICKS_PER_USD, 1)})
    monkeypatch.setattr(stage.gate, "claim", once)
    await stage.ask(max_tokens=10)

    assert stage.client.status == 200
    assert stage.entry.charge_ticks == stage.entry.held_ticks > 0
    assert stage.books.attempts[0].cost_ticks == 10**11
    assert (await held(stage))[1] == 0


async def test_a_model_without_a_price_is_refused_to_who_has_nothing():
    stage = paying(Stage(Seat(Reply(script=[whole()]))), ticks=0)
    stage.directory.accounts[0].models = frozenset({"unheard-of"})
    stage.directory.generation += 1

    await stage.ask(model="unheard-of")

    assert stage.client.status == 402
    assert not stage.seats[0].asked


@pytest.mark.parametrize(
    ("models", "asked", "status"),
    [
        (("*:free",), "grok-4.3:free", 403),
        (("grok-4.3:free",), "grok-4.3:free", 200),
        (("grok-4.3",), "grok-4.3:free", 200),
        (("grok-4*",), "grok-4:nitro", 200),
        (("grok-3*",), "grok-4.3:nitro", 403),
    ],
)
async def test_what_is_written_behind_a_name_makes_no_other_model_of_it(models, asked, status):
    stage = paying(Stage(Seat(Reply(script=[whole()]))), grant=KeyGrant(models=models))

    await stage.ask(model=asked)

    assert stage.client.status == status


def stage_caller(stage):
    return Caller(key_id="key-2", name="other", **stage.caller)


def demand(ticks):
    return Demand(ticks=ticks)


async def test_the_price_of_the_moment_when_it_came_holds_to_its_end():
    stage = paying(Stage(Seat(Reply(script=[0.05, unbilled()]))))

    def dearer():
        stage.gateway.prices.replace(
            [
                PriceVersion(
                    id="price_2",
                    model="grok-4.3",
                    effective_ms=0,
                    price=Price(base=TokenPrice(input=10**12, cached_input=0, output=10**12)),
                    media=None,
                    note="",
                    created_ms=0,
                )
            ]
        )

    stage.seats[0].on_send = dearer

    await stage.ask()

    assert stage.entry.price_version == "catalog"
    assert stage.entry.charge_ticks == 10 * 12_500 + 5 * 25_000


def unbilled(output=5):
    return whole(usage={"prompt_tokens": 10, "completion_tokens": output})


# --------------------------------------------------------------------------------- who may not pass


async def test_without_enough_credits_nobody_is_asked():
    stage = paying(Stage(Seat(Reply(script=[whole()]))), ticks=1000)

    await stage.ask(max_tokens=1000)

    assert stage.client.status == 402
    error = stage.client.json["error"]
    assert error["code"] == "insufficient_credits"
    assert "0.0000001 USD" in error["message"]
    assert stage.seats[0].asked == []
    assert stage.entry.outcome == "insufficient_credits"
    assert await held(stage) == (1000, 0)


async def test_a_cap_of_the_key_counts_as_credits_do():
    grant = KeyGrant(caps=Caps(total=1000))
    stage = paying(Stage(Seat(Reply(script=[whole()]))), grant=grant)

    await stage.ask(max_tokens=1000)

    assert (stage.client.status, stage.client.json["error"]["code"]) == (402, "key_cap_reached")
    assert await held(stage) == (TICKS_PER_USD, 0)


async def test_what_is_spent_counts_against_the_caps_of_the_key():
    stage = Stage(Seat(Reply(script=[whole()])))
    stage.caller = {"grant": KeyGrant(caps=Caps(total=TICKS_PER_USD, day=TICKS_PER_USD))}

    await stage.ask()

    spent = {name.rpartition(":")[0]: at[0] for name, at in stage.books.balances.items()}
    assert spent == {"spend:key-1": -BILL, "spend:key-1:day": -BILL}
    assert charges(stage)[0].debit == "house"


async def test_an_overdraft_is_spent_like_credits():
    user = UserGrant(overdraft=TICKS_PER_USD)
    stage = paying(Stage(Seat(Reply(script=[whole()]))), ticks=0, user=user)

    await stage.ask(max_tokens=100)

    assert stage.client.status == 200
    assert balance(stage) == -BILL


async def test_a_limit_of_requests_is_told_with_its_headers():
    stage = Stage(Seat(Reply(script=[whole()]), Reply(script=[whole()])))
    stage.caller = {"grant": KeyGrant(rates=Rates(requests=1))}
    await stage.ask()
    first = stage.client.headers

    await stage.once_more({"model": "grok-4.3", "messages": [{"role": "user", "content": "again"}]})

    assert first["x-ratelimit-limit-requests"] == "1"
    assert first["x-ratelimit-remaining-requests"] == "0"
    assert stage.client.status == 429
    headers = stage.client.headers
    assert 55 <= int(headers["retry-after"]) <= 61
    assert headers["x-ratelimit-remaining-requests"] == "0"


async def test_tokens_are_corrected_to_what_they_were():
    used = whole(usage={"prompt_tokens": 40, "completion_tokens": 60})
    stage = Stage(Seat(Reply(script=[used]), Reply(script=[used])))
    stage.caller = {"grant": KeyGrant(rates=Rates(tokens=100))}
    await stage.ask()

    await stage.once_more({"model": "grok-4.3", "messages": [{"role": "user", "content": "again"}]})

    assert stage.client.status == 429


async def test_a_place_is_free_again_after_a_request_whatever_happened():
    stage = Stage(*(Seat(DOWN) for _ in range(1)))
    stage.caller = {"grant": KeyGrant(rates=Rates(concurrency=1))}

    statuses = []
    for _ in range(3):
        await stage.once_more(
            {"model": "grok-4.3", "messages": [{"role": "user", "content": "again"}]}
        )
        statuses.append(stage.client.status)

    assert 429 not in statuses


@pytest.mark.parametrize("model", ["grok-4.7", "grok-4.3-fast"])
async def test_a_model_that_the_key_may_not_use_is_forbidden(model):
    stage = Stage(Seat(Reply(script=[whole()])))
    stage.caller = {"grant": KeyGrant(models=("grok-4.3",))}

    await stage.ask(model=model)

    assert (stage.client.status, stage.client.json["error"]["param"]) == (403, "model")


async def test_a_fallback_that_the_key_may_not_use_is_forbidden():
    stage = Stage(Seat(Reply(script=[whole()])))
    stage.caller = {"grant": KeyGrant(models=("grok-4.3",))}

    await stage.ask(models=["grok-4.7"])

    assert stage.client.status == 403


# -------------------------------------------------------------------------------------- max_cost


async def test_a_max_cost_below_the_prompt_is_refused():
    stage = Stage(Seat(Reply(script=[whole()])))

    await stage.ask(max_cost=0.0000001)

    assert (stage.client.status, stage.client.json["error"]["param"]) == (400, "max_cost")


async def test_a_max_cost_bounds_a_whole_reply():
    stage = Stage(Seat(Reply(script=[whole()])))

    await stage.ask(max_cost="0.01")

    sent = json.loads(stage.seats[0].asked[0].body)
    assert "max_cost" not in sent
    assert 0 < sent["max_completion_tokens"] < 4_000
    assert "output limited" in stage.client.headers["x-groxy-adjusted"]


async def test_a_max_cost_that_is_enough_changes_nothing():
    stage = Stage(Seat(Reply(script=[whole()])))

    await stage.ask(max_cost=5, max_tokens=100)

    assert json.loads(stage.seats[0].asked[0].body)["max_tokens"] == 100
    assert "x-groxy-adjusted" not in stage.client.headers


async def test_a_stream_ends_before_it_passes_its_max_cost():
    words = [chunk({"content": f"word{number} "}) for number in range(5_000)]
    stage = Stage(Seat(Reply(script=[ROLE, *words, *END])))

    await stage.ask(stream=True, max_cost="0.005")

    text = stage.client.body.decode()
    assert '"finish_reason":"length"' in text
    assert text.endswith("data: [DONE]\n\n")
    assert ": ended here" in text
    assert stage.entry.is_cut
    assert stage.entry.finish_reason == "length"
    assert stage.books.attempts[0].cost_ticks <= TICKS_PER_USD // 200


async def test_a_stream_ends_before_thoughts_that_are_not_shown_pass_its_max_cost():
    kind = "response.reasoning_summary_text.delta"
    events = [{"type": "response.created", "response": {"id": "r1", "model": "grok-4.3"}}]
    events += [{"type": kind, "delta": f"word{number} "} for number in range(5_000)]
    script = [f"data: {json.dumps(one)}\n\n".encode() for one in events]
    stage = Stage(Seat(Reply(script=script)))
    asked = {"model": "grok-4.3", "max_tokens": 9_000, "stream": True, "max_cost": "0.005"}
    body = asked | {"messages": [{"role": "user", "content": "one two three"}]}

    await stage.once_more(body, dialect=MESSAGES)

    assert b"word1" not in stage.client.body
    assert stage.entry.is_cut
    assert stage.books.attempts[0].cost_ticks <= TICKS_PER_USD // 200


async def test_a_paid_stream_ends_when_the_credits_do():
    words = [chunk({"content": f"word{number} "}) for number in range(5_000)]
    stage = paying(Stage(Seat(Reply(script=[ROLE, *words, *END]))), ticks=TICKS_PER_USD // 200)

    await stage.ask(stream=True)

    assert stage.entry.is_cut
    assert 0 < stage.entry.charge_ticks <= TICKS_PER_USD // 200
    assert balance(stage) == TICKS_PER_USD // 200 - stage.entry.charge_ticks >= 0


async def test_a_paid_stream_goes_on_beyond_its_hold_while_there_are_credits():
    words = [chunk({"content": f"word{number} "}) for number in range(3_000)]
    stage = paying(Stage(Seat(Reply(script=[ROLE, *words, *END]))))
    limits = stage.gateway.limits
    stage.gateway.limits = limits.__class__(
        deadlines=limits.deadlines,
        streams_by_default=False,
        logs_requests=False,
        default_output_tokens=500,
    )

    await stage.ask(stream=True)

    assert not stage.entry.is_cut
    assert stage.entry.finish_reason == "stop"
    assert (await held(stage))[1] == 0


# ---------------------------------------------------------------------------------- other dialects


async def test_embeddings_have_no_output_and_are_charged():
    reply = json.dumps(
        {
            "object": "list",
            "data": [{"object": "embedding", "index": 0, "embedding": [0.1]}],
            "model": "v1",
            "usage": {"prompt_tokens": 10, "total_tokens": 10, "cost_in_usd_ticks": 33},
        }
    ).encode()
    stage = paying(Stage(Seat(Reply(script=[reply]))))

    await stage.send(json.dumps({"model": "v1", "input": "a"}).encode(), dialect=EMBEDDINGS)

    assert stage.client.status == 200
    assert [line.ticks for line in charges(stage)] == [33]


async def test_hashes_of_what_came_and_went_are_in_the_books():
    stage = Stage(Seat(Reply(script=[whole()])))
    body = json.dumps({"model": "grok-4.3", "messages": [{"role": "user", "content": "a"}]})

    await stage.send(body.encode())

    assert stage.entry.request_sha256 == hashlib.sha256(body.encode()).digest()
    assert stage.entry.reply_sha256 == hashlib.sha256(stage.client.body).digest()


@pytest.mark.parametrize("end", ['"}]}', ""], ids=["that is served", "that is refused"])
async def test_the_hash_of_a_large_body_is_in_the_books_too(end):
    stage = Stage(Seat(Reply(script=[whole()])))
    body = b'{"model": "grok-4.3", "messages": [{"role": "user", "content": "'
    body += b"a" * 1_000_000 + end.encode()

    await stage.send(body)

    assert stage.client.status == (200 if end else 400)
    assert stage.entry.request_sha256 == hashlib.sha256(body).digest()

import pytest

from groxy.admin.routes import WORDS
from groxy.core.errors import ErrorKind
from groxy.core.terms import Terms
from groxy.routing.account import Status
from tests.admin.window import CALLER_KEY, opened
from tests.routing.fleet import BASIC, HEAVY, SUPER, account


@pytest.fixture
async def window(tmp_path):
    disabled = account("acc_disabled")
    disabled.stand(Status.DISABLED, "operator_disabled", 0.0)
    fleet = [
        account("acc_good", pool=HEAVY),
        account("acc_basic", pool=BASIC),
        account("acc_resting", pool=HEAVY),
        account("acc_closed", pool=SUPER, terms=Terms(models=("grok-3*",))),
        disabled,
    ]
    async with opened(tmp_path, *fleet) as it:
        directory = it.desk.directory
        directory.rest(fleet[2], directory.now() + 60, ErrorKind.UPSTREAM_QUOTA)
        yield it


def reasons(told):
    return {one["name"]: [reason["code"] for reason in one["why_not"]] for one in told["accounts"]}


async def test_a_dry_run_says_who_would_be_asked_and_why_not_the_others(window):
    told = (await window.get("/route", "model=super-plain")).json

    assert (told["served"], told["refusal"], told["order"]) == (True, "", ["acc_good"])
    assert told["accounts"][0]["name"] == "acc_good"
    assert (told["accounts"][0]["can"], told["accounts"][0]["place"]) == (True, 1)
    assert told["accounts"][0]["model_sent"] == "grok-4.3"
    found = reasons(told)
    assert found["acc_good"] == []
    assert found["acc_basic"] == ["wrong_pool"]
    assert found["acc_resting"] == ["cooling"]
    assert found["acc_closed"] == ["not_allowed"]
    assert found["acc_disabled"] == ["disabled"]
    assert (told["total"], told["able"]) == (5, 1)
    assert told["against"] == {"wrong_pool": 1, "cooling": 1, "not_allowed": 1, "disabled": 1}


async def test_a_reason_is_told_in_words_and_with_its_end(window):
    told = (await window.get("/route", "model=super-plain")).json

    (resting,) = [one for one in told["accounts"] if one["name"] == "acc_resting"]
    assert resting["why_not"] == [{"code": "cooling", "words": WORDS["cooling"]}]
    now_ms = window.desk.directory.now() * 1000
    assert now_ms < resting["until"] <= now_ms + 60_000


async def test_a_dry_run_changes_nothing(window):
    before = [(one.in_flight, one.rest_until) for one in window.desk.directory.accounts]

    await window.get("/route", "model=super-plain")

    assert [(one.in_flight, one.rest_until) for one in window.desk.directory.accounts] == before
    assert await window.audit() == []


async def test_a_model_that_nobody_has_is_told_with_what_the_caller_would_read(window):
    told = (await window.get("/route", "model=gpt-nothing")).json

    assert (told["served"], told["order"]) == (False, [])
    assert "gpt-nothing" in told["refusal"]


async def test_wishes_of_the_caller_count(window):
    told = (await window.get("/route", "model=super-plain&ignore=acc_good")).json

    assert told["served"] is False
    assert reasons(told)["acc_good"] == ["excluded_by_caller"]


async def test_a_dialect_that_does_not_fit_the_model_is_told(window):
    told = (await window.get("/route", "model=super-plain&dialect=embeddings")).json

    assert told["served"] is False
    assert "wrong_capability" in reasons(told)["acc_good"]


async def test_only_as_many_accounts_are_shown_as_asked_for_the_telling_ones_first(window):
    told = (await window.get("/route", "model=super-plain&limit=1")).json

    assert [one["name"] for one in told["accounts"]] == ["acc_good"]
    assert told["total"] == 5


async def test_the_key_is_named_and_never_echoed(window):
    answer = await window.get("/route", f"model=super-plain&key={CALLER_KEY}")
    wrong = await window.get("/route", "model=super-plain&key=sk-wrong-wrong-wrong")

    assert answer.json["key"] == {"id": "key_of_a_caller", "name": "key_of_a_caller"}
    assert CALLER_KEY.encode() not in answer.body
    assert (wrong.status, wrong.error["code"]) == (400, "key_not_found")
    assert b"sk-wrong" not in wrong.body


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("", "model"),
        ("model=", "model"),
        ("model=a&dialect=soap", "dialect"),
        ("model=a&tools=perhaps", "tools"),
        ("model=a&limit=0", "limit"),
        ("model=a&sort=name", "sort"),
    ],
)
async def test_a_question_that_cannot_be_is_refused(window, query, param):
    answer = await window.get("/route", query)

    assert (answer.status, answer.error["param"]) == (400, param)


@pytest.mark.parametrize(
    "query",
    [
        "stream=true&tools=true",
        "order=xai&only=xai&sort=price&allow_fallbacks=false&require_parameters=true",
        "max_prompt_usd=100.5&max_completion_usd=100",
        "fallbacks=grok-4.3, heavy-plain",
    ],
)
async def test_everything_that_routing_looks_at_can_be_said(window, query):
    told = (await window.get("/route", f"model=super-plain&{query}")).json

    assert told["order"][0] == "acc_good"


def test_every_word_of_a_verdict_has_words():
    assert all(words and not words.endswith(".") for words in WORDS.values())

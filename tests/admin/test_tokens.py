import asyncio

import pytest

from groxy.admin.token_shapes import MAX_TOKENS
from groxy.core.errors import ErrorKind
from groxy.core.quota import QuotaSource, QuotaWindow
from groxy.core.terms import Terms
from groxy.routing.account import Status
from groxy.state._base import Load
from groxy.store.standings import Tally, add_tallies
from tests.admin.office import REJECTED, key_of

# ---------------------------------------------------------------------------------------- listing


async def test_accounts_are_listed_masked_with_all_that_the_contract_has(office):
    terms = Terms(tags=("fast",), weight=3, rpm=60, quotas={"fast": "400/2h"})
    (account,) = await office.add(
        "first", pool="super", terms=terms, proxy_url="http://me:secret@proxy.test:8080"
    )

    answer = await office.get("/tokens")

    assert answer.status == 200
    (token,) = answer.json["tokens"]
    assert token["token"] == "xai-key-...89abcdef"
    assert token["id"] == account.id
    assert (token["pool"], token["status"], token["cooling"]) == ("super", "active", None)
    assert token["tags"] == ["fast"]
    assert (token["weight"], token["rpm"], token["quotas"]) == (3, 60, {"fast": "400/2h"})
    assert token["proxy"] == "proxy.test:8080"
    unknown = {
        "remaining": None,
        "total": None,
        "window_seconds": None,
        "reset_at": None,
        "synced_at": None,
        "source": "default",
    }
    assert token["quota"] == dict.fromkeys(("auto", "fast", "expert", "heavy", "console"), unknown)
    assert (token["use_count"], token["fail_count"], token["last_used_at"]) == (0, 0, None)
    assert key_of("first").encode() not in answer.body
    assert b"secret" not in answer.body


async def test_quota_tells_what_is_left_until_when_and_who_says_so(office):
    (account,) = await office.add("first")
    now = office.desk.directory.now()
    account.windows["fast"] = QuotaWindow(
        remaining=3,
        total=30,
        window_s=7200,
        reset_at=now + 100,
        synced_at=now,
        source=QuotaSource.REAL,
    )
    account.windows["credits"] = QuotaWindow(
        remaining=0, total=9, window_s=0, reset_at=now - 1, source=QuotaSource.ESTIMATED
    )

    quota = (await office.get("/tokens")).json["tokens"][0]["quota"]

    assert quota["fast"] == {
        "remaining": 3,
        "total": 30,
        "window_seconds": 7200,
        "reset_at": int((now + 100) * 1000),
        "synced_at": int(now * 1000),
        "source": "real",
    }
    # Its time is over, so it is full again.
    assert (quota["credits"]["remaining"], quota["credits"]["reset_at"]) == (9, None)


async def test_counts_are_those_of_the_store_and_those_of_this_process(office):
    (account,) = await office.add("first")
    await add_tallies(
        office.desk.database,
        [Tally(account_id=account.id, uses=5, failures=1, tokens=70, last_used_ms=1000)],
    )
    account.tally.uses, account.tally.last_used = 2, 5.0
    account.in_flight, account.elsewhere = 1, Load(in_flight=2, minute=0, requests=0, tokens=0)

    token = (await office.get(f"/tokens/{account.id}")).json

    assert (token["use_count"], token["fail_count"], token["token_count"]) == (7, 1, 70)
    assert (token["last_used_at"], token["in_flight"]) == (5000, 3)


async def test_pages_are_numbered(office):
    await office.add(*[f"a{number}" for number in range(5)])

    pages = [(await office.get("/tokens", f"page={page}&page_size=2")).json for page in (1, 2, 3)]

    ids = [token["id"] for page in pages for token in page["tokens"]]
    assert ids == sorted(one.id for one in office.desk.directory.accounts)
    first, _, last = (page["pagination"] for page in pages)
    assert (first["page"], first["page_size"], first["total"], first["total_pages"]) == (1, 2, 5, 3)
    assert (first["has_more"], last["has_more"], last["next"]) == (True, False, None)
    assert first["revision"] == office.desk.revision() > 0


async def test_following_next_meets_each_account_once_though_others_come_and_go(office):
    accounts = await office.add(*[f"a{number}" for number in range(6)])
    order = sorted(one.id for one in accounts)
    first = (await office.get("/tokens", "page_size=2")).json

    office.desk.directory.change([], [order[0]])
    second = (await office.get("/tokens", f"page_size=2&after={first['pagination']['next']}")).json

    assert [token["id"] for token in second["tokens"]] == order[2:4]
    assert second["pagination"]["has_more"]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("pool=basic", ["cheap"]),
        ("status=disabled", ["off"]),
        ("status=active", ["cheap", "other", "tagged"]),
        ("upstream=openrouter", ["other"]),
        ("tag=fast", ["tagged"]),
        ("origin=store", ["cheap", "off", "other", "tagged"]),
        ("origin=settings", []),
        ("q=TAGG", ["tagged"]),
        ("q=sk-or-v", ["other"]),
        ("pool=basic&tag=fast", []),
    ],
)
async def test_filters_leave_those_that_are_like_that(office, query, names):
    await office.add("cheap", pool="basic")
    await office.add("tagged", terms=Terms(tags=("fast",)))
    await office.add("other", upstream="openrouter", api_key="sk-or-v1-" + "0" * 32)
    await office.desk.overseer.disable(await office.add("off"))

    answer = (await office.get("/tokens", query)).json

    assert sorted(token["name"] for token in answer["tokens"]) == names
    assert answer["pagination"]["total"] == len(names)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("page=0", "invalid_page"),
        ("page=x", "invalid_page"),
        ("page_size=0", "invalid_page_size"),
        ("page_size=1001", "invalid_page_size"),
        ("pool=sup", "invalid_pool"),
        ("pool=", "invalid_pool"),
        ("status=well", "invalid_status"),
        ("page=2&after=acc_1", "invalid_page"),
    ],
)
async def test_what_can_be_no_page_is_refused_by_name(office, query, code):
    answer = await office.get("/tokens", query)

    assert (answer.status, answer.error["code"]) == (400, code)
    assert answer.error["param"] == code.removeprefix("invalid_")


async def test_a_model_that_rests_shows_without_the_account_being_called_cooling(office):
    (account,) = await office.add("first")
    now = office.desk.directory.now()
    office.desk.directory.rest(account, now + 60, ErrorKind.UPSTREAM_LIMITED, "grok-4.3")

    token = (await office.get(f"/tokens/{account.id}")).json

    assert token["status"] == "active"
    (rest,) = token["cooling"]["models"]
    assert rest["model"] == "grok-4.3"
    assert rest["reason"] == ErrorKind.UPSTREAM_LIMITED.value
    assert rest["until"] == int((now + 60) * 1000)


async def test_listing_among_very_many_accounts_lets_others_have_their_turn(office):
    for number in range(9_000):
        office.declare(f"a{number:05}")
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    answer = await office.get("/tokens", "tag=none")
    task.cancel()

    assert answer.json["pagination"]["total"] == 0
    assert turns >= 4


# -------------------------------------------------------------------------------------------- one


@pytest.mark.parametrize("by", ["id", "name", "credential", "pasted"])
async def test_an_account_is_meant_by_id_name_or_credential(office, by):
    (account,) = await office.add("first")
    named = {
        "id": account.id,
        "name": "first",
        "credential": key_of("first"),
        "pasted": f" sso={key_of('first')}\n".replace("-", "–"),
    }[by]

    answer = await office.post("/tokens/disabled", {"token": named, "disabled": True})

    assert (answer.status, answer.json["id"]) == (200, account.id)


async def test_an_account_that_is_not_there_is_not_found(office):
    answer = await office.get("/tokens/acc_none")

    assert (answer.status, answer.error["code"]) == (404, "account_not_found")


async def test_a_credential_shows_only_when_that_is_confirmed_and_is_written_down(office):
    (account,) = await office.add("first")

    refused = await office.post(f"/tokens/{account.id}/reveal", {})
    shown = await office.post(f"/tokens/{account.id}/reveal", {"confirm": True})

    assert (refused.status, refused.error["code"]) == (400, "confirmation_required")
    assert shown.json == {"id": account.id, "token": key_of("first")}
    (line,) = await office.audited("account.reveal")
    assert line.target == account.id
    assert key_of("first") not in str(line)


# ------------------------------------------------------------------------------------------ orders


async def test_an_account_is_taken_out_of_service_and_put_back(office):
    (account,) = await office.add("first")

    off = await office.post("/tokens/disabled", {"token": account.id, "disabled": True})
    token = (await office.get(f"/tokens/{account.id}")).json
    on = await office.post("/tokens/disabled", {"token": account.id, "disabled": False})

    assert off.json == {
        "status": "success",
        "id": account.id,
        "token": account.hint,
        "disabled": True,
    }
    assert (token["status"], token["reason"]) == ("disabled", "operator_disabled")
    assert token["since"] > 0
    assert on.json["disabled"] is False
    assert account.status(office.desk.directory.now()) is Status.ACTIVE
    assert [line.action for line in await office.audited()] == ["account.enable", "account.disable"]


async def test_accounts_that_settings_declare_are_disabled_as_well(office):
    account = office.declare("declared")

    answer = await office.post("/tokens/disabled", {"token": "declared", "disabled": True})

    assert answer.status == 200
    assert account.standing is Status.DISABLED


async def test_several_are_disabled_and_the_summary_tells_of_those_not_there(office):
    one, two = await office.add("one", "two")

    answer = await office.post(
        "/tokens/disabled/batch", {"tokens": [one.id, "two", "three"], "disabled": True}
    )

    assert answer.json["summary"] == {"total": 3, "ok": 2, "fail": 1}
    assert {one.standing, two.standing} == {Status.DISABLED}


async def test_a_batch_of_which_none_is_there_is_not_found(office):
    answer = await office.post("/tokens/disabled/batch", {"tokens": ["x"], "disabled": True})

    assert (answer.status, answer.error["code"]) == (404, "account_not_found")


@pytest.mark.parametrize(
    ("tokens", "code"),
    [
        ([f"t{number}" for number in range(MAX_TOKENS + 1)], "too_many_tokens"),
        (["k" * 4097], "token_too_long"),
    ],
)
async def test_bounds_of_a_batch(office, tokens, code):
    answer = await office.post("/tokens/disabled/batch", {"tokens": tokens, "disabled": True})

    assert (answer.status, answer.error["code"], answer.error["param"]) == (400, code, "tokens")


async def test_the_same_account_named_often_counts_once(office):
    await office.add("one")
    tokens = ["one"] * (MAX_TOKENS + 1)

    answer = await office.post("/tokens/disabled/batch", {"tokens": tokens, "disabled": True})

    assert answer.json["summary"] == {"total": 1, "ok": 1, "fail": 0}


async def test_an_account_rests_as_long_as_the_operator_says_and_no_longer_when_cleared(office):
    (account,) = await office.add("first")
    now = office.desk.directory.now()

    cooled = await office.post(f"/tokens/{account.id}/cool", {"seconds": 600})
    cleared = await office.post(f"/tokens/{account.id}/clear", {})

    assert cooled.json["status"] == "cooling"
    assert (now + 599) * 1000 <= cooled.json["cooling"]["until"] <= (now + 660) * 1000
    assert (cleared.json["status"], cleared.json["cooling"]) == ("active", None)
    assert [line.action for line in await office.audited()] == ["account.clear", "account.cool"]


async def test_one_model_rests_and_is_cleared_by_itself(office):
    (account,) = await office.add("first")
    for model in ("grok-4.3", "grok-3"):
        await office.post(f"/tokens/{account.id}/cool", {"seconds": 600, "model": model})

    cleared = await office.post(f"/tokens/{account.id}/clear", {"model": "grok-3"})

    assert [rest["model"] for rest in cleared.json["cooling"]["models"]] == ["grok-4.3"]


@pytest.mark.parametrize("seconds", [0, -1, "NaN", 1e9, None])
async def test_a_rest_has_an_end(office, seconds):
    (account,) = await office.add("first")

    answer = await office.post(f"/tokens/{account.id}/cool", {"seconds": seconds})

    assert (answer.status, answer.error["param"]) == (400, "seconds")


async def test_a_disabled_account_does_not_come_back_by_way_of_a_rest(office):
    (account,) = await office.add("first")
    await office.desk.overseer.disable([account])

    answers = [
        await office.post(f"/tokens/{account.id}/{what}", body)
        for what, body in (("cool", {"seconds": 1}), ("clear", {}))
    ]

    assert [(one.status, one.error["code"]) for one in answers] == [(409, "not_in_service")] * 2
    assert account.is_resting(office.desk.directory.now() + 10)


async def test_a_test_tells_whether_the_credential_works_and_changes_nothing(office):
    good, bad = await office.add("good", "bad")
    office.world.script[key_of("bad"), "GET", "/api-key"] = REJECTED

    answers = [(await office.post(f"/tokens/{one.id}/test")).json for one in (good, bad)]

    assert (answers[0]["ok"], answers[0]["error"]) == (True, "")
    assert not answers[1]["ok"]
    assert answers[1]["error"].startswith("upstream_auth_failed")
    assert bad.standing is Status.ACTIVE
    assert not bad.transport.is_closed

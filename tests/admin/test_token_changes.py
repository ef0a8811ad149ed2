import asyncio

import pytest

from groxy.core.errors import ErrorKind
from groxy.core.terms import Terms
from groxy.routing.account import Status
from groxy.store.accounts import AccountChange, change_accounts, list_accounts
from groxy.store.standings import StandingChange, Tally, add_tallies, tallies_of, write_standings
from tests.admin.office import key_of

OR_KEY = "sk-or-v1-" + "0" * 40


async def stored(office):
    return {one.name: one for one in await list_accounts(office.desk.database, office.desk.secret)}


# ----------------------------------------------------------------------------------------- adding


async def test_credentials_are_added_to_the_upstream_that_they_begin_like(office):
    answer = await office.post(
        "/tokens/add",
        {
            "tokens": [key_of("one"), {"token": OR_KEY, "name": "second", "weight": 4}],
            "tags": ["t"],
        },
    )

    assert answer.status == 200
    assert (answer.json["status"], answer.json["count"], answer.json["skipped"]) == (
        "success",
        2,
        0,
    )
    first, second = (office.desk.directory.get(one) for one in answer.json["ids"])
    assert (first.upstream.name, second.upstream.name) == ("xai", "openrouter")
    assert first.terms == Terms(tags=("t",))
    assert second.terms == Terms(tags=("t",), weight=4)
    assert second.name == "second"
    assert (await office.audited("account.add"))[0].after["accounts"] == answer.json["ids"]


@pytest.mark.parametrize(
    ("given", "pool"),
    [({}, "heavy"), ({"pool": "auto"}, "heavy"), ({"pool": "basic"}, "basic")],
)
async def test_an_account_may_serve_every_model_unless_its_pool_is_named(office, given, pool):
    await office.post("/tokens/add", {"tokens": [{"token": key_of("one"), "name": "one"}], **given})

    assert office.account("one").pool.value == pool


@pytest.mark.parametrize(
    "pasted",
    [
        f"sso={key_of('one')}",
        f"  {key_of('one')}\r\n",
        key_of("one").replace("-", "—"),
        key_of("one").replace("-key", "\u200b-k\u00a0ey\ufeff"),
    ],
)
async def test_what_an_editor_did_to_a_credential_is_undone(office, pasted):
    await office.post("/tokens/add", {"tokens": [pasted]})

    (account,) = office.desk.directory.accounts
    assert account.credentials.api_key == key_of("one")


async def test_those_that_are_there_already_are_skipped_and_told(office):
    (one,) = await office.add("one")
    declared = office.declare("declared")

    answer = await office.post(
        "/tokens/add",
        {"tokens": [key_of("one"), "", key_of("two"), key_of("declared"), key_of("two")]},
    )

    assert (answer.json["count"], answer.json["skipped"]) == (1, 4)
    (new,) = answer.json["ids"]
    told = [(twin["index"], twin["id"]) for twin in answer.json["duplicates"]]
    assert told == [(0, one.id), (3, declared.id), (4, new)]


async def test_an_account_that_was_deleted_comes_back(office):
    (one,) = await office.add("one")
    await office.ask("DELETE", "/tokens", [one.id])

    answer = await office.post("/tokens/add", {"tokens": [key_of("one")]})

    assert (answer.json["count"], answer.json["ids"]) == (1, [one.id])


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({"tokens": []}, "no_tokens", "tokens"),
        ({"tokens": [" ", ""]}, "no_tokens", "tokens"),
        ({"tokens": ["gsk-whose"]}, "unknown_upstream", "tokens.0.upstream"),
        ({"tokens": ["k"], "upstream": "nobody"}, "invalid_value", "tokens.0.upstream"),
        ({"tokens": [7]}, "invalid_value", "tokens.0"),
        ({"tokens": [{"tokn": "k"}]}, "invalid_value", "tokens.0.tokn"),
        ({"tokens": [{"token": "xai-1", "pool": "sup"}]}, "invalid_pool", "tokens.0.pool"),
        ({"tokens": [{"token": "xai-1", "weight": 0}]}, "invalid_value", "tokens.0.weight"),
        ({"tokens": [{"token": "xai-1", "quotas": {"fast": "x"}}]}, None, "tokens.0.quotas.fast"),
        ({"tokens": ["xai-abcd...12345678"]}, "invalid_value", "tokens.0.token"),
        ({"tokens": ["xai-" + "1" * 4096]}, "token_too_long", "tokens"),
        ({"tokens": [f"xai-{n}" for n in range(1001)]}, "too_many_tokens", "tokens"),
        ({"tokens": [{"token": f"xai-{n}"} for n in range(1001)]}, "too_many_tokens", "tokens"),
        ({"tokens": ["xai-1"], "pool": "sup"}, "invalid_pool", "pool"),
        ({"tokens": ["xai-1"], "tags": ["t"] * 11}, "too_many_tags", "tags"),
        ({"tokens": ["xai-1"], "tags": ["t" * 65]}, "tag_too_long", "tags"),
        ({"tokens": ["xai-1"], "tags": [""]}, "invalid_value", "tags"),
        ({"tokens": "xai-1"}, "invalid_value", "tokens"),
        ({"tokens": ["xai-1"], "pol": "heavy"}, "invalid_value", "pol"),
        ({"tokens": [""] * 3 + [{"token": ""}], "upstream": "xai"}, None, "tokens.3"),
    ],
)
async def test_what_can_be_no_account_is_refused_by_field_and_nothing_is_added(
    office, body, code, param
):
    answer = await office.post("/tokens/add", body)

    assert answer.status == 400
    assert answer.error["param"] == param
    assert code in (None, answer.error["code"])
    assert office.names == []
    assert await office.audited() == []


async def test_no_error_repeats_a_credential(office):
    key = "gsk-" + "5" * 60
    answer = await office.post("/tokens/add", {"tokens": [{"token": key, "upstream": "nobody"}]})

    assert answer.status == 400
    assert key not in answer.body.decode()


async def test_a_field_that_is_nearly_right_is_named(office):
    answer = await office.post("/tokens/add", {"tokens": [{"token": "xai-1", "weigth": 2}]})

    assert "weight" in answer.error["message"]


@pytest.mark.parametrize("is_declared", [True, False])
async def test_a_name_that_is_taken_is_a_conflict_and_nothing_is_added(office, is_declared):
    if is_declared:
        office.declare("first")
    else:
        await office.add("first")

    answer = await office.post(
        "/tokens/add", {"tokens": [key_of("a"), {"token": key_of("b"), "name": "first"}]}
    )

    assert (answer.status, answer.error["code"]) == (409, "account_name_taken")
    assert answer.error["param"] == "tokens.1.name"
    assert office.names == ["first"]


async def test_a_new_account_is_noticed_by_the_refresher(office):
    await office.post("/tokens/add", {"tokens": [key_of("one")]})

    (account,) = office.desk.directory.accounts
    assert account.checked_at == 0.0


# ---------------------------------------------------------------------------------------- editing


async def test_what_an_edit_leaves_out_stays_as_it_is(office):
    (one,) = await office.add("one", pool="super", terms=Terms(tags=("t",), weight=5))
    await office.desk.overseer.disable([one])

    answer = await office.ask("PUT", "/tokens/edit", {"old_token": "one", "weight": 6})

    now = office.account("one")
    assert answer.json == {"status": "success", "id": one.id, "token": one.hint, "pool": "super"}
    assert now.terms == Terms(tags=("t",), weight=6)
    assert now.standing is Status.DISABLED


async def test_the_same_credential_with_a_pool_only_moves_the_account(office):
    (one,) = await office.add("one")
    await office.desk.overseer.disable([one])

    await office.ask(
        "PUT",
        "/tokens/edit",
        {"old_token": key_of("one"), "token": key_of("one"), "pool": "basic"},
    )

    now = office.account("one")
    assert (now.pool.value, now.standing) == ("basic", Status.DISABLED)


async def test_a_new_credential_keeps_the_account_and_gives_it_a_new_chance(office):
    (one,) = await office.add("one", terms=Terms(tags=("t",)))
    await add_tallies(office.desk.database, [Tally(account_id=one.id, uses=7)])
    await write_standings(
        office.desk.database, [StandingChange(account_id=one.id, checked_ms=5000, note="old")]
    )
    await office.desk.overseer.expire([one])

    answer = await office.ask(
        "PUT", "/tokens/edit", {"old_token": one.id, "token": key_of("fresh")}
    )

    now = office.account("one")
    assert (answer.status, answer.json["id"]) == (200, one.id)
    assert now.credentials.api_key == key_of("fresh")
    assert (now.standing, now.checked_at, now.note) == (Status.ACTIVE, 0.0, "")
    assert not now.is_resting(office.desk.directory.now())
    assert now.terms.tags == ("t",)
    assert (await tallies_of(office.desk.database, [one.id]))[one.id].uses == 7
    (line,) = await office.audited("account.change")
    assert line.before == {"token": one.hint}
    assert line.after == {"token": now.hint}


async def test_an_account_that_the_operator_disabled_stays_so_with_a_new_credential(office):
    (one,) = await office.add("one")
    await office.desk.overseer.disable([one])

    await office.ask("PUT", "/tokens/edit", {"old_token": one.id, "token": key_of("fresh")})

    assert office.account("one").standing is Status.DISABLED


@pytest.mark.parametrize("is_declared", [True, False])
async def test_the_credential_of_another_account_is_a_conflict(office, is_declared):
    await office.add("one")
    if is_declared:
        office.declare("two")
    else:
        await office.add("two")

    answer = await office.ask("PUT", "/tokens/edit", {"old_token": "one", "token": key_of("two")})

    assert (answer.status, answer.error["code"]) == (409, "token_conflict")
    assert office.account("one").credentials.api_key == key_of("one")


async def test_an_edit_of_what_is_not_there_is_not_found(office):
    answer = await office.ask("PUT", "/tokens/edit", {"old_token": "nobody", "pool": "basic"})

    assert (answer.status, answer.error["code"]) == (404, "account_not_found")
    assert answer.error["param"] == "old_token"


@pytest.mark.parametrize("origin", ["settings", "environment", "built in"])
async def test_what_is_declared_elsewhere_is_neither_changed_nor_deleted(office, origin):
    account = office.declare("declared", origin)

    answers = [
        await office.ask("PUT", "/tokens/edit", {"old_token": "declared", "pool": "basic"}),
        await office.ask("PATCH", f"/tokens/{account.id}", {"weight": 2}),
        await office.ask("DELETE", "/tokens", ["declared"]),
    ]

    assert [(one.status, one.error["code"]) for one in answers] == [
        (409, "declared_in_settings")
    ] * 3
    assert origin in answers[0].error["message"]
    assert office.names == ["declared"]


async def test_a_patch_changes_terms_name_pool_and_place(office):
    (one,) = await office.add(
        "one", upstream="openai_compatible", base_url="http://127.0.0.1:9/v1", api_key="k" * 30
    )

    answer = await office.ask(
        "PATCH",
        f"/tokens/{one.id}",
        {
            "name": "two",
            "pool": "basic",
            "base_url": "http://127.0.0.1:8/v1",
            "proxy_url": "socks5://me:hush@127.0.0.1:1080",
            "options": {"dialects": "chat"},
            "tags": ["a"],
            "models": ["grok-*"],
            "max_in_flight": 3,
        },
    )

    token = answer.json
    assert (token["name"], token["pool"], token["base_url"]) == (
        "two",
        "basic",
        "http://127.0.0.1:8/v1",
    )
    assert (token["proxy"], token["tags"], token["models"]) == ("127.0.0.1:1080", ["a"], ["grok-*"])
    assert token["max_in_flight"] == 3
    assert dict(office.account("two").credentials.options) == {"dialects": "chat"}
    (line,) = await office.audited("account.change")
    assert "hush" not in str(line)
    assert line.before["name"] == "one"


async def test_null_takes_a_term_back_to_the_usual(office):
    (one,) = await office.add("one", terms=Terms(tags=("t",), weight=5), proxy_url="http://p:1")

    await office.ask(
        "PATCH", f"/tokens/{one.id}", {"weight": None, "proxy_url": None, "options": {"x": None}}
    )

    now = office.account("one")
    assert (now.terms, now.proxy_url) == (Terms(tags=("t",)), "")


async def test_a_change_that_changes_nothing_is_not_written_down(office):
    (one,) = await office.add("one")
    before = office.desk.revision()

    answer = await office.ask("PATCH", f"/tokens/{one.id}", {"weight": 1, "name": "one"})

    assert answer.status == 200
    assert office.desk.revision() == before
    assert await office.audited() == []


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"name": ""}, "name"),
        ({"name": None}, "name"),
        ({"weight": 1001}, "weight"),
        ({"wait": 1}, "wait"),
        ({"models": ["a*b"]}, "models"),
        ({"token": "xai-2"}, "token"),
        ({"weight": True}, "weight"),
        ({"models": ["a\0b"]}, "models"),
        ({"models": ["m" * 257]}, "models"),
        ({"models": ["m"] * 257}, "models"),
        ({"quotas": {"fa\0st": "1/1h"}}, "quotas"),
        ({"quotas": {f"m{number}": "1/1h" for number in range(33)}}, "quotas"),
        ({"options": {"any": "two\r\nlines"}}, "options.any"),
    ],
)
async def test_a_patch_that_cannot_be_is_refused_by_field(office, body, param):
    (one,) = await office.add("one")

    answer = await office.ask("PATCH", f"/tokens/{one.id}", body)

    assert (answer.status, answer.error["param"]) == (400, param)


async def test_changes_at_the_same_time_do_not_undo_each_other(office):
    (one,) = await office.add("one")

    answers = await asyncio.gather(
        office.ask("PATCH", f"/tokens/{one.id}", {"weight": 7}),
        office.ask("PATCH", f"/tokens/{one.id}", {"rpm": 60}),
        office.post("/batch/nsfw", {"tokens": [one.id]}),
        office.ask("PUT", "/tokens/edit", {"old_token": one.id, "priority": 2}),
    )

    assert [answer.status for answer in answers] == [200] * 4
    wanted = Terms(weight=7, rpm=60, priority=2, tags=("nsfw",))
    assert (await stored(office))["one"].terms == wanted
    assert office.account("one").terms == wanted


async def test_a_change_keeps_what_another_process_changed_a_moment_ago(office):
    (one,) = await office.add("one")
    change = AccountChange(account_id=one.id, terms=Terms(weight=7))
    await change_accounts(office.desk.database, office.desk.secret, [change])

    await office.ask("PATCH", f"/tokens/{one.id}", {"rpm": 60})

    assert (await stored(office))["one"].terms == Terms(weight=7, rpm=60)


async def test_a_name_of_another_account_is_a_conflict(office):
    one, _ = await office.add("one", "two")

    answer = await office.ask("PATCH", f"/tokens/{one.id}", {"name": "two"})

    assert (answer.status, answer.error["code"]) == (409, "account_name_taken")


# --------------------------------------------------------------------------------------- deleting


async def test_accounts_are_deleted_by_whatever_they_are_called(office):
    one, *_ = await office.add("one", "two", "three", "four")

    answer = await office.ask(
        "DELETE", "/tokens", [one.id, "two", key_of("three"), "nobody", "two"]
    )

    assert answer.json == {"status": "success", "deleted": 3, "missing": 1}
    assert office.names == ["four"]
    assert set(await stored(office)) == {"four"}
    (line,) = await office.audited("account.delete")
    assert one.id in line.before["accounts"]
    assert key_of("one") not in str(line)


@pytest.mark.parametrize("body", [[], [" "], b""])
async def test_nothing_to_delete_is_refused(office, body):
    assert (await office.ask("DELETE", "/tokens", body)).status == 400


async def test_one_of_settings_among_those_to_delete_deletes_none(office):
    await office.add("one")
    office.declare("declared")

    answer = await office.ask("DELETE", "/tokens", ["one", "declared"])

    assert answer.status == 409
    assert office.names == ["declared", "one"]


async def test_the_invalid_ones_are_those_that_expired(office):
    gone, off, resting = await office.add(
        "gone",
        "off",
        "resting",
    )
    await office.desk.overseer.expire([gone, office.declare("declared")])
    await office.desk.overseer.disable([off])
    office.desk.overseer.cool(resting, for_s=100, reason=ErrorKind.UPSTREAM_LIMITED)

    answer = await office.ask("DELETE", "/tokens/invalid")

    assert answer.json["deleted"] == 1
    assert office.names == ["declared", "off", "resting"]

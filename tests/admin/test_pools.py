import asyncio

import pytest

from groxy.core.terms import Terms
from groxy.store.standings import Tally, add_tallies
from tests.admin.office import key_of


def pools(office):
    found: dict[str, set[str]] = {}
    for one in office.desk.directory.accounts:
        found.setdefault(one.pool.value, set()).add(one.name)
    return found


@pytest.mark.parametrize("path", ["/pool", "/tokens/pool"])
async def test_a_pool_is_replaced_and_who_stays_keeps_its_id(office, path):
    stays, _ = await office.add("stays", "goes", pool="basic", terms=Terms(tags=("old",)))
    await office.add("elsewhere", pool="heavy")

    answer = await office.ask(
        "PUT",
        path,
        {"pool": "basic", "tokens": [key_of("stays"), {"token": key_of("new"), "name": "new"}]},
    )

    assert answer.json == {
        "status": "success",
        "pool": "basic",
        "count": 2,
        "added": 1,
        "changed": 0,
        "removed": 1,
    }
    assert pools(office) == {"basic": {"stays", "new"}, "heavy": {"elsewhere"}}
    assert office.account("stays").id == stays.id
    assert office.account("stays").terms.tags == ("old",)


async def test_tags_of_the_request_go_to_those_without_tags_of_their_own(office):
    await office.add("one", "two", pool="basic", terms=Terms(tags=("old",), weight=3))

    await office.ask(
        "PUT",
        "/pool",
        {
            "pool": "basic",
            "tags": ["new"],
            "tokens": ["one", {"token": "two", "tags": ["own"]}, key_of("three")],
        },
    )

    tags = {one.id: one.terms.tags for one in office.desk.directory.accounts}
    assert tags[office.account("one").id] == ("new",)
    assert tags[office.account("two").id] == ("own",)
    assert sorted(tags.values()) == [("new",), ("new",), ("own",)]
    assert office.account("one").terms.weight == 3


async def test_several_pools_are_replaced_and_others_are_left_alone(office):
    await office.add("a", "b", pool="basic")
    await office.add("c", pool="super")
    await office.add("d", pool="heavy")

    answer = await office.post("/tokens", {"basic": ["c"], "super": ["a"]})

    assert (answer.status, answer.json["count"], answer.json["removed"]) == (200, 2, 1)
    assert pools(office) == {"basic": {"c"}, "super": {"a"}, "heavy": {"d"}}


async def test_an_empty_list_empties_its_pool(office):
    await office.add("a", pool="basic")
    await office.add("b", pool="super")

    answer = await office.post("/tokens", {"basic": []})

    assert (answer.status, answer.json["removed"]) == (200, 1)
    assert office.names == ["b"]


async def test_accounts_of_settings_stay_in_their_pool_whatever_is_asked(office):
    office.declare("declared", pool="basic")

    answer = await office.post("/tokens", {"basic": [key_of("new")]})

    assert answer.status == 200
    assert "declared" in office.names


async def test_an_account_of_settings_cannot_be_moved(office):
    office.declare("declared", pool="basic")
    await office.add("goes", pool="super")

    answer = await office.post("/tokens", {"super": ["declared"]})

    assert (answer.status, answer.error["code"]) == (409, "declared_in_settings")
    assert office.names == ["declared", "goes"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"sup": ["xai-1"]}, "invalid_pool"),
        ({}, "invalid_value"),
        ({"basic": ["xai-1"], "heavy": ["xai-1"]}, "invalid_pool_payload"),
        ({"basic": ["one"], "heavy": ["one"]}, "invalid_pool_payload"),
        ({"basic": "xai-1"}, "invalid_value"),
        ({"basic": ["gsk-1"]}, "unknown_upstream"),
        (
            {
                "basic": [f"xai-{n}" for n in range(600)],
                "heavy": [f"xai-{n}" for n in range(600, 1201)],
            },
            "too_many_tokens",
        ),
        ({"basic": [f"xai-{n}" for n in range(1001)]}, "too_many_tokens"),
        ({"basic": [{"token": "one", "tags": ["t"] * 11}]}, "too_many_tags"),
    ],
)
async def test_what_cannot_be_meant_changes_nothing(office, body, code):
    await office.add("one", pool="basic")

    answer = await office.post("/tokens", body)

    assert (answer.status, answer.error["code"]) == (400, code)
    assert pools(office) == {"basic": {"one"}}
    assert await office.audited() == []


async def test_a_pool_that_there_is_not_is_refused_by_name(office):
    answer = await office.ask("PUT", "/pool", {"pool": "sup", "tokens": ["xai-1"]})

    assert (answer.status, answer.error["code"], answer.error["param"]) == (
        400,
        "invalid_pool",
        "pool",
    )


async def test_what_was_done_is_written_down(office):
    (goes,) = await office.add("goes", pool="basic")

    await office.post("/tokens", {"basic": [key_of("new")]})

    lines = {line.action: line for line in await office.audited()}
    assert set(lines) == {"account.delete", "pool.replace"}
    assert lines["pool.replace"].after["removed"] == 1
    assert lines["account.delete"].target == goes.id


async def test_an_account_moved_by_its_credential_keeps_its_counts(office):
    (one,) = await office.add("one", pool="super")
    await add_tallies(office.desk.database, [Tally(account_id=one.id, uses=3)])

    await office.post("/tokens", {"basic": [key_of("one")]})

    token = (await office.get(f"/tokens/{one.id}")).json
    assert (token["pool"], token["use_count"]) == ("basic", 3)


async def test_of_two_replacements_at_once_the_second_one_counts_whole(office):
    await office.add("old", pool="basic")
    wanted = [{"token": key_of(name), "name": name} for name in ("a", "b", "c", "d")]

    answers = await asyncio.gather(
        office.ask("PUT", "/pool", {"pool": "basic", "tokens": wanted[:2]}),
        office.ask("PUT", "/pool", {"pool": "basic", "tokens": wanted[2:]}),
    )

    assert [answer.status for answer in answers] == [200, 200]
    removed = [answer.json["removed"] for answer in answers]
    assert sorted(removed) == [1, 2]
    assert pools(office) == {"basic": {"c", "d"} if removed == [1, 2] else {"a", "b"}}

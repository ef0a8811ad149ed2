import re
import time

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.store.audit import AuditEntry, list_audit, write_audit


def entry(**changes):
    given = {
        "actor": "key_1",
        "action": "account.edit",
        "target": "acc_1",
        "before": {"tags": ["a"], "weight": 1},
        "after": {"tags": [], "weight": 2},
        "request_id": "req_1",
    }
    return AuditEntry(**given | changes)


async def targets(database, **options):
    return [line.target for line in await list_audit(database, **options)]


async def test_an_entry_comes_back_with_its_id_and_time(database):
    earliest_ms = time.time_ns() // 1_000_000
    await write_audit(database, [entry()])

    (line,) = await list_audit(database)

    assert re.fullmatch(r"aud_[0-9a-f]{26}", line.id)
    assert earliest_ms <= line.at_ms <= time.time_ns() // 1_000_000
    assert (line.actor, line.action, line.target) == ("key_1", "account.edit", "acc_1")
    assert (line.before, line.after) == (entry().before, entry().after)
    assert line.request_id == "req_1"


@pytest.mark.parametrize("value", [None, {}, [], "text", 5, {"größe": [None, True, 1.5]}])
async def test_before_and_after_are_any_json(database, value):
    await write_audit(database, [entry(before=value, after=value)])

    (line,) = await list_audit(database)

    assert (line.before, line.after) == (value, value)


async def test_lines_are_listed_newest_first(database):
    for part in ("abc", "def"):
        await write_audit(database, [entry(target=name) for name in part])

    assert await targets(database) == list("fedcba")


async def test_pages_go_on_where_the_last_one_ended(database):
    await write_audit(database, [entry(target=name) for name in "abcde"])

    first = await list_audit(database, limit=2)
    second = await list_audit(database, limit=2, before=first[-1].id)
    third = await list_audit(database, limit=2, before=second[-1].id)

    assert [line.target for line in [*first, *second, *third]] == list("edcba")


async def test_lines_are_found_by_action_and_by_target(database):
    await write_audit(
        database,
        [entry(target="a"), entry(target="b", action="account.add"), entry(target="b")],
    )

    assert await targets(database, action="account.add") == ["b"]
    assert await targets(database, target="b") == ["b", "b"]
    assert await targets(database, target="a", action="account.add") == []


@pytest.mark.parametrize("text", ["a\0", "\ud83d", "' OR '1'='1"])
@pytest.mark.parametrize("name", ["action", "target"])
async def test_what_nobody_did_is_not_found(database, name, text):
    await write_audit(database, [entry()])

    assert await list_audit(database, **{name: text}) == []


async def test_a_list_has_at_least_one_and_at_most_500_lines(database):
    await write_audit(database, [entry() for _ in range(501)])

    assert len(await list_audit(database, limit=0)) == 1
    assert len(await list_audit(database, limit=10_000)) == 500


async def test_texts_that_no_column_takes_are_cut_or_left_out(database):
    await write_audit(
        database,
        [entry(action="a" * 100, actor="k\0\ud83d", request_id="r" * 100, target="t" * 20_000)],
    )

    (line,) = await list_audit(database)

    assert (line.action, line.actor, line.request_id) == ("a" * 64, "k?", "r" * 40)
    assert line.target == "t" * 10_000


async def test_an_entry_is_undone_with_the_change_that_it_is_about(database):
    async def fail():
        async with database.transaction() as connection:
            await write_audit(connection, [entry()])
            raise GroxyError(ErrorKind.CONFLICT, "no")

    with pytest.raises(GroxyError):
        await fail()

    assert await list_audit(database) == []


async def test_writing_nothing_is_no_error(database):
    await write_audit(database, [])

    assert await list_audit(database) == []

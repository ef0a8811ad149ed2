import asyncio

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.store.audit import AuditEntry, list_audit
from groxy.store.credits import give_credits
from groxy.store.ledger import Entry, balances_of
from groxy.store.users import create_user
from groxy.store.verification import verify

AUDIT = AuditEntry(actor="somebody", action="credits.give", target="usr")


def line(user_id, name="grant:1", ticks=100, debit="gifts"):
    return Entry(name, 1, "grant", debit, f"user:{user_id}", ticks, user_id, "", "", "why")


async def test_a_line_and_its_audit_are_entered_together(database):
    user = await create_user(database, name="ada")

    moved = await give_credits(database, line(user.id), [AUDIT])

    assert moved == {f"user:{user.id}": (100, 1)}
    assert [act.action for act in await list_audit(database)] == ["credits.give"]


async def test_the_same_line_is_entered_once_and_audited_once(database):
    user = await create_user(database, name="ada")

    done = await asyncio.gather(
        *(give_credits(database, line(user.id), [AUDIT]) for _ in range(10)),
        return_exceptions=True,
    )

    refused = [error for error in done if isinstance(error, GroxyError)]
    assert len(refused) == 9
    assert {(one.kind, one.code) for one in refused} == {(ErrorKind.CONFLICT, "already_entered")}
    assert len(await list_audit(database)) == 1
    assert (await balances_of(database, [f"user:{user.id}"]))[f"user:{user.id}"] == (100, 1)


async def test_grants_at_the_same_time_all_count(database):
    user = await create_user(database, name="ada")

    await asyncio.gather(
        *(give_credits(database, line(user.id, f"grant:{number}")) for number in range(30))
    )

    assert (await balances_of(database, [f"user:{user.id}"]))[f"user:{user.id}"] == (3000, 30)
    assert (await verify(database)).findings == ()


@pytest.mark.parametrize("name", ["usr_no", "", "\0"])
async def test_nobody_gets_nothing(database, name):
    with pytest.raises(GroxyError) as caught:
        await give_credits(database, line(name), [AUDIT])

    assert caught.value.code == "user_not_found"
    assert await list_audit(database) == []

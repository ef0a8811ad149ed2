import asyncio
import re
import time
from dataclasses import replace

import pytest
import sqlalchemy as sa

from groxy.core.errors import ErrorKind, GroxyError
from groxy.store import tables
from groxy.store.audit import AuditEntry, list_audit
from groxy.store.codes import (
    CodeState,
    create_codes,
    list_codes,
    new_batch_id,
    redeem_code,
    revoke_batch,
    revoke_code,
)
from groxy.store.ledger import balances_of
from groxy.store.secrets import InstallationSecret
from groxy.store.verification import verify
from tests.store.races import run_at_once

SECRET = InstallationSecret(b"s" * 32)
SHAPE = re.compile(r"GROX(-[0-9A-HJKMNP-TV-Z]{4}){4}")
USD = 10**10
AUDIT = AuditEntry(actor="somebody", action="code.create", target="batch")


async def made(database, count=1, ticks=5 * USD, batch="", **more):
    return await create_codes(
        database, SECRET, batch=batch or new_batch_id(), count=count, ticks=ticks, **more
    )


async def one(database, **more):
    ((text, code),) = await made(database, **more)
    return text, code


async def redeemed(database, text, user="usr_1", **more):
    return await redeem_code(database, SECRET, text, user_id=user, **more)


async def error_of(call):
    with pytest.raises(GroxyError) as caught:
        await call
    return caught.value


async def balance_of(database, user="usr_1"):
    return (await balances_of(database, [f"user:{user}"]))[f"user:{user}"][0]


async def test_codes_are_long_unambiguous_and_all_different(database):
    codes = await made(database, count=1000)

    assert all(SHAPE.fullmatch(text) for text, _ in codes)
    assert len({text for text, _ in codes}) == 1000
    assert len({code.id for _, code in codes}) == 1000


async def test_a_code_is_not_in_the_database(database):
    text, code = await one(database, note="for a friend")

    async with database.transaction() as connection:
        (row,) = (await connection.execute(sa.select(tables.codes))).all()
    parts = text.removeprefix("GROX-").split("-")
    assert "".join(parts).encode() not in repr(tuple(row)).encode()
    assert code.hint == parts[-1]
    assert (code.note, code.redeemed_by) == ("for a friend", "")


async def test_redeeming_moves_the_balance_once(database):
    text, code = await one(database)

    done = await redeemed(database, text, key_id="key_1")

    assert (done.code_id, done.ticks, done.balance_ticks) == (code.id, 5 * USD, 5 * USD)
    assert done.balances == {"user:usr_1": (5 * USD, 1)}
    error = await error_of(redeemed(database, text))
    assert (error.kind, error.code) == (ErrorKind.CONFLICT, "code_already_redeemed")
    assert await balance_of(database) == 5 * USD
    async with database.transaction() as connection:
        (entry,) = (await connection.execute(sa.select(tables.entries))).all()
    assert (entry.id, entry.kind, entry.debit) == (f"code:{code.id}", "redeem", "codes")
    assert (entry.credit, entry.key_id) == ("user:usr_1", "key_1")
    assert text not in entry.note


@pytest.mark.parametrize(
    "typed",
    [
        lambda text: text.lower(),
        lambda text: text.replace("-", " "),
        lambda text: text.removeprefix("GROX-"),
        lambda text: f"  {text}\n",
        lambda text: text.replace("-", "\u2013"),
        lambda text: text.replace("0", "O").replace("1", "l"),
        lambda text: text.replace("-", ""),
    ],
)
async def test_a_code_is_taken_as_people_type_it(database, typed):
    text, _ = await one(database)

    assert (await redeemed(database, typed(text))).ticks == 5 * USD


@pytest.mark.parametrize(
    "text",
    [
        "",
        "GROX",
        "GROX-0000-0000-0000-0000",
        "x" * 64,
        "\0" * 16,
        "GROX-ŁŁŁŁ-0000-0000-0000",
        "U" * 16,
    ],
)
async def test_what_is_no_code_is_not_valid(database, text):
    error = await error_of(redeemed(database, text))

    assert (error.kind, error.code, error.param) == (ErrorKind.BAD_REQUEST, "code_invalid", "code")


async def test_nobody_learns_why_a_code_of_others_does_not_work(database):
    past = time.time_ns() // 1_000_000 - 1
    expired, _ = await one(database, expires_ms=past)
    revoked, code = await one(database)
    await revoke_code(database, code.id)
    used, _ = await one(database)
    await redeemed(database, used, "usr_2")

    errors = [await error_of(redeemed(database, text)) for text in (expired, revoked, used, "GROX")]

    assert {(error.kind, error.code, error.message) for error in errors} == {
        (ErrorKind.BAD_REQUEST, "code_invalid", errors[0].message)
    }
    assert await balance_of(database) == 0


async def test_of_200_tries_at_once_one_succeeds(database):
    text, _ = await one(database)

    done = await asyncio.gather(
        *(redeemed(database, text, f"usr_{number}") for number in range(200)),
        return_exceptions=True,
    )

    won = [number for number, result in enumerate(done) if not isinstance(result, Exception)]
    assert len(won) == 1
    lost = [result for result in done if isinstance(result, GroxyError)]
    assert len(lost) == 199
    assert {error.code for error in lost} == {"code_invalid"}
    assert await balance_of(database, f"usr_{won[0]}") == 5 * USD
    assert (await verify(database)).findings == ()


RACE = """
import asyncio, sys
from pathlib import Path
from groxy.core.errors import GroxyError
from groxy.store.codes import redeem_code
from groxy.store.database import Database
from groxy.store.secrets import InstallationSecret

async def main():
    url, folder, text, user = sys.argv[1:]
    database = await Database.open(url, Path(folder))
    secret = InstallationSecret(b"s" * 32)
    ready()
    async def one(number):
        try:
            await redeem_code(database, secret, text, user_id="usr_1")
            return 1
        except GroxyError as error:
            assert error.code in ("code_already_redeemed", "code_invalid"), error.code
            return 0
    print(sum(await asyncio.gather(*(one(number) for number in range(50)))))
    await database.close()

asyncio.run(main())
"""


async def test_of_two_processes_one_redeems(database, store_url, tmp_path):
    text, _ = await one(database)

    arguments = [store_url, str(tmp_path), text, "usr_1"]
    said = await asyncio.to_thread(run_at_once, RACE, arguments, processes=2)

    assert sorted(out.strip() for out, _ in said) == ["0", "1"], said
    assert await balance_of(database) == 5 * USD


async def test_a_revoked_code_stays_revoked_and_a_redeemed_one_redeemed(database):
    text, code = await one(database)
    await revoke_code(database, code.id, [AUDIT])
    await revoke_code(database, code.id)
    (listed,) = await list_codes(database)
    assert listed.state(listed.created_ms) is CodeState.REVOKED
    assert len(await list_audit(database)) == 1

    text, code = await one(database)
    await redeemed(database, text)
    assert (await error_of(revoke_code(database, code.id))).code == "code_redeemed"
    for name in ("code_no", "\0"):
        assert (await error_of(revoke_code(database, name))).code == "code_not_found"


async def test_a_batch_is_revoked_but_for_what_was_redeemed(database):
    batch = new_batch_id()
    codes = await made(database, count=3, batch=batch)
    await redeemed(database, codes[0][0])

    assert await revoke_batch(database, batch) == 2
    assert await revoke_batch(database, batch) == 0
    for name in ("batch_no", "\0"):
        assert (await error_of(revoke_batch(database, name))).code == "batch_not_found"
    states = [code.state(code.created_ms) for code in await list_codes(database, batch=batch)]
    assert states.count(CodeState.REVOKED) == 2
    assert states.count(CodeState.REDEEMED) == 1


async def test_codes_are_listed_newest_first_page_by_page(database):
    first = await made(database, count=3, audit=[AUDIT])
    await asyncio.sleep(0.002)
    second = await made(database, count=2)

    pages, before = [], ""
    while page := await list_codes(database, before=before, limit=2):
        pages += page
        before = page[-1].id

    ids = [code.id for _, code in first] + [code.id for _, code in second]
    assert [code.id for code in pages] == sorted(ids, reverse=True)
    assert len(await list_codes(database, batch=second[0][1].batch)) == 2
    assert await list_codes(database, batch="\0") == []
    assert len(await list_audit(database)) == 1


async def test_a_code_says_what_became_of_it(database):
    _, code = await one(database)

    def state(now_ms, **changes):
        return replace(code, **changes).state(now_ms)

    assert state(5) is CodeState.OPEN
    assert state(4, expires_ms=5) is CodeState.OPEN
    assert state(5, expires_ms=5) is CodeState.EXPIRED
    assert state(5, revoked_ms=1, expires_ms=2) is CodeState.REVOKED
    assert state(5, redeemed_ms=1, expires_ms=2) is CodeState.REDEEMED

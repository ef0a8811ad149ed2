import asyncio
import os
import signal
import subprocess
import sys
import time

import pytest
import sqlalchemy as sa

from groxy.core.errors import ErrorKind, GroxyError
from groxy.store import resealing, tables
from groxy.store.database import Database
from groxy.store.jobs import Job, JobStore
from groxy.store.kept import Kept, KeptStore
from groxy.store.resealing import forget_unused, key_uses, rotate
from groxy.store.sealing_keys import KEYS_FILE
from groxy.store.secrets import InstallationSecret

SQLITE = "sqlite+aiosqlite:///groxy.db"
NOW_MS = time.time_ns() // 1_000_000
ALL = {"accounts": 3, "kept": 70, "overrides": 2, "jobs": 4}
NONE = dict.fromkeys(ALL, 0)


@pytest.fixture(autouse=True)
def _no_long_waits(monkeypatch):
    monkeypatch.setattr(resealing, "_BETWEEN_PASSES_S", 0.01)


@pytest.fixture
def secret(tmp_path):
    return InstallationSecret.of(tmp_path)


def keys_of(secret):
    return secret.sealing_keys


def thing(name, content=b"what was said"):
    return Kept(
        id=name,
        kind="reply",
        owner="key_1",
        parent=None,
        account_id="acc_1",
        state="done",
        created_ms=NOW_MS,
        expires_ms=NOW_MS + 86_400_000,
        content=content,
    )


def account_row(secret, name):
    return {
        "id": name,
        "name": name,
        "upstream": "xai",
        "pool": "heavy",
        "base_url": "",
        "sealed": secret.seal(f"credential of {name}".encode(), owner=name),
        "created_ms": NOW_MS,
    }


def override_row(secret, name):
    sealed = secret.seal(b"true", owner=name)
    return {"name": name, "sealed": sealed, "changed_ms": NOW_MS}


async def insert(database, table, *rows):
    async with database.transaction() as connection:
        await connection.execute(sa.insert(table), list(rows))


async def fill(database, secret):
    """Store, sealed with the newest key, as much as `ALL` says."""
    store = KeptStore(database, secret)
    names = [f"acc_{number}" for number in range(3)]
    await insert(database, tables.accounts, *(account_row(secret, name) for name in names))
    kept = [store.row(thing(f"resp_{number}"))._asdict() for number in range(70)]
    await insert(database, tables.kept, *kept)
    names = ["admin.docs", "attempts.backoff_s"]
    await insert(database, tables.overrides, *(override_row(secret, name) for name in names))
    jobs = JobStore(database, secret)
    for number in range(4):
        await jobs.create(a_job(number), b"what was ordered")


def a_job(number):
    return Job(
        id=f"video_{number}",
        kind="video",
        owner="key_1",
        status="queued",
        created_ms=NOW_MS,
        updated_ms=NOW_MS,
        expires_ms=NOW_MS + 1_000_000_000,
    )


async def blobs(database, table=tables.kept):
    async with database.transaction() as connection:
        rows = await connection.execute(sa.select(*table.primary_key, table.c.sealed))
        return {name: bytes(sealed) for name, sealed in rows}


async def assert_all_opens(database, secret):
    """Read everything as the rest of Groxy does."""
    for name, sealed in (await blobs(database, tables.accounts)).items():
        assert secret.open(sealed, owner=name) == f"credential of {name}".encode()
    for name, sealed in (await blobs(database, tables.overrides)).items():
        assert secret.open(sealed, owner=name) == b"true"
    jobs = JobStore(database, secret)
    for number in range(4):
        assert await jobs.request(a_job(number)) == b"what was ordered"
    names = [f"resp_{number}" for number in range(70)]
    found = await KeptStore(database, secret).many(names, "key_1", "reply")
    assert {one.content for one in found.values()} == {b"what was said"}
    assert len(found) == 70


async def rows_by_key(database, secret):
    return {uses.key: uses.rows for uses in await key_uses(database, secret)}


async def damage(database, *names):
    """Change one byte of what these kept rows hold."""
    for name in names:
        sealed = bytearray((await blobs(database))[name])
        sealed[-1] ^= 1
        update = sa.update(tables.kept).where(tables.kept.c.id == name)
        async with database.transaction() as connection:
            await connection.execute(update.values(sealed=bytes(sealed)))


# ---------------------------------------------------------------------------------- one rotation


async def test_everything_is_sealed_anew_and_opens(database, secret, tmp_path):
    await fill(database, secret)
    before = await blobs(database)

    rotation = await rotate(database, secret, settle_s=0)

    assert rotation.resealed == ALL
    assert rotation.unreadable == []
    assert rotation.left == 0
    assert not rotation.is_resumed
    after = await blobs(database)
    assert {sealed[:5] for sealed in after.values()} == {b"\x02" + bytes.fromhex(rotation.key)}
    assert before.keys() == after.keys()
    assert await rows_by_key(database, secret) == {"": NONE, rotation.key: ALL}
    await assert_all_opens(database, InstallationSecret.of(tmp_path))


async def test_every_rotation_makes_another_key(database, secret, tmp_path):
    await fill(database, secret)

    keys = [(await rotate(database, secret, settle_s=0)).key for _ in range(3)]

    assert len(set(keys)) == 3
    assert [key_id.hex() for key_id in secret.sealing_keys.ids] == keys
    assert await rows_by_key(database, secret) == {
        "": NONE,
        keys[0]: NONE,
        keys[1]: NONE,
        keys[2]: ALL,
    }
    await assert_all_opens(database, InstallationSecret.of(tmp_path))


async def test_with_nothing_stored_there_is_a_new_key_all_the_same(database, secret):
    rotation = await rotate(database, secret, settle_s=0)

    assert rotation.resealed == NONE
    assert secret.seal(b"", owner="")[1:5].hex() == rotation.key


async def test_progress_is_told_up_to_the_end(database, secret):
    await fill(database, secret)
    told = []

    await rotate(database, secret, report=lambda *numbers: told.append(numbers), settle_s=0)

    assert told[0] == (0, 79)
    assert told[-1] == (79, 79)
    assert told == sorted(told)
    assert len(told) >= 5, "in chunks"


async def test_rows_of_many_windows_are_all_found(database, secret, monkeypatch):
    monkeypatch.setattr(resealing, "_WINDOW_ROWS", 7)
    monkeypatch.setattr(resealing, "_CHUNK_ROWS", 3)
    await fill(database, secret)

    assert (await rotate(database, secret, settle_s=0)).resealed == ALL
    await assert_all_opens(database, secret)


async def test_a_secret_without_a_folder_cannot_be_rotated(database):
    with pytest.raises(ValueError, match="data folder"):
        await rotate(database, InstallationSecret(b"s" * 32))


# -------------------------------------------------------------------------------- what goes wrong


async def test_rows_that_do_not_open_are_named_and_left_and_keep_their_key(database, secret):
    await fill(database, secret)
    old = (await rotate(database, secret, settle_s=0)).key
    await damage(database, "resp_5", "resp_69")
    damaged = await blobs(database)

    rotation = await rotate(database, secret, settle_s=0)

    assert sorted(rotation.unreadable) == ["kept resp_5", "kept resp_69"]
    assert rotation.resealed == {**ALL, "kept": 68}
    assert (await blobs(database))["resp_5"] == damaged["resp_5"]
    assert not secret.sealing_keys.is_unfinished
    assert await forget_unused(database, secret, settle_s=0) == []
    assert (await rows_by_key(database, secret))[old] == {**NONE, "kept": 2}


async def test_a_wrong_secret_changes_nothing(database, secret, tmp_path):
    await fill(database, secret)
    before = await blobs(database)

    with pytest.raises(GroxyError) as caught:
        await rotate(database, InstallationSecret.of(tmp_path, b"o" * 32), settle_s=0)

    assert caught.value.kind is ErrorKind.STORE_DOWN
    assert "app.secret_key" in caught.value.message
    assert await blobs(database) == before
    assert not (tmp_path / KEYS_FILE).exists()


async def test_rows_of_a_key_that_was_lost_are_counted_apart(database, secret, tmp_path):
    await fill(database, secret)
    lost = (await rotate(database, secret, settle_s=0)).key
    (tmp_path / KEYS_FILE).unlink()

    uses = await key_uses(database, InstallationSecret.of(tmp_path))

    assert [(one.key, one.is_known, one.rows) for one in uses] == [
        ("", True, NONE),
        (lost, False, ALL),
    ]


async def test_two_rotations_at_once_are_one_too_many(database, secret, tmp_path):
    other = keys_of(InstallationSecret.of(tmp_path))
    with other.changing(), pytest.raises(GroxyError) as caught:
        await rotate(database, secret, settle_s=0)

    assert caught.value.kind is ErrorKind.CONFLICT


# --------------------------------------------------------------------------------- broken off


class BrokenOffError(Exception):
    pass


def broken_after(rows):
    def report(done, _total):
        if done >= rows:
            raise BrokenOffError

    return report


@pytest.mark.parametrize("rows", [0, 3, 40])
async def test_a_rotation_that_was_broken_off_goes_on_with_its_key(
    database, secret, tmp_path, rows
):
    await fill(database, secret)
    with pytest.raises(BrokenOffError):
        await rotate(database, secret, report=broken_after(rows), settle_s=0)
    (key_id,) = secret.sealing_keys.ids
    again = InstallationSecret.of(tmp_path)
    await assert_all_opens(database, again)

    rotation = await rotate(database, again, settle_s=0)

    assert rotation.is_resumed
    assert rotation.key == key_id.hex()
    assert sum(rotation.resealed.values()) <= 79 - rows
    assert await rows_by_key(database, again) == {"": NONE, rotation.key: ALL}
    assert not (await rotate(database, again, settle_s=0)).is_resumed


_ROTATES = """
import asyncio, sys
from pathlib import Path
from groxy.store import resealing
from groxy.store.database import Database
from groxy.store.secrets import InstallationSecret

resealing._CHUNK_ROWS = 2

def report(done, total):
    print(done, flush=True)

async def main(url, folder):
    database = await Database.open(url, folder)
    await resealing.rotate(database, InstallationSecret.of(folder), report=report)

asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
"""


@pytest.mark.parametrize("lines", [1, 3, 9])
async def test_a_rotation_that_was_killed_loses_nothing(
    database, store_url, secret, tmp_path, lines
):
    await fill(database, secret)
    command = [sys.executable, "-c", _ROTATES, store_url, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(lines):
            assert process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)

    await assert_all_opens(database, InstallationSecret.of(tmp_path))
    rotation = await rotate(database, secret, settle_s=0)
    assert rotation.is_resumed
    assert await rows_by_key(database, secret) == {"": NONE, rotation.key: ALL}
    await assert_all_opens(database, InstallationSecret.of(tmp_path))


# ------------------------------------------------------------------------- gateways that serve


async def test_what_a_gateway_seals_with_the_old_key_meanwhile_is_sealed_anew_too(
    database, secret, tmp_path
):
    await fill(database, secret)
    gateway = KeptStore(database, InstallationSecret.of(tmp_path))
    is_sure = []

    async def write():
        # Until it looks at the file again, a second after its start, it uses the old key.
        for number in range(15):
            row = gateway.row(thing(f"new_{number}"))
            is_sure.append(row.sealed[:1] == b"\x01")
            await insert(database, tables.kept, row._asdict())
            await asyncio.sleep(0.1)

    rotation, _ = await asyncio.gather(rotate(database, secret, settle_s=2.0), write())

    assert is_sure[0], "the old key was used"
    assert not is_sure[-1], "and then the new one"
    assert await rows_by_key(database, secret) == {"": NONE, rotation.key: {**ALL, "kept": 85}}
    assert rotation.left == 0
    assert (
        len(await gateway.many([f"new_{number}" for number in range(15)], "key_1", "reply")) == 15
    )


async def test_a_gateway_reads_on_while_a_rotation_runs(database, secret, tmp_path):
    await fill(database, secret)
    gateway = InstallationSecret.of(tmp_path)
    rotating = asyncio.ensure_future(rotate(database, secret, settle_s=0.2))

    reads = 0
    while not rotating.done():
        await assert_all_opens(database, gateway)
        reads += 1

    assert (await rotating).resealed == ALL
    assert reads > 1


async def test_a_row_that_was_written_meanwhile_stays_as_it_was_written(
    database, secret, monkeypatch
):
    await fill(database, secret)
    store = KeptStore(database, secret)
    newer = store.row(thing("resp_7", b"what was said later"))
    exchange = resealing._exchange

    async def late(connection, sealed, changes):
        # As if somebody had written the row after it was read.
        stale = {"row_old": newer.sealed}
        changes = [one | (stale if one["row_id"] == "resp_7" else {}) for one in changes]
        return await exchange(connection, sealed, changes)

    monkeypatch.setattr(resealing, "_exchange", late)
    before = (await blobs(database))["resp_7"]
    rotation = await rotate(database, secret, settle_s=0)

    assert (await blobs(database))["resp_7"] == before
    assert rotation.left == 1
    monkeypatch.undo()
    assert (await rotate(database, secret, settle_s=0)).is_resumed


@pytest.mark.postgres
async def test_a_row_that_a_transaction_holds_is_left_and_not_waited_for(
    postgres, tmp_path, secret
):
    database = await Database.open(postgres.empty_database(), tmp_path)
    await fill(database, secret)
    held = sa.select(tables.accounts).where(tables.accounts.c.id == "acc_1").with_for_update()
    async with database.transaction() as connection:
        await connection.execute(held)
        async with asyncio.timeout(8):
            rotation = await rotate(database, secret, settle_s=0)

    assert rotation.left == 1
    assert rotation.resealed == {**ALL, "accounts": 2}
    assert secret.sealing_keys.is_unfinished
    later = await rotate(database, secret, settle_s=0)
    assert later.is_resumed
    assert later.resealed == {**NONE, "accounts": 1}
    await assert_all_opens(database, secret)
    await database.close()


# ------------------------------------------------------------------------------------ forgetting


async def test_keys_that_nothing_is_sealed_with_are_forgotten(database, secret, tmp_path):
    await fill(database, secret)
    keys = [(await rotate(database, secret, settle_s=0)).key for _ in range(3)]

    assert await forget_unused(database, secret, settle_s=0) == keys[:2]

    assert await rows_by_key(database, secret) == {"": NONE, keys[2]: ALL}
    again = InstallationSecret.of(tmp_path)
    assert [key_id.hex() for key_id in keys_of(again).ids] == keys[2:]
    await assert_all_opens(database, again)


async def test_a_key_that_one_row_is_sealed_with_is_kept(database, secret, tmp_path):
    await fill(database, secret)
    keys = [(await rotate(database, secret, settle_s=0)).key for _ in range(2)]
    late = KeptStore(database, secret).row(thing("late"))
    keys.append((await rotate(database, secret, settle_s=0)).key)
    await insert(database, tables.kept, late._asdict())

    assert await forget_unused(database, secret, settle_s=0) == keys[:1]
    assert (await rows_by_key(database, secret))[keys[1]] == {**NONE, "kept": 1}


async def test_there_may_be_nothing_to_forget(database, secret):
    assert await forget_unused(database, secret, settle_s=0) == []
    await rotate(database, secret, settle_s=0)
    assert await forget_unused(database, secret, settle_s=0) == []


async def test_forgetting_waits_until_gateways_have_committed_what_they_sealed(
    database, secret, tmp_path
):
    await fill(database, secret)
    await rotate(database, secret, settle_s=0)
    old = KeptStore(database, secret).row(thing("slow"))
    await rotate(database, secret, settle_s=0)

    forgetting = asyncio.ensure_future(forget_unused(database, secret, settle_s=0.5))
    await asyncio.sleep(0.1)
    await insert(database, tables.kept, old._asdict())

    assert await forgetting == []
    assert secret.open(old.sealed, owner="slow:key_1") == b"what was said"


async def test_nothing_is_forgotten_while_entries_wait_in_a_spool(database, secret, tmp_path):
    await rotate(database, secret, settle_s=0)
    await rotate(database, secret, settle_s=0)
    (tmp_path / "spool-1-0").write_bytes(b"entries")

    with pytest.raises(GroxyError) as caught:
        await forget_unused(database, secret, settle_s=0)

    assert caught.value.kind is ErrorKind.CONFLICT
    assert "spool-1-0" in caught.value.message
    assert len(secret.sealing_keys.ids) == 2

import asyncio
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import alembic.op
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.terms import NO_TERMS
from groxy.store import database as module, tables
from groxy.store.accounts import accounts_since
from groxy.store.database import (
    SCHEMA_VERSION,
    Database,
    bump,
    chunks,
    lock,
    raise_revision,
    resolved,
    set_sqlite_pragmas,
    storable,
)
from groxy.store.entries import last_requests
from groxy.store.secrets import InstallationSecret
from tests.store.races import run_at_once
from tests.store.rows import locked, rows_of

SQLITE = "sqlite+aiosqlite:///groxy.db"
pytestmark = pytest.mark.usefixtures("migrations")
MIGRATIONS = Path(module.__file__).parent / "migrations"


def alembic_config(connection=None):
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    return config


def differences(connection):
    context = MigrationContext.configure(
        connection, opts={"compare_type": True, "compare_server_default": True}
    )
    return compare_metadata(context, tables.metadata)


def table_names(connection):
    return set(sa.inspect(connection).get_table_names())


async def sync(database, function):
    async with database.engine.begin() as connection:
        return await connection.run_sync(function)


async def set_version(database, version):
    async with database.transaction() as connection:
        await connection.execute(sa.text(f"UPDATE alembic_version SET version_num = '{version}'"))


# ---------------------------------------------------------------------------------- migrations


async def test_migrations_bring_an_empty_database_to_the_tables_of_today(database):
    assert await sync(database, differences) == []


async def test_the_comparison_would_notice_a_missing_column(database):
    async with database.transaction() as connection:
        await connection.execute(sa.text("ALTER TABLE keys DROP COLUMN hint"))

    assert [change[0] for change in await sync(database, differences)] == ["add_column"]


async def test_only_our_tables_are_there(database):
    assert await sync(database, table_names) == {*tables.metadata.tables, "alembic_version"}


async def test_migrations_undo_all_that_they_did(database):
    await sync(database, lambda connection: command.downgrade(alembic_config(connection), "base"))

    assert await sync(database, table_names) == {"alembic_version"}


@pytest.mark.parametrize("name", ["requests", "attempts"])
async def test_sqlite_keeps_the_books_in_the_order_of_their_ids(tmp_path, name):
    await (await Database.open(SQLITE, tmp_path)).close()

    ((sql,),) = rows_of(
        tmp_path / "groxy.db", f"SELECT sql FROM sqlite_master WHERE name = '{name}'"
    )

    assert sql.rstrip().endswith("WITHOUT ROWID")


def test_the_schema_version_is_that_of_the_newest_migration():
    assert ScriptDirectory.from_config(alembic_config()).get_heads() == [SCHEMA_VERSION]


def test_migrations_are_numbered_without_gaps():
    files = sorted(path.stem for path in MIGRATIONS.glob("versions/m*.py"))
    numbers = [number for name in files for number in re.findall(r"^m(\d{4})_\w+$", name)]

    assert len(numbers) == len(files)
    assert numbers == [f"{number:04}" for number in range(1, len(files) + 1)]
    assert numbers[-1] == SCHEMA_VERSION


async def database_of(version, store_url, data_dir, statements):
    """Make a database as the Groxy of that version left it, with rows of its time."""
    engine = create_async_engine(resolved(store_url, data_dir))
    async with engine.begin() as connection:
        await connection.run_sync(lambda sync: command.upgrade(alembic_config(sync), version))
        for statement in statements:
            await connection.execute(sa.text(statement))
    await engine.dispose()


_OLD_COLUMNS = (
    "id, at_ms, key_id, dialect, is_stream, model_asked, model_sent, model_served, account_id, "
    "outcome, status, attempts, input_tokens, cached_tokens, output_tokens, reasoning_tokens, "
    "usage_estimated, cost_ticks, first_event_us, duration_us"
)
_OLD_REQUEST = (
    f"INSERT INTO requests ({_OLD_COLUMNS}) VALUES ('req_%s', 1, 'key_1', 'chat', true, 'a', 'b', "
    "'c', 'acc_1', 'ok', 200, 1, 2, 3, 4, 5, false, 6, 7, 8)"
)


async def test_the_books_of_before_0002_are_kept_and_say_nothing_new(store_url, tmp_path):
    await database_of("0001", store_url, tmp_path, [_OLD_REQUEST % name for name in "ab"])

    database = await Database.open(store_url, tmp_path)
    left, lines = await sync(database, differences), await last_requests(database, 10)
    await database.close()

    assert left == []
    assert [line.id for line in lines] == ["req_b", "req_a"]
    assert lines[1][1:20] == (
        *(1, "key_1", "chat", True, "a", "b", "c", "acc_1", "ok", 200, 1),
        *(2, 3, 4, 5, False, 6, 7, 8),
    )
    assert lines[1][20:26] == ("", "", "", "", "", "")
    assert lines[1][26:] == ("", 0, 0, "", False, None, None)


async def test_a_groxy_of_before_0002_that_still_runs_can_write_its_books(database):
    async with database.transaction() as connection:
        await connection.execute(sa.text(_OLD_REQUEST % "a"))

    (line,) = await last_requests(database, 10)

    assert line.app_title == ""


async def test_the_way_back_from_0002_keeps_the_books(database):
    async with database.transaction() as connection:
        await connection.execute(sa.text(_OLD_REQUEST % "a"))

    await sync(database, lambda connection: command.downgrade(alembic_config(connection), "0001"))

    async with database.transaction() as connection:
        rows = await connection.execute(sa.text("SELECT * FROM requests"))
        assert [(row[0], len(row)) for row in rows] == [("req_a", 20)]


_OLD_ACCOUNT = (
    "INSERT INTO accounts (id, name, upstream, pool, base_url, sealed, created_ms) "
    "VALUES ('acc_%s', '%s', 'xai', 'heavy', '', '%s', 5)"
)


async def test_accounts_of_before_0003_are_kept_and_are_news(store_url, tmp_path):
    secret = InstallationSecret(b"s" * 32)
    quoted = "x'%s'" if store_url == SQLITE else r"\x%s"
    rows = []
    for name in "ab":
        sealed = secret.seal(
            b'{"api_key":"xai-%s","options":{}}' % name.encode(), owner=f"acc_{name}"
        )
        row = _OLD_ACCOUNT.replace("'%s', 5", "%s, 5") if store_url == SQLITE else _OLD_ACCOUNT
        rows.append(row % (name, name, quoted % sealed.hex()))
    rows.append("INSERT INTO revisions (name, value) VALUES ('accounts', 2)")
    await database_of("0002", store_url, tmp_path, [*rows, _OLD_REQUEST % "a"])

    database = await Database.open(store_url, tmp_path)
    left = await sync(database, differences)
    news = await accounts_since(database, secret, 0)
    (line,) = await last_requests(database, 10)
    await database.close()

    assert left == []
    assert [(each.id, each.name, each.api_key, each.terms) for each in news.accounts] == [
        ("acc_a", "a", "xai-a", NO_TERMS),
        ("acc_b", "b", "xai-b", NO_TERMS),
    ]
    assert {(each.revision, each.hint) for each in news.accounts} == {(1, "xa...")}
    assert (news.revision, line.route) == (2, "")


async def test_only_living_accounts_have_names_of_their_own(database):
    async with database.transaction() as connection:
        await connection.execute(sa.text(_OLD_ACCOUNT % ("a", "same", "00")))
        await connection.execute(sa.text("UPDATE accounts SET deleted_ms = 1"))
        await connection.execute(sa.text(_OLD_ACCOUNT % ("b", "same", "00")))

    with pytest.raises(GroxyError):
        async with database.transaction() as connection:
            await connection.execute(sa.text(_OLD_ACCOUNT % ("c", "same", "00")))


async def test_the_way_back_from_0003_keeps_the_living_accounts(database):
    async with database.transaction() as connection:
        await connection.execute(sa.text(_OLD_ACCOUNT % ("a", "same", "00")))
        await connection.execute(sa.text("UPDATE accounts SET deleted_ms = 1"))
        await connection.execute(sa.text(_OLD_ACCOUNT % ("b", "same", "00")))

    await sync(database, lambda connection: command.downgrade(alembic_config(connection), "0002"))

    async with database.transaction() as connection:
        rows = await connection.execute(sa.text("SELECT * FROM accounts"))
        assert [(row[0], len(row)) for row in rows] == [("acc_b", 7)]
    with pytest.raises(GroxyError):
        async with database.transaction() as connection:
            await connection.execute(sa.text(_OLD_ACCOUNT % ("c", "same", "00")))


async def test_the_way_forth_and_back_can_be_gone_twice(database):
    for version in ("0002", "head", "0002", "head"):
        move = command.upgrade if version == "head" else command.downgrade
        await sync(
            database,
            lambda connection, move=move, version=version: move(
                alembic_config(connection), version
            ),
        )

    assert await sync(database, differences) == []


async def test_a_database_that_is_up_to_date_is_not_migrated(store_url, tmp_path, monkeypatch):
    await (await Database.open(store_url, tmp_path)).close()
    migrated: list[object] = []
    monkeypatch.setattr(module, "_upgrade", migrated.append)

    await (await Database.open(store_url, tmp_path)).close()

    assert migrated == []


async def test_opening_again_keeps_what_is_there(store_url, tmp_path):
    first = await Database.open(store_url, tmp_path)
    async with first.transaction() as connection:
        await bump(connection, "keys")
    await first.close()

    second = await Database.open(store_url, tmp_path)
    revision = await second.revision("keys")
    await second.close()

    assert revision == 1


async def test_a_database_of_a_newer_groxy_is_refused(database, store_url, tmp_path):
    await set_version(database, "9999")

    with pytest.raises(GroxyError) as caught:
        await Database.open(store_url, tmp_path)

    assert caught.value.kind is ErrorKind.STORE_DOWN
    assert "9999" in caught.value.message


async def test_a_database_of_a_newer_groxy_is_not_kept_open(store_url, tmp_path, monkeypatch):
    opened = await Database.open(store_url, tmp_path)
    await set_version(opened, "9999")
    await opened.close()
    disposed = []
    dispose = AsyncEngine.dispose

    async def noted(engine):
        disposed.append(engine.url)
        await dispose(engine)

    monkeypatch.setattr(AsyncEngine, "dispose", noted)

    with pytest.raises(GroxyError):
        await Database.open(store_url, tmp_path)

    assert disposed == [resolved(store_url, tmp_path)]


async def test_a_migration_that_fails_half_way_leaves_nothing(store_url, tmp_path, monkeypatch):
    real, made = alembic.op.create_table, []

    def third_fails(name, *columns, **options):
        made.append(name)
        if len(made) == 3:
            raise OSError("the lights went out")
        real(name, *columns, **options)

    monkeypatch.setattr(alembic.op, "create_table", third_fails)
    with pytest.raises(GroxyError) as caught:
        await Database.open(store_url, tmp_path)
    monkeypatch.undo()
    opened = await Database.open(store_url, tmp_path)
    left = await sync(opened, differences)
    await opened.close()

    assert caught.value.kind is ErrorKind.STORE_DOWN
    assert (len(made), left) == (3, [])


_SAYS_WHAT_IT_LOADED = """
import asyncio, sys
from pathlib import Path
from groxy.store.database import Database
asyncio.run(Database.open(sys.argv[1], Path(sys.argv[2])))
print(*sorted({name.partition(".")[0] for name in sys.modules if name.count(".") > 1}))
print(*(name for name in sys.modules if name.startswith("pygments.lexers.")))
"""


def test_migrating_loads_nothing_that_colours_error_pages(tmp_path):
    script = [sys.executable, "-c", _SAYS_WHAT_IT_LOADED, SQLITE, str(tmp_path)]
    told = subprocess.run(script, check=True, capture_output=True, text=True)
    packages, lexers = told.stdout.splitlines()

    assert "alembic" in packages.split()
    assert lexers == ""


_OPENS = """
import asyncio
from pathlib import Path
from groxy.store.database import Database
import alembic.command

async def main():
    await (await Database.open(sys.argv[1], Path(sys.argv[2]))).close()

ready()
asyncio.run(main())
"""


def test_processes_that_start_at_once_migrate_once(store_url, tmp_path):
    outcomes = run_at_once(_OPENS, [store_url, str(tmp_path)], processes=4)

    assert [complaints for _, complaints in outcomes] == [""] * 4


# ------------------------------------------------------------------------------------- opening


@pytest.mark.parametrize(
    ("url", "file"),
    [
        ("sqlite+aiosqlite:///groxy.db", "/data/groxy.db"),
        ("sqlite+aiosqlite:///sub/groxy.db", "/data/sub/groxy.db"),
        ("sqlite+aiosqlite:////elsewhere/groxy.db", "/elsewhere/groxy.db"),
        ("sqlite+aiosqlite:///:memory:", ":memory:"),
        ("sqlite+aiosqlite://", None),
        ("postgresql+asyncpg://u:p@h/groxy", "groxy"),
    ],
)
def test_only_a_relative_file_is_taken_from_the_data_folder(url, file):
    assert resolved(url, Path("/data")).database == file


@pytest.mark.parametrize(
    ("url", "is_file"),
    [
        ("sqlite+aiosqlite:///groxy.db", True),
        ("sqlite+aiosqlite:///:memory:", False),
        ("sqlite+aiosqlite://", False),
    ],
)
async def test_a_database_knows_whether_it_is_a_file(tmp_path, url, is_file):
    database = await Database.open(url, tmp_path)
    await database.close()

    assert database.is_sqlite
    assert database.is_sqlite_file == is_file


def test_sqlite_syncs_every_commit_and_lets_readers_read(tmp_path):
    with closing(sqlite3.connect(tmp_path / "x.db")) as connection:
        set_sqlite_pragmas(connection, None)
        pragmas = [
            connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "busy_timeout")
        ]

    full = 2
    assert pragmas == ["wal", full, module._SQLITE_BUSY_MS]


async def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path):
    file = tmp_path / "groxy.db"
    file.write_bytes(b"my diary, dear to me\n" * 500)

    with pytest.raises(GroxyError) as caught:
        await Database.open(SQLITE, tmp_path)

    assert caught.value.kind is ErrorKind.STORE_DOWN
    assert file.read_bytes() == b"my diary, dear to me\n" * 500


async def test_a_folder_that_is_not_there_is_store_down(tmp_path):
    with pytest.raises(GroxyError) as caught:
        await Database.open(SQLITE, tmp_path / "nowhere")
    await asyncio.sleep(0.1)  # aiosqlite's thread ends by itself, and needs a loop for that

    assert caught.value.kind is ErrorKind.STORE_DOWN


async def test_the_operator_is_told_why_a_database_does_not_open(tmp_path):
    (tmp_path / "groxy.db").write_text("no database at all")

    with pytest.raises(GroxyError, match=r"file is not a database.*`store\.url`"):
        await Database.open(SQLITE, tmp_path)


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("part", "wrong"), [("groxy@", "nobody:hush-hush@"), ("/postgres", "/no_such_database")]
)
async def test_a_postgres_that_does_not_let_us_in_is_store_down(postgres, tmp_path, part, wrong):
    url = postgres.empty_database().replace(part, wrong)

    with pytest.raises(GroxyError) as caught:
        await Database.open(url, tmp_path)

    assert caught.value.kind is ErrorKind.STORE_DOWN
    assert "hush-hush" not in caught.value.message + caught.value.detail


async def test_a_database_that_is_away_is_store_down(tmp_path):
    with pytest.raises(GroxyError) as caught:
        await Database.open("postgresql+asyncpg://u:hush-hush@127.0.0.1:1/groxy", tmp_path)

    assert caught.value.kind is ErrorKind.STORE_DOWN
    assert "hush-hush" not in caught.value.message + caught.value.detail


# -------------------------------------------------------------------------------- transactions


async def test_what_a_transaction_wrote_stays(database):
    async with database.transaction() as connection:
        await connection.execute(sa.insert(tables.revisions).values(name="x", value=7))

    assert await database.revision("x") == 7


async def test_what_fails_half_way_wrote_nothing(database):
    async def fail():
        async with database.transaction() as connection:
            await connection.execute(sa.insert(tables.revisions).values(name="x", value=7))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()

    assert await database.revision("x") == 0


async def test_a_statement_that_fails_is_store_down(database):
    with pytest.raises(GroxyError) as caught:
        async with database.transaction() as connection:
            await connection.execute(sa.text("SELECT * FROM no_such_table"))

    error = caught.value
    assert (error.kind, error.retry_after_s) == (ErrorKind.STORE_DOWN, 1)
    assert "no_such_table" in error.detail
    assert "no_such_table" not in error.message


async def test_after_a_failure_the_next_transaction_works(database):
    for _ in range(30):  # more than the pool has connections
        with pytest.raises(GroxyError):
            async with database.transaction() as connection:
                await connection.execute(sa.text("SELECT * FROM no_such_table"))

    assert await database.revision("x") == 0


async def test_an_error_of_ours_passes_a_transaction_unchanged(database):
    mine = GroxyError(ErrorKind.NOT_FOUND, "There is none.")

    with pytest.raises(GroxyError) as caught:
        async with database.transaction():
            raise mine

    assert caught.value is mine


async def test_a_locked_database_is_store_down_until_it_is_released(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_SQLITE_BUSY_MS", 50)
    database = await Database.open(SQLITE, tmp_path)

    with locked(tmp_path / "groxy.db"):
        with pytest.raises(GroxyError) as caught:
            async with database.transaction() as connection:
                await bump(connection, "x")
        seen_meanwhile = await database.revision("x")
    async with database.transaction() as connection:
        await bump(connection, "x")
    revision = await database.revision("x")
    await database.close()

    assert caught.value.kind is ErrorKind.STORE_DOWN
    assert (seen_meanwhile, revision) == (0, 1)


@pytest.mark.postgres
async def test_connections_that_postgres_dropped_are_replaced(postgres, tmp_path):
    database = await Database.open(postgres.empty_database(), tmp_path)
    await database.revision("x")
    postgres.run_sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
    )

    revision = await database.revision("x")
    await database.close()

    assert revision == 0


async def test_a_transaction_that_takes_too_long_is_store_down_and_undone(database):
    async def write():
        async with database.transaction(timeout_s=0.05) as connection:
            await bump(connection, "x")
            await asyncio.sleep(5)

    with pytest.raises(GroxyError) as caught:
        await write()

    assert (caught.value.kind, caught.value.retry_after_s) == (ErrorKind.STORE_DOWN, 1)
    assert "TimeoutError" in caught.value.detail
    assert await database.revision("x") == 0


async def test_a_timeout_of_the_caller_stays_the_callers(database):
    async def write():
        async with database.transaction() as connection:
            await bump(connection, "x")
            await asyncio.sleep(5)

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(write(), 0.05)

    assert await database.revision("x") == 0


async def test_whoever_is_cancelled_in_a_transaction_wrote_nothing(database):
    begun = asyncio.Event()

    async def write():
        async with database.transaction() as connection:
            await bump(connection, "x")
            begun.set()
            await asyncio.sleep(5)

    for _ in range(30):  # more than the pool has connections
        begun.clear()
        task = asyncio.get_running_loop().create_task(write())
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert await database.revision("x") == 0


@contextmanager
def frozen(postgres):
    """Stop a PostgreSQL in mid-air: it holds its connections and answers nothing."""
    answer = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(postgres.process.pid)],
        capture_output=True,
        text=True,
        check=True,
    )
    processes = [postgres.process.pid, *map(int, answer.stdout.split())]
    try:
        for process in processes:
            os.kill(process, signal.SIGSTOP)
        yield
    finally:
        for process in processes:
            os.kill(process, signal.SIGCONT)


async def seconds_of(call):
    """Return how long a call takes that has to end with STORE_DOWN."""
    began = time.monotonic()
    with pytest.raises(GroxyError) as caught:
        await call
    assert caught.value.kind is ErrorKind.STORE_DOWN
    return time.monotonic() - began


@pytest.mark.postgres
@pytest.mark.parametrize("moment", ["the connection", "a statement", "the commit"])
async def test_a_postgres_that_hangs_holds_nobody_for_long(postgres, tmp_path, moment):
    database = await Database.open(postgres.empty_database(), tmp_path)
    freezing = frozen(postgres)

    async def write():
        if moment == "the connection":
            freezing.__enter__()
        async with database.transaction(timeout_s=0.3) as connection:
            await bump(connection, "x")
            if moment != "the connection":
                freezing.__enter__()
            if moment == "a statement":
                await bump(connection, "x")

    try:
        took_s = await seconds_of(write())
    finally:
        freezing.__exit__(None, None, None)
    async with database.transaction() as connection:
        await bump(connection, "y")
    revision = await database.revision("y")
    await database.close()

    # The driver takes two seconds to give up a connection.
    assert took_s < 4
    assert revision == 1


@pytest.mark.postgres
async def test_a_postgres_that_hung_leaves_the_pool_whole(postgres, tmp_path):
    database = await Database.open(postgres.empty_database(), tmp_path)

    async def write():
        async with database.transaction(timeout_s=0.2) as connection:
            await bump(connection, "x")

    await write()
    with frozen(postgres):
        outcomes = await asyncio.gather(*(write() for _ in range(40)), return_exceptions=True)
    await asyncio.gather(*(database.revision("x") for _ in range(40)))
    pool: Any = database.engine.pool
    checked_out = pool.checkedout()
    await database.close()

    assert {getattr(outcome, "kind", None) for outcome in outcomes} == {ErrorKind.STORE_DOWN}
    assert checked_out == 0


# ----------------------------------------------------------------------------------- revisions


async def test_what_never_changed_is_at_revision_0(database):
    assert await database.revision("keys") == 0


async def test_each_change_counts_one_more(database):
    for _ in range(3):
        async with database.transaction() as connection:
            await bump(connection, "keys")

    assert (await database.revision("keys"), await database.revision("accounts")) == (3, 0)


async def test_a_change_that_was_undone_does_not_count(database):
    async def fail():
        async with database.transaction() as connection:
            await bump(connection, "keys")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()

    assert await database.revision("keys") == 0


async def test_changes_made_at_once_all_count(database):
    async def change():
        async with database.transaction() as connection:
            await bump(connection, "keys")

    await asyncio.gather(*(change() for _ in range(8)))

    assert await database.revision("keys") == 8


async def test_all_revisions_are_told_at_once(database):
    assert await database.revisions() == {}
    async with database.transaction() as connection:
        counts = [await bump(connection, name) for name in ("keys", "accounts", "keys")]

    assert counts == [1, 1, 2]
    assert await database.revisions() == {"keys": 2, "accounts": 1}


async def test_a_lock_counts_nothing_and_keeps_others_waiting(database):
    order: list[str] = []
    has_lock = asyncio.Event()

    async def first():
        async with database.transaction() as connection:
            await lock(connection, "keys")
            has_lock.set()
            await asyncio.sleep(0.1)
            order.append("first")

    async def second():
        await has_lock.wait()
        async with database.transaction() as connection:
            await bump(connection, "keys")
            order.append("second")

    await asyncio.gather(first(), second())

    assert order == ["first", "second"]
    assert await database.revision("keys") == 1


@pytest.mark.parametrize(("values", "last"), [([3, 5], 5), ([5, 3], 5), ([4], 4)])
async def test_a_count_is_raised_and_never_lowered(database, values, last):
    for value in values:
        async with database.transaction() as connection:
            await raise_revision(connection, "x", value)

    assert await database.revision("x") == last


def test_parts_are_as_large_as_a_statement_takes_and_together_are_all():
    parts = list(chunks(list(range(1_201))))

    assert [len(part) for part in parts] == [500, 500, 201]
    assert [item for part in parts for item in part] == list(range(1_201))
    assert list(chunks([])) == []


@pytest.mark.parametrize(
    ("text", "length", "kept"), [("a\0b\ud83d", 9, "ab?"), ("模" * 9, 4, "模" * 4), ("", 4, "")]
)
def test_a_text_is_made_such_as_both_databases_hold(text, length, kept):
    assert storable(text, length) == kept

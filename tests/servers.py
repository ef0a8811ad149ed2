"""Private servers for tests: a Redis and a PostgreSQL, each on a free port of this machine.

A server has a temporary folder of its own and is gone, folder and all, when its context ends. Where
its program is not installed the tests that need it are skipped, but never on CI.
"""

import asyncio
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import NoReturn, TypedDict, TypeVar

import asyncpg  # type: ignore[import-untyped]
import pytest

from groxy.store.database import Database

T = TypeVar("T")

START_TIMEOUT_S = 20.0
_UNPRIVILEGED = "nobody"
"""PostgreSQL refuses to run as root."""


def missing(program: str) -> NoReturn:
    """Skip the test that needs `program`; fail it where everything has to be there."""
    reason = f"{program} is not installed"
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(f"{reason}, and with CI=true every test has to run")
    pytest.skip(reason)


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


# ---------------------------------------------------------------------------------------- Redis


@dataclass(kw_only=True)
class RedisServer:
    """A Redis that can be stopped and started again."""

    program: str
    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it is."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, unless it runs, and wait until it answers."""
        if _runs(self.process):
            return
        command = [self.program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log)
        _wait_until(self._answers, self.process, self.folder / "log")

    def stop(self) -> None:
        """Stop it; a server that is not running stays so."""
        _end(self.process, signal.SIGTERM)

    def ask(self, *words: str) -> bytes:
        """Send one command over a connection of its own and return the raw reply's beginning."""
        request = f"*{len(words)}\r\n" + "".join(
            f"${len(word.encode())}\r\n{word}\r\n" for word in words
        )
        with socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
            connection.sendall(request.encode())
            return connection.recv(65536)

    def _answers(self) -> bool:
        with suppress(OSError):
            return self.ask("PING").startswith(b"+PONG")
        return False


@contextmanager
def redis_server() -> Iterator[RedisServer]:
    """Run a Redis of its own."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        missing("redis-server")
    with tempfile.TemporaryDirectory(prefix="groxy-redis-") as folder:
        server = RedisServer(program=program, folder=Path(folder), port=free_port())
        try:
            server.start()
            yield server
        finally:
            server.stop()


# ----------------------------------------------------------------------------------- PostgreSQL


# Emptying a table that has no rows takes as long as one that has: so only those that have some.
_EMPTY = """
DO $$
DECLARE names text;
BEGIN
    SELECT string_agg(format('%I', relname), ', ') INTO names
    FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
        AND relname <> 'alembic_version' AND pg_relation_size(oid) > 0;
    IF names IS NOT NULL THEN
        EXECUTE 'TRUNCATE ' || names || ' RESTART IDENTITY CASCADE';
    END IF;
END $$
"""
_SHAPE = """
WITH ours AS (SELECT oid, relname FROM pg_class WHERE relnamespace = 'public'::regnamespace)
SELECT md5(string_agg(line, chr(10) ORDER BY line)) FROM (
    SELECT o::text FROM ours o
    UNION ALL SELECT i::text FROM pg_index i WHERE indexrelid IN (SELECT oid FROM ours)
    UNION ALL SELECT a::text FROM pg_attribute a WHERE attrelid IN (SELECT oid FROM ours)
    UNION ALL SELECT d::text FROM pg_attrdef d WHERE adrelid IN (SELECT oid FROM ours)
    UNION ALL SELECT c::text FROM pg_constraint c WHERE conrelid IN (SELECT oid FROM ours)
    UNION ALL SELECT t::text FROM pg_trigger t WHERE tgrelid IN (SELECT oid FROM ours)
    UNION ALL SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace
) AS lines (line)
"""
"""Tables, columns, indexes and what hangs on them; a table that is made again is another one."""


@dataclass(kw_only=True)
class PostgresServer:
    """A PostgreSQL cluster that can be stopped and started again."""

    programs: Path
    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None
    _numbers: Iterator[int] = field(default_factory=count)
    _shape: str | None = None
    """What the catalogs say of the tables of today, once they were made."""

    def make_cluster(self) -> None:
        """Create the cluster's files."""
        self._run("initdb", "-D", "data", "-U", "groxy", "-A", "trust", "-E", "UTF8")

    def start(self) -> None:
        """Start it, unless it runs, and wait until it answers."""
        if _runs(self.process):
            return
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            # Nobody pulls the plug in a test, so nothing has to reach the disk.
            "fsync": "off",
            "full_page_writes": "off",
            "shared_buffers": "16MB",
            "autovacuum": "off",
        }
        words = [str(self.programs / "postgres"), "-D", "data"]
        for name, value in options.items():
            words += ["-c", f"{name}={value}"]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                words, cwd=self.folder, stdout=log, stderr=log, **_as_somebody_else()
            )
        _wait_until(self._answers, self.process, self.folder / "log")

    def stop(self) -> None:
        """Stop it and break off every connection; one that is not running stays so."""
        _end(self.process, signal.SIGINT)

    def new_database(self) -> str:
        """Create a database, and return its URL for the store."""
        name = f"test{next(self._numbers)}"
        self.run_sql(f"CREATE DATABASE {name}")
        return self._url(name)

    def bare_database(self) -> str:
        """Drop all of the database that is always there, and return its URL."""
        self.run_sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        return self._url("postgres")

    def empty_database(self) -> str:
        """Return the URL of the same one, with the tables of today and no rows in them.

        They stay from test to test, as long as no test changes them: migrating takes longer than
        most tests.
        """
        if self._shape is None or self._emptied_shape() != self._shape:
            url = self.bare_database()
            _in_a_loop_of_its_own(lambda: _migrate(url, self.folder))
            self._shape = self._emptied_shape()
        return self._url("postgres")

    def _url(self, name: str) -> str:
        return f"postgresql+asyncpg://groxy@127.0.0.1:{self.port}/{name}"

    def run_sql(self, statements: str) -> None:
        """Run statements as the superuser; works inside of an event loop too, which waits."""
        _in_a_loop_of_its_own(lambda: self._ask(statements, "SELECT 1"))

    def _emptied_shape(self) -> str:
        """Delete all rows, and return what the catalogs say of the tables."""
        return _in_a_loop_of_its_own(lambda: self._ask(_EMPTY, _SHAPE))

    async def _ask(self, statements: str, question: str) -> str:
        connection = await asyncpg.connect(
            host="127.0.0.1", port=self.port, user="groxy", database="postgres", timeout=5
        )
        try:
            await connection.execute(statements)
            return str(await connection.fetchval(question))
        finally:
            await connection.close()

    def _answers(self) -> bool:
        with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            self.run_sql("SELECT 1")
            return True
        return False

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [str(self.programs / program), "--no-sync", "--locale=C", *arguments],
            cwd=self.folder,
            check=True,
            capture_output=True,
            **_as_somebody_else(),
        )


async def _migrate(url: str, folder: Path) -> None:
    await (await Database.open(url, folder)).close()


def _in_a_loop_of_its_own(work: Callable[[], Coroutine[None, None, T]]) -> T:
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(work())).result()


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Run a PostgreSQL of its own."""
    programs = _postgres_programs()
    if programs is None:
        missing("PostgreSQL")
    with tempfile.TemporaryDirectory(prefix="groxy-postgres-") as name:
        folder = Path(name)
        if os.geteuid() == 0:
            shutil.chown(folder, user=_UNPRIVILEGED)
        server = PostgresServer(programs=programs, folder=folder, port=free_port())
        try:
            server.make_cluster()
            server.start()
            yield server
        finally:
            server.stop()


def _postgres_programs() -> Path | None:
    """Return the folder of initdb and postgres; Debian keeps it off the PATH."""
    on_path = shutil.which("initdb")
    if on_path is not None:
        return Path(on_path).resolve().parent
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"),
        key=lambda path: float(path.parts[-3]) if path.parts[-3].isdigit() else 0,
    )
    return found[-1].parent if found else None


class _Somebody(TypedDict, total=False):
    user: int
    group: int
    extra_groups: list[int]


def _as_somebody_else() -> _Somebody:
    if os.geteuid() != 0:
        return {}
    somebody = pwd.getpwnam(_UNPRIVILEGED)
    return {"user": somebody.pw_uid, "group": somebody.pw_gid, "extra_groups": []}


# ----------------------------------------------------------------------------------------- both


def _wait_until(is_there: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    ends_at = time.monotonic() + START_TIMEOUT_S
    while not is_there():
        if process.poll() is not None or time.monotonic() > ends_at:
            _end(process, signal.SIGKILL)
            pytest.fail(f"the server did not start:\n{log.read_text()}")
        time.sleep(0.02)


def _runs(process: subprocess.Popen[bytes] | None) -> bool:
    return process is not None and process.poll() is None


def _end(process: subprocess.Popen[bytes] | None, how: signal.Signals) -> None:
    if process is None or not _runs(process):
        return
    process.send_signal(how)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

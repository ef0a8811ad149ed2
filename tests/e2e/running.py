"""A real `groxy serve` for tests: a process of its own, a folder of its own, a free port.

Also what a test looks at from outside: replies as they came over the socket, the books in the data
folder's database, and the account states on /metrics.
"""

import asyncio
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import aiohttp

from groxy.settings.sections import DEFAULT_STORE_URL
from groxy.store.database import Database
from groxy.store.entries import AttemptEntry, RequestEntry, attempts_of, last_requests
from tests.e2e.scripted import Seat
from tests.servers import free_port

KEY = "sk-e2e-caller-key"
ADMIN_KEY = "adm-e2e-operator-key"
START_TIMEOUT_S = 30.0
"""Generous: these tests ask whether it works, the benches how fast."""


def clean_environment(folder: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return an environment in which nothing of the developer's own is set."""
    names = ("PATH", "PYTHONPATH", "SYSTEMROOT")
    kept = {name: os.environ[name] for name in names if name in os.environ}
    return {**kept, "HOME": str(folder), "LANG": "C.UTF-8", **(extra or {})}


def groxy(
    folder: Path, *arguments: str, environ: Mapping[str, str] | None = None, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a `groxy` command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "groxy", *arguments],
        check=False,
        capture_output=True,
        text=True,
        cwd=folder,
        input=stdin,
        timeout=50,
        env=clean_environment(folder, environ),
    )


def poll(check: Callable[[], Any], *, within_s: float = 10.0, what: str = "it") -> Any:
    """Return the first true result of `check`."""
    ends_at = time.monotonic() + within_s
    while not (result := check()):
        assert time.monotonic() < ends_at, f"{what} did not happen within {within_s} s"
        time.sleep(0.01)
    return result


async def poll_async(check: Callable[[], Any], *, within_s: float = 10.0, what: str = "it") -> Any:
    """Return the first true result of `check`; other tasks run meanwhile."""
    ends_at = time.monotonic() + within_s
    while not (result := check()):
        assert time.monotonic() < ends_at, f"{what} did not happen within {within_s} s"
        await asyncio.sleep(0.01)
    return result


@dataclass
class Reply:
    """A reply as it came."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def id(self) -> str:
        return self.headers["x-request-id"]

    @property
    def events(self) -> list[Any]:
        """The data of a stream's events; `[DONE]` stays text."""
        return [
            "[DONE]" if data == b"[DONE]" else json.loads(data)
            for data in re.findall(rb"^data: (.*)$", self.body, re.MULTILINE)
        ]

    @property
    def comments(self) -> int:
        return self.body.count(b": keepalive\n\n")

    @property
    def text(self) -> str:
        """What the model said, whole or streamed."""
        if "text/event-stream" not in self.headers["content-type"]:
            content: str = self.json["choices"][0]["message"]["content"]
            return content
        return "".join(
            choice["delta"].get("content") or ""
            for event in self.events
            if isinstance(event, dict)
            for choice in event.get("choices", ())
        )

    @property
    def error(self) -> dict[str, Any]:
        """The error, in the envelope or as the last event of the stream."""
        if "text/event-stream" in self.headers["content-type"]:
            found: dict[str, Any] = self.events[-1]["error"]
        else:
            found = self.json["error"]
        assert set(found) == {"message", "type", "code", "param", "status"}
        return found

    @property
    def error_in_stream(self) -> bool:
        is_stream = "text/event-stream" in self.headers["content-type"]
        return is_stream and not self.ends_well

    @property
    def ends_well(self) -> bool:
        return self.body.endswith(b"data: [DONE]\n\n")


@dataclass(kw_only=True)
class Gateway:
    """A gateway process; it may be stopped, killed and started again."""

    folder: Path
    config: str = ""
    environ: Mapping[str, str] = field(default_factory=dict)
    arguments: Sequence[str] = ()
    key: str = KEY
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    @property
    def data_dir(self) -> Path:
        return self.folder / "data"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def log(self) -> str:
        """Everything on standard error so far."""
        return (self.folder / "stderr.txt").read_text()

    @property
    def said(self) -> str:
        """Everything on standard output since the last start."""
        return (self.folder / "stdout.txt").read_text()

    def start(self) -> Self:
        """Start, and return once it is ready."""
        self.spawn()
        self.wait_until_ready()
        return self

    def spawn(self) -> None:
        """Start, and return at once."""
        self.port = self.port or free_port()
        options = ["--data-dir", str(self.data_dir), "--port", str(self.port)]
        if self.config:
            (self.folder / "e2e.toml").write_text(self.config)
            options += ["--config", str(self.folder / "e2e.toml")]
        with (
            (self.folder / "stdout.txt").open("wb") as out,
            (self.folder / "stderr.txt").open("ab") as err,
        ):
            self.process = subprocess.Popen(
                [sys.executable, "-m", "groxy", "serve", *options, *self.arguments],
                stdout=out,
                stderr=err,
                stdin=subprocess.DEVNULL,
                cwd=self.folder,
                env=clean_environment(self.folder, self.environ),
            )

    def wait_until_ready(self) -> None:
        def is_ready() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, f"it ended: {self.log}"
            with suppress(OSError):
                return self.get("/ready").status == 200
            return False

        poll(is_ready, within_s=START_TIMEOUT_S, what="being ready")

    def stop(self) -> int:
        """Ask it to stop; return its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(40)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Reply:
        """GET a path, from a test that may block."""
        return self.request("GET", path, headers=headers)

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, found, answer.read())
        finally:
            connection.close()

    def ask(self, text: str = "Hello", **fields: Any) -> Reply:
        """Send a chat request and block until its reply is there."""
        body = json.dumps(chat_body(text, **fields)).encode()
        return self.request("POST", "/v1/chat/completions", body, self.auth)

    @property
    def auth(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}

    def command(self, *arguments: str, stdin: str = "") -> str:
        """Run another `groxy` command on the same data folder; return what it printed."""
        options = ["--data-dir", str(self.data_dir)]
        if self.config:
            options += ["--config", str(self.folder / "e2e.toml")]
        done = groxy(self.folder, *arguments, *options, environ=self.environ, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    # ------------------------------------------------------------------- what happened, seen

    def account_states(self, *labels: str) -> Counter[str]:
        """Return how many accounts are in each state, as /metrics shows it."""
        found: Counter[str] = Counter()
        page = self.get("/metrics").body.decode()
        for line in re.findall(r"^groxy_accounts\{.*$", page, re.MULTILINE):
            if all(f'"{label}"' in line for label in labels):
                state = re.findall(r'state="(\w+)"', line)[0]
                found[state] += int(float(line.rsplit(" ", 1)[1]))
        return +found

    def metric(self, name: str, *labels: str) -> float:
        """Return a metric's value, summed over the lines that have all these label values."""
        page = self.get("/metrics").body.decode()
        return sum(
            float(line.rsplit(" ", 1)[1])
            for line in page.splitlines()
            if re.match(rf"{name}[{{ ]", line) and all(f'"{label}"' in line for label in labels)
        )

    def entries(self, limit: int = 1000) -> list[RequestEntry]:
        """Return the newest requests in the books."""
        return self._read(lambda database: last_requests(database, limit))

    def attempts(self, request_id: str) -> list[AttemptEntry]:
        return self._read(lambda database: attempts_of(database, request_id))

    def entry(self, request_id: str) -> RequestEntry:
        """Return the one row of a request."""
        found = [entry for entry in self.entries() if entry.id == request_id]
        assert len(found) == 1, f"{len(found)} rows for {request_id}"
        return found[0]

    def _read(self, query: Callable[[Database], Coroutine[Any, Any, list[Any]]]) -> list[Any]:
        async def read() -> list[Any]:
            database = await Database.open(DEFAULT_STORE_URL, self.data_dir)
            try:
                return await query(database)
            finally:
                await database.close()

        found: list[Any] = _run_apart(read())
        return found


def _run_apart(work: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine on a loop of its own, also from within a test that has one."""
    import concurrent.futures

    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        return threads.submit(asyncio.run, work).result(30)


@contextmanager
def running(gateway: Gateway) -> Iterator[Gateway]:
    """Start a gateway; whatever happens, its process is gone afterwards."""
    try:
        yield gateway.start()
    finally:
        if gateway.process is not None and gateway.process.poll() is None:
            gateway.kill()


@contextmanager
def sandbox_server(folder: Path) -> Iterator[str]:
    """Run `groxy sandbox` as a server of its own; yield the base URL that an account needs."""
    port = free_port()
    with (folder / "sandbox.txt").open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "groxy", "sandbox", "--port", str(port)],
            stdout=said,
            stderr=said,
            stdin=subprocess.DEVNULL,
            cwd=folder,
            env=clean_environment(folder),
        )

    def is_open() -> bool:
        assert process.poll() is None, f"it ended: {(folder / 'sandbox.txt').read_text()}"
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
        return False

    try:
        poll(is_open, within_s=START_TIMEOUT_S, what="the sandbox listening")
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.kill()
        process.wait(10)


def sandbox_account_toml(base_url: str, dialects: str) -> str:
    """Return an account at a stand-alone sandbox that speaks these dialects only."""
    return f"""
[[accounts]]
name = "far-sandbox"
upstream = "sandbox"
base_url = "{base_url}"
options.dialects = "{dialects}"
"""


@contextmanager
def running_over(lane: str, folder: Path) -> Iterator[Gateway]:
    """Run a gateway over the built-in sandbox, or over one elsewhere that speaks a dialect only.

    `lane` is "built-in", where a caller's request is relayed in its own dialect, or the dialect
    that every request is translated to.
    """
    if lane == "built-in":
        with running(Gateway(folder=folder, config=config_toml())) as gateway:
            yield gateway
        return
    with sandbox_server(folder) as base_url:
        config = config_toml(sandbox_account_toml(base_url, lane))
        with running(Gateway(folder=folder, config=config)) as gateway:
            yield gateway


def chat_body(text: str = "Hello", **fields: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": text}]
    return {"model": "grok-4.3", "messages": messages} | fields


def account_toml(
    name: str, seat: Seat, *, upstream: str = "xai", pool: str = "heavy", key: str = ""
) -> str:
    """Return an account at a seat, as the settings file has it."""
    return f"""
[[accounts]]
name = "{name}"
upstream = "{upstream}"
api_key = "{key or "xai-secret-of-" + name}"
base_url = "{seat.base_url}"
pool = "{pool}"
"""


def config_toml(*accounts: str, extra: str = "") -> str:
    """Return a settings file with fixed keys."""
    return f'[app]\napi_key = "{KEY}"\napp_key = "{ADMIN_KEY}"\n{extra}\n' + "".join(accounts)


@asynccontextmanager
async def calling(gateway: Gateway) -> AsyncIterator["Caller"]:
    """A caller with a connection pool of its own."""
    connector = aiohttp.TCPConnector(limit=0, force_close=False)
    timeout = aiohttp.ClientTimeout(total=50)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        yield Caller(gateway, session)


class Caller:
    """Asks a gateway without blocking."""

    def __init__(self, gateway: Gateway, session: aiohttp.ClientSession) -> None:
        self._gateway = gateway
        self.session = session

    async def ask(self, text: str = "Hello", **fields: Any) -> Reply:
        """Send a chat request and return its whole reply, be it a stream or not."""
        async with self.opened(text, **fields) as reply:
            return Reply(reply.status, _lower(reply.headers), await reply.read())

    def opened(self, text: str = "Hello", **fields: Any) -> Any:
        """Return the request's context manager, for reading the reply piece by piece."""
        return self.session.post(
            f"{self._gateway.url}/v1/chat/completions",
            json=chat_body(text, **fields),
            headers=self._gateway.auth,
        )


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}

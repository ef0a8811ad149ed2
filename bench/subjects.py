"""What is measured, one class each: how it is configured and started, and how to talk to it.

In: where the upstream is, and a folder to work in. Out: a running program and the URL, headers and
version to use. Each gets its documented minimal configuration for one OpenAI-compatible upstream,
one process, one core. None may reach beyond loopback.
"""

import asyncio
import getpass
import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from asks import MODEL
from machine import first_line
from processes import Program, free_port, plain_env

import groxy
from groxy.core.grants import Caps, KeyGrant, Rates
from groxy.core.money import TICKS_PER_USD
from groxy.ledger.trail import now_ms
from groxy.settings.sections import DEFAULT_STORE_URL
from groxy.store.database import Database
from groxy.store.keys import KeyRole, create_key
from groxy.store.ledger import Entry, Kind, enter, user_side
from groxy.store.secrets import InstallationSecret
from groxy.store.users import create_user

CALLER_KEY = "sk-bench-caller"
UPSTREAM_KEY = "sk-bench-upstream"
_READY_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where subjects work."""

    work: Path
    upstream_port: int
    core: int


class Subject:
    """One thing that is measured. This one is the upstream itself, without any gateway."""

    name = "direct"
    title = "no gateway"
    ready_path = "/stats"
    measures: frozenset[str] | None = None
    """The measures that it takes part in; None for all."""
    upstream_dialect = "chat"
    """The dialect in which the upstream is asked."""

    def __init__(self, place: Place) -> None:
        self.work = place.work / self.name
        self.upstream_port = place.upstream_port
        self.core = place.core
        self.port = 0
        self.headers = [f"Authorization: Bearer {UPSTREAM_KEY}"]
        self.start_s = 0.0
        self.program: Program | None = None

    @property
    def url(self) -> str:
        """Where chat requests go."""
        return f"http://127.0.0.1:{self.port or self.upstream_port}/v1/chat/completions"

    @property
    def upstream_url(self) -> str:
        """The upstream's address, as gateways want it."""
        return f"http://127.0.0.1:{self.upstream_port}/v1"

    def takes_part_in(self, measure: str) -> bool:
        """Return whether this measure is for it."""
        return self.measures is None or measure in self.measures

    def why_missing(self) -> str:
        """Return why it cannot be measured here; empty when it can."""
        return ""

    def version(self) -> str:
        """Return its version."""
        return ""

    def start(self) -> None:
        """Start it and wait until it is ready."""
        self.work.mkdir(parents=True, exist_ok=True)
        command, env = self.command()
        if not command:
            return
        self.program = Program.start(
            self.name,
            command,
            core=self.core,
            env=plain_env(self.work, **env),
            log=self.work / f"{self.name}.log",
        )
        self.start_s = self.program.wait_ready(self.port, self.ready_path, timeout_s=_READY_S)

    def stop(self) -> None:
        """Stop it."""
        program, self.program = self.program, None
        if program is not None:
            program.stop()

    def command(self) -> tuple[list[str], dict[str, str]]:
        """Write its settings; return how to start it and what it needs in its environment."""
        return [], {}


class Groxy(Subject):
    """This gateway: SQLite with every commit synced, a key, metrics, request logs to a file."""

    name = "groxy"
    title = "Groxy"
    ready_path = "/ready"
    account = 'upstream = "xai"\n'
    """Whose account it is, and what else has to be said of it."""

    def version(self) -> str:
        """Return its version."""
        return groxy.__version__

    def command(self) -> tuple[list[str], dict[str, str]]:
        """Write settings with one account that lives at the upstream."""
        self.port = free_port()
        self.headers = [f"Authorization: Bearer {CALLER_KEY}"]
        settings = self.work / "groxy.toml"
        settings.write_text(
            f'[app]\napi_key = "{CALLER_KEY}"\napp_key = "adm-bench"\n'
            f'[[accounts]]\nname = "bench"\napi_key = "{UPSTREAM_KEY}"\n'
            f'base_url = "{self.upstream_url}"\n{self.account}'
        )
        program = Path(sys.executable).with_name("groxy")
        command = [str(program), "serve", "--config", str(settings), "--port", str(self.port)]
        return [*command, "--data-dir", str(self.work / "data")], {}

    def forget(self) -> None:
        """Remove its data folder, so that the next start is a first start."""
        shutil.rmtree(self.work / "data", ignore_errors=True)


class Cross(Groxy):
    """This gateway between two dialects: callers speak chat, its only account Responses."""

    name = "cross"
    title = "Groxy, translating"
    # Starts and memory are those of the other lane, and Responses tell usage only at the end.
    measures = frozenset({"latency", "rps1", "rps64", "first", "body", "burst", "single", "paced"})
    upstream_dialect = "responses"
    account = 'upstream = "openai_compatible"\n[accounts.options]\ndialects = "responses"\n'


class Metered(Groxy):
    """This gateway for callers who pay and have limits: each request is held for and charged."""

    name = "metered"
    title = "Groxy, holding and charging"
    measures = frozenset({"latency", "rps1", "rps64", "first", "body", "burst", "single", "paced"})

    def command(self) -> tuple[list[str], dict[str, str]]:
        """Write settings, and a user with credits and a key with limits into its database."""
        command, env = super().command()
        key = asyncio.run(_paying_key(self.work / "data"))
        self.headers = [f"Authorization: Bearer {key}"]
        return command, env


async def _paying_key(folder: Path) -> str:
    """Return a key of a user with 10,000 dollars; its limits are there and never reached."""
    folder.mkdir(parents=True, exist_ok=True)
    database = await Database.open(DEFAULT_STORE_URL, folder)
    try:
        user = await create_user(database, name="bench")
        rates = Rates(requests=10**8, tokens=10**9, concurrency=10**5)
        grant = KeyGrant(rates=rates, caps=Caps(day=10_000 * TICKS_PER_USD))
        key, _ = await create_key(
            database,
            InstallationSecret.of(folder),
            name="bench",
            role=KeyRole.CALLER,
            user_id=user.id,
            grant=grant,
        )
        side = user_side(user.id)
        line = Entry(
            "grant:bench",
            now_ms(),
            Kind.GRANT.value,
            "gifts",
            side,
            10_000 * TICKS_PER_USD,
            user.id,
            "",
            "",
            "for the bench",
        )
        async with database.transaction() as connection:
            await enter(connection, [line])
    finally:
        await database.close()
    return key


class Bare(Subject):
    """The yardstick: a relay on the parts that Groxy is built from, which does nothing else."""

    name = "bare"
    title = "bare relay"
    ready_path = "/"
    measures = frozenset({"start", "latency", "rps1", "rps64", "body"})

    def command(self) -> tuple[list[str], dict[str, str]]:
        """Return how to start it; it has no settings."""
        self.port = free_port()
        script = Path(__file__).with_name("relay.py")
        return [sys.executable, str(script), str(self.port), self.upstream_url], {}


class Nginx(Subject):
    """A plain proxy: what relaying costs when nothing is looked at."""

    name = "nginx"
    title = "nginx"

    def why_missing(self) -> str:
        """Return whether nginx is installed."""
        return "" if self._program() else "nginx is not installed"

    def version(self) -> str:
        """Return its version."""
        return first_line([self._program(), "-v"]).rpartition("/")[2]

    def command(self) -> tuple[list[str], dict[str, str]]:
        """Write a configuration with one worker and kept-alive connections to the upstream."""
        self.port = free_port()
        config = self.work / "nginx.conf"
        config.write_text(self._config())
        (self.work / "tmp").mkdir(exist_ok=True)
        return [self._program(), "-p", str(self.work), "-c", str(config), "-e", "stderr"], {}

    def _program(self) -> str:
        # Debian keeps it where only root looks.
        path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
        return shutil.which("nginx", path=path) or ""

    def _config(self) -> str:
        user = f"user {getpass.getuser()};" if os.geteuid() == 0 else ""
        temporary = "\n".join(
            f"  {kind}_temp_path tmp/{kind};"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        return f"""{user}
daemon off; worker_processes 1; worker_rlimit_nofile 16384; pid nginx.pid; error_log stderr;
events {{ worker_connections 8192; }}
http {{
{temporary}
  access_log off; keepalive_requests 100000000; client_max_body_size 32m;
  client_body_buffer_size 2m;
  upstream bench {{
    server 127.0.0.1:{self.upstream_port}; keepalive 512; keepalive_requests 100000000;
  }}
  server {{
    listen 127.0.0.1:{self.port} backlog=4096;
    location / {{
      proxy_pass http://bench; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_buffering off; proxy_request_buffering off; proxy_read_timeout 120s;
    }}
  }}
}}
"""


class LiteLlm(Subject):
    """LiteLLM's proxy with a master key and no database, one worker."""

    name = "litellm"
    title = "LiteLLM"
    ready_path = "/health/readiness"

    def __init__(self, place: Place, venv: Path) -> None:
        super().__init__(place)
        self.venv = venv

    def why_missing(self) -> str:
        """Return whether it is in the environment given."""
        is_there = (self.venv / "bin" / "litellm").exists()
        return "" if is_there else "not installed; see --install-peers and --litellm-venv"

    def version(self) -> str:
        """Return its version."""
        code = "import importlib.metadata as m; print(m.version('litellm'))"
        return first_line([str(self.venv / "bin" / "python"), "-c", code])

    def command(self) -> tuple[list[str], dict[str, str]]:
        """Write its configuration file."""
        self.port = free_port()
        self.headers = [f"Authorization: Bearer {CALLER_KEY}"]
        config = self.work / "config.yaml"
        model = {
            "model_name": MODEL,
            "litellm_params": {
                "model": f"openai/{MODEL}",
                "api_base": self.upstream_url,
                "api_key": UPSTREAM_KEY,
            },
        }
        # JSON is YAML too.
        config.write_text(
            json.dumps({"model_list": [model], "general_settings": {"master_key": CALLER_KEY}})
        )
        command = [str(self.venv / "bin" / "litellm"), "--config", str(config)]
        command += ["--host", "127.0.0.1", "--port", str(self.port), "--num_workers", "1"]
        # As its page on production says; and its price list and the like from the package
        # instead of the network.
        local = ("MODEL_COST_MAP", "ANTHROPIC_BETA_HEADERS", "AUTOROUTER_PRESETS")
        env = {f"LITELLM_LOCAL_{name}": "True" for name in (*local, "BLOG_POSTS")}
        env |= {"LITELLM_LOCAL_POLICY_TEMPLATES": "True"}
        return command, env | {"LITELLM_MODE": "PRODUCTION", "LITELLM_LOG": "ERROR"}


class Portkey(Subject):
    """Portkey's open-source gateway without its web console; it checks no keys and keeps no log."""

    name = "portkey"
    title = "Portkey"
    ready_path = "/"

    def __init__(self, place: Place, folder: Path) -> None:
        super().__init__(place)
        self.folder = folder

    def why_missing(self) -> str:
        """Return whether Node and the package are there."""
        if shutil.which("node") is None:
            return "Node.js is not installed"
        return "" if self._script().exists() else "not installed; see --install-peers"

    def version(self) -> str:
        """Return its version."""
        package = self._script().parent.parent / "package.json"
        return str(json.loads(package.read_text())["version"])

    def command(self) -> tuple[list[str], dict[str, str]]:
        """Return how to start it; where requests go is said in each of them."""
        self.port = free_port()
        self.headers = [
            f"Authorization: Bearer {UPSTREAM_KEY}",
            "x-portkey-provider: openai",
            f"x-portkey-custom-host: {self.upstream_url}",
        ]
        node = shutil.which("node") or "node"
        command = [node, str(self._script()), f"--port={self.port}", "--headless"]
        return command, {"NODE_ENV": "production"}

    def _script(self) -> Path:
        package = self.folder / "node_modules" / "@portkey-ai" / "gateway"
        return package / "build" / "start-server.js"


NAMES = tuple(kind.name for kind in (Subject, Nginx, Bare, Groxy, Metered, Cross, Portkey, LiteLlm))
"""Of all subjects, in the order of the report."""


def all_subjects(place: Place, *, litellm_venv: Path, portkey_folder: Path) -> list[Subject]:
    """Return every subject, installed or not, in the order of `NAMES`: the fast ones come first."""
    return [
        Subject(place),
        Nginx(place),
        Bare(place),
        Groxy(place),
        Metered(place),
        Cross(place),
        Portkey(place, portkey_folder),
        LiteLlm(place, litellm_venv),
    ]

"""`groxy serve`: start the gateway, say how to use it, and serve until told to stop."""

import asyncio
import gc
import os
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Annotated, Any

import typer

from groxy.app import running
from groxy.cli.banner import NewKeys, banner, loopback_of
from groxy.cli.context import Config, DataDir, loaded_settings, opened_accounts, opened_store
from groxy.cli.http_server import serve_workers, server_of
from groxy.core.errors import ErrorKind, GroxyError
from groxy.observe import logs
from groxy.observe.metrics import MULTIPROCESS_VARIABLE
from groxy.routing.account import Account
from groxy.settings import Loaded, Settings
from groxy.store.database import Database
from groxy.store.keys import KeyRole, create_key, list_keys
from groxy.store.secrets import InstallationSecret

_ASK_AGAIN_S = 0.01
_NAMED = 8
"""Accounts that the banner names."""
_GOODBYE_S = 2.0
"""For telling clients that their requests are ended."""
_ENTER_S = 1.0
"""For entering in the books what a client did not wait for, once the server has gone."""

Host = Annotated[str | None, typer.Option("--host", help="Address to listen on.")]
Port = Annotated[int | None, typer.Option("--port", help="Port to listen on.")]


def serve(
    config: Config = None, host: Host = None, port: Port = None, data_dir: DataDir = None
) -> None:
    """Start the gateway."""
    loaded = loaded_settings(config, data_dir, {"server.host": host, "server.port": port})
    settings = loaded.settings
    logs.configure(level=settings.logging.level, form=settings.logging.format)
    check_port_is_free(settings.server.host, settings.server.port)
    if settings.server.workers > 1:
        _serve_with_workers(loaded)
    else:
        run_loop(_serve_here(loaded))


def run_loop(work: Coroutine[Any, Any, None]) -> None:
    """Run `work` on the fastest event loop there is."""
    try:
        import uvloop
    except ImportError:
        asyncio.run(work)
    else:
        uvloop.run(work)


async def _serve_here(loaded: Loaded) -> None:
    """Serve from this process: the usual way, and the lightest."""
    settings = loaded.settings
    async with running(loaded) as application:
        new_keys = await make_first_keys(settings, application.database, application.secret)
        await application.loader.load_keys()
        text = banner(loaded, new_keys, _serving(application.directory.accounts))
        print_once_open(text, settings.server.host, settings.server.port)
        calm_garbage_collection()
        await serve_asgi(
            application,
            settings.server.host,
            settings.server.port,
            grace_s=settings.server.shutdown_grace_s,
            end_open_requests=application.end_open_requests,
        )
        await application.drain(_ENTER_S)


def calm_garbage_collection() -> None:
    """Collect rarely, and never walk what was there at the start.

    A full collection over everything imported took 50 ms, which every hundredth request felt
    (p99 68 ms before, 23 ms after, at 64 connections).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


async def serve_asgi(
    application: Any,  # noqa: ANN401 - any ASGI application
    host: str,
    port: int,
    *,
    grace_s: float = 0.0,
    end_open_requests: Callable[[], None] = lambda: None,
) -> None:
    """Serve an ASGI application without lifespan until the process is told to stop.

    Then take no more connections and wait for the open ones. After `grace_s`, or a second signal,
    `end_open_requests` is called; who does not take even that is left behind.
    """
    server = server_of(application, host, port)
    loop = asyncio.get_running_loop()
    patience = asyncio.timeout(None)

    def stop() -> None:
        left_s = grace_s if patience.when() is None else 0.0
        server.stop()
        loop.call_later(left_s, end_open_requests)
        patience.reschedule(loop.time() + left_s + _GOODBYE_S)

    for signal_number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signal_number, stop)
    with suppress(TimeoutError):
        async with patience:
            await server.run_here()


async def make_first_keys(
    settings: Settings, database: Database, secret: InstallationSecret
) -> NewKeys:
    """Make the keys that the settings leave out, if the store has never had one of their kind."""
    has_roles = {key.role for key in await list_keys(database)}
    caller = operator = None
    if settings.app.api_key is None and KeyRole.CALLER not in has_roles:
        caller, _ = await create_key(database, secret, name="first", role=KeyRole.CALLER)
    if settings.app.app_key is None and KeyRole.OPERATOR not in has_roles:
        operator, _ = await create_key(database, secret, name="first", role=KeyRole.OPERATOR)
    return NewKeys(caller, operator)


def _serving(accounts: Sequence[Account]) -> list[str]:
    """Return who serves, for the banner: a few by name."""
    named = [
        f"{account.name} ({account.upstream.name})"
        if account.name != account.upstream.name
        else account.name
        for account in accounts[:_NAMED]
    ]
    return [*named, f"and {len(accounts) - _NAMED} more"] if len(accounts) > _NAMED else named


def print_once_open(text: str, host: str, port: int) -> None:
    """Print `text` as soon as requests to this port are answered; return at once.

    Servers do not say when they are ready, so a thread asks, which works for all of them.
    """
    threading.Thread(target=_print_once_open, args=(text, host, port), daemon=True).start()


def _print_once_open(text: str, host: str, port: int) -> None:
    from http.client import HTTPConnection, HTTPException

    while True:
        connection = HTTPConnection(loopback_of(host), port, timeout=5)
        try:
            connection.request("GET", "/health")
            connection.getresponse()
        except (OSError, HTTPException):
            time.sleep(_ASK_AGAIN_S)
        else:
            typer.echo(text)
            return
        finally:
            connection.close()


def _serve_with_workers(loaded: Loaded) -> None:
    """Serve from several processes; each builds its own application (`cli.worker`)."""
    settings = loaded.settings
    asyncio.run(_prepare(loaded))
    metrics_dir = settings.data_dir / "metrics"
    shutil.rmtree(metrics_dir, ignore_errors=True)
    metrics_dir.mkdir()
    os.environ[MULTIPROCESS_VARIABLE] = str(metrics_dir)
    os.environ["GROXY_DATA_DIR"] = str(settings.data_dir)
    os.environ["GROXY_SERVER__HOST"] = settings.server.host
    os.environ["GROXY_SERVER__PORT"] = str(settings.server.port)
    if loaded.config is not None:
        os.environ["GROXY_CONFIG"] = str(loaded.config)
    serve_workers(
        "groxy.cli.worker:create_app",
        settings.server.host,
        settings.server.port,
        workers=settings.server.workers,
        grace_s=settings.server.shutdown_grace_s,
    )


async def _prepare(loaded: Loaded) -> None:
    """Do once what workers must not do at the same time: migrate, and make the first keys."""
    settings = loaded.settings
    async with opened_accounts(loaded) as accounts, opened_store(loaded) as store:
        new_keys = await make_first_keys(settings, store.database, store.secret)
    text = banner(loaded, new_keys, _serving(accounts))
    print_once_open(text, settings.server.host, settings.server.port)


def check_port_is_free(host: str, port: int) -> None:
    """Raise BAD_REQUEST when somebody listens there; our server would do so beside them."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        if sys.platform != "win32":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            message = (
                f"Cannot listen on {host} port {port}: {error.strerror}. "
                "Stop what uses it, or choose another with --port."
            )
            raise GroxyError(ErrorKind.BAD_REQUEST, message, param="server.port") from None

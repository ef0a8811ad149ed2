"""`groxy serve` in parts; the whole of it is run in tests/e2e."""

import asyncio
import gc
import os
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from groxy.cli import serve
from groxy.cli.context import loaded_settings, opened_store, run
from groxy.core.errors import ErrorKind, GroxyError
from groxy.settings import load_settings
from groxy.store.keys import KeyRole, list_keys, revoke_key
from tests.servers import free_port

pytestmark = pytest.mark.e2e


def settings(tmp_path, **flags):
    given = {name.replace("__", "."): value for name, value in flags.items()}
    return load_settings(data_dir=tmp_path, flags=given, environ={}).settings


async def first_keys(tmp_path, **flags):
    async with opened_store(loaded_settings(None, tmp_path)) as store:
        made = await serve.make_first_keys(
            settings(tmp_path, **flags), store.database, store.secret
        )
        return made, await list_keys(store.database)


def test_the_first_start_makes_a_key_of_each_kind(tmp_path):
    made, stored = run(first_keys(tmp_path))

    assert made.caller.startswith("sk-grok-")
    assert made.operator.startswith("adm-")
    assert {key.role for key in stored} == {KeyRole.CALLER, KeyRole.OPERATOR}


def test_a_later_start_makes_none(tmp_path):
    run(first_keys(tmp_path))

    made, stored = run(first_keys(tmp_path))

    assert made == (None, None)
    assert len(stored) == 2


def test_keys_of_the_settings_need_none_made(tmp_path):
    made, stored = run(first_keys(tmp_path, app__api_key="sk-a", app__app_key="adm-a"))

    assert (made, stored) == ((None, None), [])


def test_open_mode_makes_no_callers_key(tmp_path):
    made, _ = run(first_keys(tmp_path, app__api_key=""))

    assert made.caller is None
    assert made.operator is not None


def test_a_key_that_was_revoked_is_not_made_again(tmp_path):
    async def revoke_all():
        async with opened_store(loaded_settings(None, tmp_path)) as store:
            for key in await list_keys(store.database):
                await revoke_key(store.database, key.id)

    run(first_keys(tmp_path))
    run(revoke_all())

    made, _ = run(first_keys(tmp_path))

    assert made == (None, None)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_a_free_port_is_fine(host):
    serve.check_port_is_free(host, free_port())


def test_a_port_in_use_is_refused_with_a_way_out():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(GroxyError) as caught:
            serve.check_port_is_free("127.0.0.1", taken.getsockname()[1])

    assert caught.value.kind is ErrorKind.BAD_REQUEST
    assert "--port" in caught.value.message


def test_an_address_of_another_machine_is_refused():
    with pytest.raises(GroxyError):
        serve.check_port_is_free("192.0.2.1", free_port())


def test_the_text_is_printed_once_requests_are_answered_and_not_before(capsys):
    port = free_port()
    serve.print_once_open("It runs.", "0.0.0.0", port)
    assert capsys.readouterr().out == ""

    with socket.create_server(("127.0.0.1", port)) as server, ThreadPoolExecutor(1) as pool:
        answering = pool.submit(_answer_one, server)
        answering.result(10)
    _wait_for_thread()

    assert capsys.readouterr().out == "It runs.\n"


def _answer_one(server):
    connection, _ = server.accept()
    with connection:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


def _wait_for_thread():
    for thread in threading.enumerate():
        if thread.daemon and "_print_once_open" in thread.name:
            thread.join(10)


class App:
    """An ASGI application that answers when it is let."""

    def __init__(self):
        self.go_on = asyncio.Event()
        self.open = set()
        self.ended = []

    async def __call__(self, scope, receive, send):
        task = asyncio.current_task()
        self.open.add(task)
        try:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"begun ", "more_body": True})
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.ended.append("cut")
        finally:
            self.open.discard(task)
        await send({"type": "http.response.body", "body": b"ended"})

    def end_open_requests(self):
        for task in self.open:
            task.cancel()


async def _connection(port):
    while True:
        try:
            return await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.01)


async def _open_request(port):
    reader, writer = await _connection(port)
    writer.write(b"GET / HTTP/1.0\r\n\r\n")
    await reader.readuntil(b"begun ")
    return reader, writer


async def _stopped(app, signals, grace_s):
    """Serve one request, send these signals, and return the rest of its reply."""
    port = free_port()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(
            serve.serve_asgi(
                app, "127.0.0.1", port, grace_s=grace_s, end_open_requests=app.end_open_requests
            )
        )
        reader, writer = await _open_request(port)
        for number in signals:
            os.kill(os.getpid(), number)
            await asyncio.sleep(0.1)
        rest = await reader.read()
        writer.close()
    return rest


async def test_after_a_signal_an_open_request_may_end():
    app = App()
    asyncio.get_running_loop().call_later(1.0, app.go_on.set)

    rest = await _stopped(app, [signal.SIGTERM], grace_s=20)

    assert rest == b"ended"
    assert app.ended == []


async def test_after_the_grace_an_open_request_is_ended():
    app = App()

    rest = await _stopped(app, [signal.SIGTERM], grace_s=0.3)

    assert rest == b"ended"
    assert app.ended == ["cut"]


async def test_a_second_signal_ends_the_grace():
    app = App()

    await asyncio.wait_for(_stopped(app, [signal.SIGINT, signal.SIGINT], grace_s=60), 20)

    assert app.ended == ["cut"]


async def test_a_request_that_does_not_end_even_then_is_left_behind():
    class Stubborn(App):
        def end_open_requests(self):
            pass

    app, port = Stubborn(), free_port()
    async with asyncio.timeout(20):
        serving = asyncio.ensure_future(serve.serve_asgi(app, "127.0.0.1", port, grace_s=0.1))
        _, writer = await _open_request(port)
        os.kill(os.getpid(), signal.SIGTERM)

        await serving

    assert app.open
    app.go_on.set()
    writer.close()
    while app.open:
        await asyncio.sleep(0.01)


def test_what_was_there_at_the_start_is_never_walked_by_the_collector():
    try:
        serve.calm_garbage_collection()

        assert gc.get_freeze_count() > 0
        assert gc.get_threshold()[0] >= 10_000
    finally:
        gc.unfreeze()
        gc.set_threshold(700, 10, 10)


def test_the_uvloop_runs_the_work():
    seen = []

    async def work():
        seen.append(type(asyncio.get_running_loop()).__module__)

    serve.run_loop(work())

    assert seen == ["uvloop"]

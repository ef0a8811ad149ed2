"""The first minutes of a newcomer: one command, then what it printed, pasted."""

import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.awake import awake_s
from tests.e2e.running import Gateway, clean_environment, groxy, poll, running
from tests.servers import free_port

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def gateway(tmp_path_factory) -> Iterator[Gateway]:
    """A gateway of which nothing is configured but where it listens and keeps its data."""
    with running(Gateway(folder=tmp_path_factory.mktemp("first"))) as gateway:
        poll(lambda: "Try it:" in gateway.said, what="the banner")
        gateway.key = _line(gateway.said, "API key")
        yield gateway


def _line(said: str, label: str) -> str:
    found = re.search(rf"^  {label} +(.*)$", said, re.MULTILINE)
    assert found is not None, f"no line {label!r} in:\n{said}"
    return found[1]


def _pasted(said: str, beginning: str) -> str:
    """Return what a newcomer would copy: from a line that begins so to the next empty line."""
    found = re.search(rf"^{beginning}.*?(?=\n\n|\Z)", said, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[0]


def test_the_banner_tells_everything_one_needs(gateway):
    said = gateway.said
    assert _line(said, "base URL") == f"{gateway.url}/v1"
    assert _line(said, "API key").startswith("sk-grok-")
    assert _line(said, "admin key").startswith("adm-")
    assert _line(said, "serving").startswith("sandbox")
    assert _line(said, "data folder") == str(gateway.data_dir)


def test_the_printed_curl_line_answers(gateway):
    line = _pasted(gateway.said, "curl ")
    assert "\n" not in line
    done = subprocess.run(
        ["bash", "-c", line],
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
        env=clean_environment(gateway.folder),
    )
    assert '"chat.completion"' in done.stdout
    assert "Hello!" in done.stdout, "the sandbox quotes what it was asked"


def test_the_printed_python_snippet_answers(gateway):
    snippet = _pasted(gateway.said, "from openai import")
    assert len(snippet.splitlines()) == 5
    done = subprocess.run(
        [sys.executable, "-c", snippet],
        check=True,
        capture_output=True,
        text=True,
        timeout=50,
        env=clean_environment(gateway.folder),
    )
    assert "Hello!" in done.stdout


def test_the_printed_admin_key_opens_the_admin_api(gateway):
    key = _line(gateway.said, "admin key")
    reply = gateway.get("/admin/api/verify", {"Authorization": f"Bearer {key}"})
    assert reply.status == 200


def test_a_second_start_shows_no_key_and_knows_the_old_one(tmp_path):
    with running(Gateway(folder=tmp_path)) as gateway:
        poll(lambda: "Try it:" in gateway.said, what="the banner")
        gateway.key = _line(gateway.said, "API key")
        admin_key = _line(gateway.said, "admin key")
        assert gateway.stop() == 0
        gateway.start()
        poll(lambda: "Try it:" in gateway.said, what="the banner")
        assert "sk-grok-" not in gateway.said
        assert "adm-" not in gateway.said
        assert gateway.ask().status == 200
        assert gateway.get("/admin/api/verify", {"x-api-key": admin_key}).status == 200


def test_no_key_is_in_the_log_or_in_any_file(gateway):
    keys = [_line(gateway.said, "API key"), _line(gateway.said, "admin key")]
    gateway.ask()
    gateway.get("/v1/models", {"x-api-key": keys[1]})
    for file in [*gateway.data_dir.rglob("*"), gateway.folder / "stderr.txt"]:
        if file.is_file():
            content = file.read_bytes()
            assert not any(key.encode() in content for key in keys), file


def test_the_data_folder_is_the_owners_alone(gateway):
    assert gateway.data_dir.stat().st_mode & 0o077 == 0
    assert (gateway.data_dir / "secret.key").stat().st_mode & 0o077 == 0


def test_a_key_made_while_it_runs_works_within_a_second_and_revoked_no_longer(gateway):
    key = gateway.command("key", "create", "--name", "mine")
    headers = {"x-api-key": key}
    began = awake_s()
    poll(lambda: gateway.get("/v1/models", headers).status == 200, what="the new key")
    assert awake_s() - began <= 1.0
    rows = gateway.command("key", "list").splitlines()
    (key_id,) = [row.split()[0] for row in rows if row.split()[3:4] == [key[-4:]]]
    gateway.command("key", "revoke", key_id)
    began = awake_s()
    poll(lambda: gateway.get("/v1/models", headers).status == 401, what="the refusal")
    assert awake_s() - began <= 1.0


def test_an_account_added_while_it_runs_serves_within_a_second(gateway, upstream):
    seat = upstream.seat("added")
    file = gateway.folder / "xai.key"
    file.write_text("xai-of-the-test\n")
    options = ["--api-key-file", str(file), "--base-url", seat.base_url]
    gateway.command("account", "add", "mine", *options)
    began = awake_s()
    poll(lambda: "scripted upstream" in gateway.ask().text, what="serving from the account")
    assert awake_s() - began <= 1.0
    assert seat.calls[0].headers["authorization"] == "Bearer xai-of-the-test"
    gateway.command("account", "remove", "mine")
    poll(lambda: "scripted upstream" not in gateway.ask().text, what="the sandbox's return")


def test_the_banner_comes_when_the_port_answers(tmp_path):
    gateway = Gateway(folder=tmp_path)
    gateway.spawn()
    try:
        poll(lambda: "Groxy is running" in gateway.said, within_s=30, what="the banner")
        assert gateway.get("/health").status == 200, "the first request after the banner"
    finally:
        gateway.kill()


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_at_once_when_it_is_told_to(tmp_path, signal_number):
    with running(Gateway(folder=tmp_path)) as gateway:
        with socket.create_connection(("127.0.0.1", gateway.port)):  # idle, and no reason to wait
            assert gateway.get("/health").status == 200
            began = time.monotonic()
            assert gateway.process is not None
            gateway.process.send_signal(signal_number)
            assert gateway.process.wait(20) == 0
            assert time.monotonic() - began < 3
        assert "Traceback" not in gateway.log


def test_a_port_in_use_is_told_and_costs_no_key(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = groxy(tmp_path, "serve", "--port", str(port), "--data-dir", str(tmp_path / "data"))
    assert done.returncode == 2
    assert f"port {port}" in done.stderr
    assert "Traceback" not in done.stderr
    listed = groxy(tmp_path, "key", "list", "--data-dir", str(tmp_path / "data"))
    assert "caller" not in listed.stdout, "a key that nobody was shown"


def test_starting_takes_no_longer_than_a_generous_bound(tmp_path):
    began = time.monotonic()
    with running(Gateway(folder=tmp_path)):
        assert time.monotonic() - began < 15, "bench measures it; here it must only not hang"


def test_a_database_that_cannot_be_written_is_told_without_a_traceback(tmp_path):
    folder = tmp_path / "data"
    groxy(tmp_path, "key", "list", "--data-dir", str(folder))
    (folder / "groxy.db").write_bytes(b"this is no database " * 100)
    done = groxy(tmp_path, "serve", "--port", str(free_port()), "--data-dir", str(folder))
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "database" in done.stderr


def test_a_data_folder_that_cannot_be_made_is_told_without_a_traceback(tmp_path):
    (tmp_path / "file").write_text("in the way")
    done = groxy(tmp_path, "serve", "--data-dir", str(tmp_path / "file" / "data"))
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_many_starts_at_once_leave_one_database_that_works(tmp_path):
    """The migration and the secret are made once, whoever is first."""
    options = ["--data-dir", str(tmp_path / "data")]
    commands = [
        subprocess.Popen(
            [sys.executable, "-m", "groxy", "key", "create", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=clean_environment(tmp_path),
        )
        for _ in range(3)
    ]
    outcomes = [(*command.communicate(timeout=50), command.returncode) for command in commands]
    assert [code for _, _, code in outcomes] == [0] * 3, [err for _, err, _ in outcomes]
    with running(Gateway(folder=tmp_path)) as gateway:
        for key, _, _ in outcomes:
            gateway.key = key.strip()
            assert gateway.get("/v1/models", gateway.auth).status == 200

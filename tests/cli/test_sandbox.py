"""`groxy sandbox`, run as a user does."""

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

pytestmark = pytest.mark.e2e


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _read(url: str, data: bytes | None = None) -> dict[str, object]:
    deadline = time.monotonic() + 20
    while True:
        try:
            with urllib.request.urlopen(url, data) as reply:
                found: dict[str, object] = json.load(reply)
                return found
        except urllib.error.URLError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_it_is_told_to_stop(signal_number):
    port = _free_port()
    command = ["sandbox", "--port", str(port), "--tokens-per-s", "100"]
    with subprocess.Popen(
        [sys.executable, "-m", "groxy", *command], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            base_url = f"http://127.0.0.1:{port}/v1"
            assert _read(f"{base_url}/models")["object"] == "list"
            started = time.monotonic()
            text = "Hello [[sandbox: tokens=20]]"
            body = {"model": "m", "messages": [{"role": "user", "content": text}]}
            reply = _read(f"{base_url}/chat/completions", json.dumps(body).encode())
            assert reply["object"] == "chat.completion"
            assert time.monotonic() - started >= 0.2
        finally:
            process.send_signal(signal_number)
            said, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert base_url in said


def test_a_negative_pace_is_refused():
    done = subprocess.run(
        [sys.executable, "-m", "groxy", "sandbox", "--tokens-per-s", "-1"],
        check=False,
        capture_output=True,
        timeout=20,
    )
    assert done.returncode == 2


def test_a_port_in_use_is_refused():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = subprocess.run(
            [sys.executable, "-m", "groxy", "sandbox", "--port", str(taken.getsockname()[1])],
            check=False,
            capture_output=True,
            text=True,
            timeout=20,
        )
    assert done.returncode == 2
    assert "answers" not in done.stdout
    assert "--port" in done.stderr

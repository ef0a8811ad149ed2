"""Shaking: a command runs to its end all the same, and time passes it by now and then."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tools import shake

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")

_STEPS = """
import time
last, longest = time.monotonic(), 0.0
for _ in range(200):
    time.sleep(0.01)
    now = time.monotonic()
    last, longest = now, max(longest, now - last)
raise SystemExit(7 if longest > 0.09 else 0)
"""


def test_the_command_stands_still_now_and_then_and_its_exit_code_is_returned():
    assert shake.main(["--seed", "3", sys.executable, "-c", _STEPS]) == 7


def test_what_was_stopped_already_stays_so():
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as sleeper:
        sleeper.send_signal(signal.SIGSTOP)
        deadline = time.monotonic() + 10
        while sleeper.pid in shake.running_under(os.getpid()):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        sleeper.kill()


def test_processes_under_processes_are_found():
    nested = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])"
    with subprocess.Popen([sys.executable, "-c", nested], stdin=subprocess.PIPE) as outer:
        deadline = time.monotonic() + 10
        while len(found := shake.running_under(outer.pid)) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert found[0] == outer.pid
        assert outer.stdin is not None
        outer.stdin.write(b"\n")

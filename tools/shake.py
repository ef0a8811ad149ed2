#!/usr/bin/env python3
"""Run a command on a machine that stands still now and then, as a guest of a busy host does.

Every process under the command is stopped for 0.1 to 0.5 s, again and again, then continued; those
that were stopped already are let be. The exit code is the command's. `make shake` runs the tests
so: one that fails only there says more of the machine than of Groxy, or has found a race.

    python tools/shake.py [--seed N] COMMAND ...

Linux only: it reads /proc. Standard library only.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")
_RUNS_S = (0.3, 1.5)
_STOPS_S = (0.1, 0.2, 0.3, 0.5)
_NOT_RUNNING = frozenset("TtZX")


def running_under(pid: int) -> list[int]:
    """Return a process and all under it, but for those that are stopped or dead and what is theirs.

    Those nearest to `pid` come first.
    """
    children: dict[int, list[int]] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):  # it has ended meanwhile
                # pid (name) state parent …; the name may have any character.
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                if state not in _NOT_RUNNING:
                    children.setdefault(int(parent), []).append(int(entry.name))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found


def signal_all(pids: Iterable[int], number: signal.Signals) -> None:
    """Send a signal to processes that may have ended."""
    for pid in pids:
        with suppress(OSError):
            os.kill(pid, number)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, default=1, help="of when it stands still")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    given = parser.parse_args(arguments)
    luck = random.Random(given.seed)  # noqa: S311 - no secret
    with subprocess.Popen(given.command) as process:
        while process.poll() is None:
            time.sleep(luck.uniform(*_RUNS_S))
            stopped = running_under(process.pid)
            signal_all(stopped, signal.SIGSTOP)
            time.sleep(luck.choice(_STOPS_S))
            signal_all(stopped, signal.SIGCONT)
    return process.returncode


if __name__ == "__main__":
    sys.exit(main())

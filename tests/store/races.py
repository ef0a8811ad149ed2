"""Several processes that do the same thing at the same moment."""

import subprocess
import sys
from collections.abc import Sequence


def run_at_once(program: str, arguments: Sequence[str], *, processes: int) -> list[tuple[str, str]]:
    """Run a program's text in several processes; return what each wrote to stdout and stderr.

    The program imports what it needs, calls `ready()`, and goes on when all others are as far.
    """
    command = [sys.executable, "-c", _READY + program, *arguments]
    pipe = subprocess.PIPE
    started = [
        subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        for _ in range(processes)
    ]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in started:
        assert process.stdin is not None
        process.stdin.write("now\n")
        process.stdin.flush()
    return [process.communicate() for process in started]


_READY = """
import sys

def ready():
    print("ready", flush=True)
    sys.stdin.readline()
"""

"""Programs that a run starts: pinned to a core, measured through /proc, and stopped again.

In: a command line. Out: its CPU time and memory, those of its children included. Everything
started here ends with the run, also when that is interrupted or killed. Linux only.
"""

import ctypes
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PR_SET_PDEATHSIG = 1
_STOP_S = 15.0
_POLL_S = 0.005
USER_TICKS = 11
_SESSION, _GONE_TICKS = 3, 13
"""Fields of /proc/<pid>/stat, counted from the state, which follows the program's name."""
_libc = ctypes.CDLL(None)


@dataclass(slots=True)
class Program:
    """A program that runs, and all that it started: they share its session."""

    name: str
    process: "subprocess.Popen[bytes]"
    log: Path
    started: float

    @classmethod
    def start(
        cls, name: str, command: Sequence[str], *, core: int, env: Mapping[str, str], log: Path
    ) -> "Program":
        """Start a program on one core; its output goes to `log`."""
        with log.open("ab") as output:
            started = time.perf_counter()
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(env),
                cwd=log.parent,
                start_new_session=True,
                preexec_fn=lambda: _prepare(core),  # noqa: PLW1509 - a run has one thread
            )
        return cls(name, process, log, started)

    def cpu_s(self) -> float:
        """Return the CPU time used so far, in seconds, with that of children."""
        fields = [stat_of(pid) for pid in self._pids()]
        ticks = sum(int(stat[USER_TICKS]) + int(stat[USER_TICKS + 1]) for stat in fields if stat)
        own = stat_of(self.process.pid)
        if own:
            ticks += int(own[_GONE_TICKS]) + int(own[_GONE_TICKS + 1])
        return ticks / _TICKS_PER_S

    def rss_mb(self) -> float:
        """Return the resident memory in MB (10^6 bytes), children included."""
        return sum(_rss_kb(pid) for pid in self._pids()) * 1024 / 1e6

    def wait_ready(self, port: int, path: str, *, timeout_s: float) -> float:
        """Return the seconds from the start to the first 200 at `path`."""
        ends_at = time.perf_counter() + timeout_s
        while time.perf_counter() < ends_at:
            if self.process.poll() is not None:
                raise ProgramError(f"{self.name} ended with {self.process.returncode}", self.log)
            if get(port, path)[0] == 200:
                return time.perf_counter() - self.started
            time.sleep(_POLL_S)
        raise ProgramError(f"{self.name} was not ready within {timeout_s:g} s", self.log)

    def stop(self) -> None:
        """Stop it and what it started."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                print(f"  {self.name} did not stop within {_STOP_S:g} s and is killed")
        for pid in self._pids():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait()

    def _pids(self) -> list[int]:
        session = str(self.process.pid)
        return [
            int(entry.name)
            for entry in Path("/proc").iterdir()
            if entry.name.isdigit()
            and (stat := stat_of(int(entry.name)))
            and stat[_SESSION] == session
        ]


class ProgramError(Exception):
    """A program failed; the end of its log is in the message."""

    def __init__(self, message: str, log: Path) -> None:
        lines = log.read_text(errors="replace").splitlines()[-12:] if log.exists() else []
        super().__init__("\n    ".join([message, *lines]))


def _prepare(core: int) -> None:
    """Run in the new process: stay on one core, and end when the run ends."""
    os.sched_setaffinity(0, {core})
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def stat_of(pid: int) -> list[str]:
    """Return the fields of /proc/<pid>/stat from the state on; none when it has gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return []
    return text.rpartition(")")[2].split()


def _rss_kb(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmRSS:")), 0)


def get(port: int, path: str, *, timeout_s: float = 2.0) -> tuple[int, bytes]:
    """Ask for a path on loopback; return status and body, or status 0 when nobody answers."""
    connection = HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, HTTPException):
        return 0, b""
    finally:
        connection.close()


def free_port() -> int:
    """Return a port on loopback that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def plain_env(home: Path, **more: str) -> dict[str, str]:
    """Return an environment without the caller's settings: a real credential would be used."""
    path = os.environ.get("PATH", "/usr/bin:/bin")
    return {"PATH": path, "HOME": str(home), "TMPDIR": str(home), "LANG": "C.UTF-8"} | more

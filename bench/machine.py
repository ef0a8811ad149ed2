"""What a run was made on, and whether the machine was busy with something else meanwhile.

In: /proc, package metadata, git. Out: facts for the report, and how busy the two cores were.
"""

import importlib.metadata
import os
import platform
import resource
import statistics
import subprocess
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from processes import USER_TICKS, stat_of

ROOT = Path(__file__).resolve().parent.parent
_PACKAGES = (
    "uvicorn",
    "httptools",
    "uvloop",
    "starlette",
    "aiohttp",
    "msgspec",
    "sqlalchemy",
    "structlog",
)
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_IDLE, _IOWAIT = 3, 4
_PARENT, _KTHREADD = 1, "2"


def facts(work: Path) -> dict[str, object]:
    """Return date, machine, versions and commit; `work` is where databases will be."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _commit(),
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "wrk": first_line(["wrk", "-v"]).partition(" Copyright")[0],
        "file_system": _file_system(work),
        "fsync_ms": round(_fsync_ms(work), 3),
        "load_before": os.getloadavg()[0],
    }


def first_line(command: list[str]) -> str:
    """Return the first line that a program prints, or nothing when it is not there."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except OSError:
        return ""
    return (done.stdout + done.stderr).strip().partition("\n")[0]


def _commit() -> str:
    git = ["git", "-C", str(ROOT), "--no-optional-locks"]
    commit = first_line([*git, "rev-parse", "--short=12", "HEAD"])
    is_changed = first_line([*git, "status", "--porcelain", "--", "src"])
    return commit + (" and changes" if is_changed else "")


def _cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        platform.machine(),
    )


def _file_system(folder: Path) -> str:
    best, kind = "", "unknown"
    for line in Path("/proc/mounts").read_text().splitlines():
        _, mount, found, *_ = line.split()
        if len(mount) > len(best) and folder.is_relative_to(mount):
            best, kind = mount, found
    return kind


def _fsync_ms(folder: Path) -> float:
    """Return how long it takes to make 4 KiB durable, the median of 100."""
    times: list[float] = []
    path = folder / "fsync-probe"
    with path.open("wb") as file:
        for _ in range(100):
            file.write(b"x" * 4096)
            file.flush()
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append((time.perf_counter() - began) * 1000)
    path.unlink()
    return statistics.median(times)


def _busy_s(core: int) -> float:
    """Return how long a core has been busy since the machine started."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name == f"cpu{core}":
            # The last two fields are time of guests, which is in the first two already.
            ticks = [int(field) for field in fields[:8]]
            return (sum(ticks) - ticks[_IDLE] - ticks[_IOWAIT]) / _TICKS_PER_S
    raise ValueError(f"there is no core {core}")


@dataclass(slots=True, kw_only=True)
class Meter:
    """How busy the cores were from `Meter.start` to `read`."""

    cores: tuple[int, int]
    """The gateway's and the one of load generator and upstream."""
    began: float
    busy_s: tuple[float, float]
    children_s: float
    kernel_s: float

    @classmethod
    def start(cls, cores: tuple[int, int]) -> "Meter":
        """Begin."""
        return cls(
            cores=cores,
            began=time.perf_counter(),
            busy_s=(_busy_s(cores[0]), _busy_s(cores[1])),
            children_s=_children_s(),
            kernel_s=_kernel_s(),
        )

    def read(self, known_s: float) -> dict[str, float]:
        """Return the busy share of each core, and what was not ours, in cores.

        `known_s` is CPU time of our programs that still run; those that ended are added here.
        `kernel` is work of kernel threads, such as writing a database's pages to the disk.
        """
        elapsed_s = time.perf_counter() - self.began
        gateway_s, load_s = (
            _busy_s(core) - before for core, before in zip(self.cores, self.busy_s, strict=True)
        )
        kernel_s = _kernel_s() - self.kernel_s
        ours_s = known_s + _children_s() - self.children_s + kernel_s
        return {
            "gateway_core": round(gateway_s / elapsed_s, 3),
            "load_core": round(load_s / elapsed_s, 3),
            "kernel": round(kernel_s / elapsed_s, 3),
            "others": round((gateway_s + load_s - ours_s) / elapsed_s, 3),
        }


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _kernel_s() -> float:
    """Return the CPU time of all kernel threads."""
    stats = (stat_of(int(entry.name)) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    ticks = (
        int(stat[USER_TICKS]) + int(stat[USER_TICKS + 1])
        for stat in stats
        if stat and stat[_PARENT] == _KTHREADD
    )
    return sum(ticks) / _TICKS_PER_S

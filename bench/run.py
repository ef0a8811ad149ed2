"""The side-by-side run: every subject in turn, on pinned cores, against the same upstream.

In: the command line. Out: a table on standard output, and with `--out` a Markdown and a JSON file.
Traffic stays on loopback, every load ends by itself, and whatever was started is stopped again,
also on Ctrl-C. `README.md` says how to read the figures.

    make bench ARGS="--quick"
"""

import argparse
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import peers
import report
from machine import ROOT, facts
from measures import FIGURES, MEASURES, Bench, Figure
from probes import MeasureError
from processes import Program, ProgramError, free_port, plain_env
from subjects import NAMES, Groxy, Place, Subject, all_subjects

HERE = Path(__file__).resolve().parent
_WORK = HERE / ".work"
_PAGE = ROOT / "docs" / "guide" / "performance.md"
_SELECTION = "selection"
_FILES_A_STREAM = 4
"""Open files that a slow stream takes at most, in the gateway or beside it, with some to spare."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Measure Groxy side by side with its peers.",
        epilog=f"NAMEs are subjects ({' '.join(NAMES)}) and measures "
        f"({' '.join(MEASURES)} {_SELECTION}); either kind left out means all of it.",
    )
    parser.add_argument("--quick", action="store_true", help="one round, fewer and shorter loads")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME")
    parser.add_argument("--seconds", type=float, help="length of a round; 5, with --quick 2")
    parser.add_argument("--rounds", type=int, help="rounds of a measure; 3, with --quick 1")
    parser.add_argument("--streams", type=int, help="slow streams; 2000, with --quick 500")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write FILE and its .json")
    parser.add_argument("--write-docs", action="store_true", help=f"fill {_PAGE.name}")
    parser.add_argument("--install-peers", action="store_true", help="from PyPI and npm, first")
    parser.add_argument(
        "--peers", type=Path, metavar="DIR", help="where they are; else in the user's cache"
    )
    parser.add_argument("--litellm-venv", type=Path, metavar="DIR", help="an environment of yours")
    parser.add_argument("--cores", default="1,0", help="the gateway's, and the one of the rest")
    parser.add_argument("--soak", type=float, default=0, metavar="MINUTES", help="Groxy's memory")
    parser.add_argument(
        "--work", type=Path, default=_WORK, metavar="DIR", help="where databases are meanwhile"
    )
    parser.add_argument("--keep", action="store_true", help="keep the logs of what was started")
    return parser


class Run:
    """One run, from the first program started to the last one stopped."""

    def __init__(self, options: argparse.Namespace, cores: tuple[int, int], work: Path) -> None:
        self.options = options
        self.cores = cores
        self.work = work
        self.figures: dict[str, dict[str, Figure]] = {}
        self.raw: dict[str, dict[str, list[dict[str, Any]]]] = {}
        self.problems: dict[str, str] = {}
        names = set(options.only)
        self._measures = [name for name in MEASURES if name in names] or list(MEASURES)
        self._wanted = names - set(MEASURES) - {_SELECTION}
        self._skips_subjects = names == {_SELECTION}
        if not options.soak:
            self._measures = [name for name in self._measures if name != "soak"]

    def measure(self) -> tuple[list[Subject], list[dict[str, float]]]:
        """Measure everything; return the subjects and the cost of choosing an account."""
        port = free_port()
        upstream = Program.start(
            "upstream",
            [sys.executable, str(HERE / "upstream.py"), "--port", str(port)],
            core=self.cores[1],
            env=plain_env(self.work),
            log=self.work / "upstream.log",
        )
        try:
            upstream.wait_ready(port, "/stats", timeout_s=20)
            options = self.options
            subjects = all_subjects(
                Place(work=self.work, upstream_port=port, core=self.cores[0]),
                litellm_venv=options.litellm_venv or peers.litellm_venv(options.peers),
                portkey_folder=peers.portkey_folder(options.peers),
            )
            bench = self._bench(upstream, port)
            for subject in subjects:
                self._measure_one(bench, subject)
        finally:
            upstream.stop()
        return subjects, self._selection()

    def _bench(self, upstream: Program, port: int) -> Bench:
        options, is_quick = self.options, self.options.quick
        return Bench(
            python=sys.executable,
            wrk=shutil.which("wrk") or "",
            work=self.work,
            cores=self.cores,
            upstream=upstream,
            upstream_port=port,
            seconds=options.seconds,
            rounds=options.rounds,
            starts=1 if is_quick else 5,
            slow_streams=options.streams,
            ramp_s=2.0 if is_quick else 5.0,
            slow_events=5 if is_quick else 15,
            soak_minutes=options.soak,
        )

    def _measure_one(self, bench: Bench, subject: Subject) -> None:
        if self._skips_subjects or (self._wanted and subject.name not in self._wanted):
            return
        measures = [name for name in self._measures if subject.takes_part_in(name)]
        if not measures:
            print(f"{subject.title}: takes no part in these measures", flush=True)
            return
        missing = subject.why_missing()
        if missing:
            self.problems[subject.name] = missing
            print(f"{subject.title}: {missing}", flush=True)
            return
        print(f"{subject.title} {subject.version()}".rstrip(), flush=True)
        figures = self.figures[subject.name] = {}
        bench.raw = self.raw[subject.name] = {}
        try:
            subject.start()
            for name in measures:
                if name == "soak" and not isinstance(subject, Groxy):
                    continue
                self._measure_figures(bench, subject, name, figures)
        except ProgramError as error:
            self._note(subject, str(error))
        finally:
            subject.stop()

    def _measure_figures(
        self, bench: Bench, subject: Subject, name: str, figures: dict[str, Figure]
    ) -> None:
        try:
            found = MEASURES[name](bench, subject)
        except MeasureError as error:
            self._note(subject, f"{name}: {error}")
            return
        if not found:
            return
        figures |= found
        shown = ", ".join(
            f"{key.partition('.')[2]} {'refused' if one.value is None else f'{one.value:,.4g}'}"
            for key, one in found.items()
        )
        flaws = {one.flaw for one in found.values() if one.flaw}
        print(f"  {name:8} {shown} {' '.join(flaws)}", flush=True)

    def _note(self, subject: Subject, problem: str) -> None:
        print(f"  {problem}", flush=True)
        known = self.problems.get(subject.name)
        first_line = problem.partition("\n")[0]
        self.problems[subject.name] = f"{known}; {first_line}" if known else first_line

    def _selection(self) -> list[dict[str, float]]:
        names = set(self.options.only)
        if names and _SELECTION not in names:
            return []
        command = ["taskset", "-c", str(self.cores[0])] if shutil.which("taskset") else []
        command += [sys.executable, str(HERE / "selection.py"), "--json"]
        done = subprocess.run(command, capture_output=True, check=True, timeout=300)
        rows: list[dict[str, float]] = json.loads(done.stdout)
        return rows


def _publish(
    run: Run,
    found: dict[str, Any],
    subjects: list[Subject],
    selection: list[dict[str, float]],
) -> None:
    """Print the report and write what was asked for."""
    options = run.options
    columns = [
        report.Column(
            name=subject.name,
            title=subject.title,
            version="" if subject.why_missing() else subject.version(),
            problem=run.problems.get(subject.name, ""),
            left_out=frozenset(
                FIGURES[name] for name in MEASURES if not subject.takes_part_in(name)
            ),
        )
        for subject in subjects
    ]
    text = report.markdown(found, columns, run.figures, selection, run.raw)
    print(f"\n{text}")
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text, encoding="utf-8")
        everything = report.as_json(found, columns, run.figures, run.raw, selection)
        options.out.with_suffix(".json").write_text(json.dumps(everything, indent=1) + "\n")
        print(f"written: {options.out} and {options.out.with_suffix('.json').name}")
    if options.write_docs:
        report.write_into(_PAGE, text)
        print(f"written: {_PAGE.relative_to(ROOT)}")


def _cores(text: str) -> tuple[int, int]:
    """Return the gateway's core and the other one; say what is wrong with them."""
    if sys.platform != "linux":
        sys.exit("The bench pins cores and reads /proc: it runs on Linux only.")
    gateway, _, rest = text.partition(",")
    cores = int(gateway), int(rest)
    missing = set(cores) - os.sched_getaffinity(0)
    if missing or cores[0] == cores[1]:
        sys.exit(f"--cores wants two cores of {sorted(os.sched_getaffinity(0))}, as 1,0")
    return cores


def _allow_open_files(streams: int) -> None:
    wanted = streams * _FILES_A_STREAM + 1000
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        sys.exit(f"{streams} streams take up to {wanted} open files; `ulimit -Hn` says {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _stop_run(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _options() -> argparse.Namespace:
    """Read the command line; what it leaves open depends on `--quick`."""
    options = _parser().parse_args()
    usual = (2.0, 1, 500) if options.quick else (5.0, 3, 2000)
    options.seconds = options.seconds or usual[0]
    options.rounds = options.rounds or usual[1]
    options.streams = options.streams or usual[2]
    options.peers = options.peers or peers.usual_folder()
    return options


def main() -> int:
    """Read the command line, run, report; return the exit code."""
    options = _options()
    cores = _cores(options.cores)
    known = {*MEASURES, _SELECTION, *NAMES}
    if unknown := set(options.only) - known:
        sys.exit(
            f"--only knows no {', '.join(sorted(unknown))}; it knows {' '.join(sorted(known))}"
        )
    if options.install_peers:
        peers.install(options.peers)
    _allow_open_files(options.streams)
    for number in (signal.SIGINT, signal.SIGTERM):
        # Said even for Ctrl-C: a shell that starts this in the background has switched it off.
        signal.signal(number, _stop_run)
    os.sched_setaffinity(0, {cores[1]})
    options.work.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=options.work)).resolve()
    run = Run(options, cores, work)
    try:
        found = facts(work) | {
            "seconds": options.seconds,
            "rounds": options.rounds,
            "command": " ".join(sys.argv[1:]),
        }
        subjects, selection = run.measure()
        _publish(run, found, subjects, selection)
    except KeyboardInterrupt:
        print("interrupted; everything that was started is stopped")
        return 130
    finally:
        if options.keep:
            print(f"logs are in {work}")
        else:
            shutil.rmtree(work, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

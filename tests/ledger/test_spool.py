import errno
import fcntl
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from groxy.ledger import spool as spool_module
from groxy.ledger.spool import Spool, SpoolFullError
from groxy.store.kept import KeptRow
from groxy.store.writing import Group
from groxy.wire import json
from tests.store.rows import attempt_entry, request_entry

ROOT = Path(__file__).parents[2]
PLENTY = 64 * 1024 * 1024


def group_of(*names, **changes):
    """Return a group of requests with one attempt each."""
    return Group(
        [request_entry(name, **changes) for name in names],
        [attempt_entry(name) for name in names],
    )


def spool_in(folder, max_bytes=PLENTY):
    return Spool(folder, max_bytes=max_bytes)


@pytest.fixture
def spool(tmp_path):
    opened = spool_in(tmp_path)
    yield opened
    opened.release()


def files_in(folder, pattern="spool-*"):
    return sorted(path.name for path in folder.glob(pattern))


def drained(spool):
    """Return the ids of all requests in order, and how many lines were damaged; empty the spool."""
    names, damaged = [], 0
    while batch := spool.oldest():
        names += [request.id for group in batch.groups for request in group.requests]
        damaged += batch.damaged
        spool.discard(batch.file, keep_aside=bool(batch.damaged))
    return names, damaged


def taken_over(folder):
    """Return what a process that starts finds."""
    successor = spool_in(folder)
    assert successor.adopt() == []
    return drained(successor)


def left_by_the_dead(folder, *groups):
    """Spool groups, leave the file to whoever comes next, and return it."""
    earlier = spool_in(folder)
    for group in groups:
        earlier.append(group)
    earlier.release()
    (path,) = folder.glob("spool-*.jsonl")
    return path


# ------------------------------------------------------------------------------ there and back


def test_groups_come_back_as_they_were_in_order(spool):
    rows = [KeptRow("rep_1", "reply", "key_1", None, "a", "done", 1, 2, None, bytes(range(256)))]
    first = Group([request_entry("a", app_title='ж"\n\t\u2028\N{GRINNING FACE}')], [], rows)
    second = group_of("b", "c", cost_ticks=2**62, is_stream=False)
    spool.append(first)
    spool.append(second)

    batch = spool.oldest()

    assert batch.groups == [tuple(map(list, first)), tuple(map(list, second))]
    assert batch.groups[0].kept[0].sealed == bytes(range(256))
    assert batch.damaged == 0


def test_an_empty_spool_has_no_file_and_no_bytes(spool, tmp_path):
    assert (spool.oldest(), spool.size, spool.file_count) == (None, 0, 0)
    assert files_in(tmp_path) == []


def test_only_the_owner_may_read_a_file(spool, tmp_path):
    spool.append(group_of("a"))

    (path,) = tmp_path.glob("spool-*")

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.name == f"spool-{os.getpid()}-1.jsonl"


def test_a_group_is_synced_and_so_is_the_name_of_its_file(spool, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda at: synced.append(os.fstat(at).st_mode))
    for name in "ab":
        spool.append(group_of(name))

    assert [stat.S_ISDIR(mode) for mode in synced] == [True, False, False]


def test_a_file_that_is_being_entered_takes_no_more(spool, tmp_path):
    spool.append(group_of("a"))
    batch = spool.oldest()
    spool.append(group_of("b"))
    spool.discard(batch.file, keep_aside=False)

    assert drained(spool) == (["b"], 0)
    assert files_in(tmp_path) == []


def test_a_long_spool_has_files_that_go_one_by_one(spool, tmp_path, monkeypatch):
    monkeypatch.setattr(spool_module, "_FILE_BYTES", 2_000)
    names = [f"req_{number}" for number in range(40)]
    for name in names:
        spool.append(group_of(name))
    count, size = spool.file_count, spool.size
    spool.discard(spool.oldest().file, keep_aside=False)

    assert count > 5
    assert (spool.file_count, len(files_in(tmp_path))) == (count - 1, count - 1)
    assert spool.size < size
    found, _ = drained(spool)
    assert found == names[-len(found) :]


# -------------------------------------------------------------------------------- what is full


def test_no_more_than_it_may_have_is_taken_and_then_again_when_there_is_room(tmp_path):
    spool = spool_in(tmp_path, max_bytes=1_500)
    spool.append(group_of("a"))
    with pytest.raises(SpoolFullError):
        spool.append(group_of(*"bcdefg"))
    spool.append(group_of("h"))
    found = drained(spool)
    spool.append(group_of("i"))

    assert found == (["a", "h"], 0)
    assert drained(spool) == (["i"], 0)


class Disk:
    """Fails as it is told, after a part of what is written."""

    def __init__(self, monkeypatch):
        self.fails_to = ""
        monkeypatch.setattr(os, "write", self.write)
        monkeypatch.setattr(os, "fsync", self.fsync)
        monkeypatch.setattr(os, "ftruncate", self.ftruncate)

    _write, _fsync, _ftruncate = (
        staticmethod(os.write),
        staticmethod(os.fsync),
        staticmethod(os.ftruncate),
    )

    def write(self, descriptor, content):
        if "write" not in self.fails_to:
            return self._write(descriptor, content)
        if len(content) < 20:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self._write(descriptor, content[: len(content) // 2])

    def fsync(self, descriptor):
        if "sync" in self.fails_to:
            raise OSError(errno.EIO, "Input/output error")
        self._fsync(descriptor)

    def ftruncate(self, descriptor, size):
        if "cut" in self.fails_to:
            raise OSError(errno.EIO, "Input/output error")
        self._ftruncate(descriptor, size)


@pytest.fixture
def disk(monkeypatch):
    return Disk(monkeypatch)


@pytest.mark.parametrize("fails_to", ["write", "sync", "write, cut", "sync, cut"])
@pytest.mark.parametrize("earlier", [[], ["a"], ["a", "b"]])
def test_a_group_that_could_not_be_synced_is_not_in_the_spool(spool, disk, fails_to, earlier):
    for name in earlier:
        spool.append(group_of(name))
    size = spool.size
    disk.fails_to = fails_to
    with pytest.raises(OSError):
        spool.append(group_of("lost"))
    after = spool.size
    disk.fails_to = ""
    spool.append(group_of("z"))

    assert after == size
    assert drained(spool) == ([*earlier, "z"], 0)


@pytest.mark.parametrize("earlier", [0, 1])
def test_a_disk_that_stays_full_collects_no_files(tmp_path, spool, disk, earlier):
    for _ in range(earlier):
        spool.append(group_of("a"))
    disk.fails_to = "write"
    for _ in range(5):
        with pytest.raises(OSError):
            spool.append(group_of("lost"))

    assert len(files_in(tmp_path)) == earlier


def test_a_half_line_that_could_not_be_taken_back_does_not_survive_the_process(tmp_path, disk):
    earlier = spool_in(tmp_path)
    earlier.append(group_of("a"))
    disk.fails_to = "write, cut"
    with pytest.raises(OSError):
        earlier.append(group_of("lost"))
    disk.fails_to = ""
    earlier.append(group_of("b"))
    earlier.release()

    assert taken_over(tmp_path) == (["a", "b"], 0)


def test_a_folder_that_is_not_there_fails_as_a_disk_does(tmp_path):
    with pytest.raises(OSError):
        spool_in(tmp_path / "gone").append(group_of("a"))


# ------------------------------------------------------------------------- the dead and the living


def test_a_successor_takes_over_what_the_dead_left_and_deletes_it(tmp_path):
    left_by_the_dead(tmp_path, group_of("a"), group_of("b", "c"))

    assert taken_over(tmp_path) == (["a", "b", "c"], 0)
    assert files_in(tmp_path) == []


def test_files_of_the_living_are_left_alone(spool, tmp_path):
    spool.append(group_of("a"))

    assert taken_over(tmp_path) == ([], 0)
    assert drained(spool) == (["a"], 0)


def test_of_two_successors_one_takes_a_file(tmp_path):
    left_by_the_dead(tmp_path, group_of("a"))
    first, second = spool_in(tmp_path), spool_in(tmp_path)

    problems = first.adopt(), second.adopt()

    assert problems == ([], [])
    assert (drained(second), drained(first)) == (([], 0), (["a"], 0))


def test_a_file_that_was_deleted_before_it_could_be_locked_is_left_alone(tmp_path, monkeypatch):
    left_by_the_dead(tmp_path, group_of("a"))
    real = fcntl.flock

    def late(descriptor, how):
        for path in tmp_path.glob("spool-*"):
            path.unlink()
        real(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", late)

    assert taken_over(tmp_path) == ([], 0)


def test_files_are_taken_over_in_the_order_of_their_age(tmp_path, monkeypatch):
    monkeypatch.setattr(spool_module, "_FILE_BYTES", 1)
    names = [f"req_{number}" for number in range(12)]
    earlier = spool_in(tmp_path)
    for name in names:
        earlier.append(group_of(name))
    earlier.release()
    for path in tmp_path.glob("spool-*"):
        os.utime(path, (1_000, 1_000))

    assert taken_over(tmp_path) == (names, 0)


def test_what_is_taken_over_comes_before_what_is_added(tmp_path):
    left_by_the_dead(tmp_path, group_of("a"))
    successor = spool_in(tmp_path)
    successor.append(group_of("b"))
    successor.adopt()

    assert drained(successor) == (["a", "b"], 0)


def test_a_number_that_a_dead_process_had_too_is_no_trouble(tmp_path):
    left = left_by_the_dead(tmp_path, group_of("a"))
    spool = spool_in(tmp_path)
    spool.append(group_of("b"))

    assert left.name == f"spool-{os.getpid()}-1.jsonl"
    assert files_in(tmp_path) == [left.name, f"spool-{os.getpid()}-2.jsonl"]
    assert drained(spool) == (["b"], 0)


def test_a_file_that_a_starting_process_took_for_a_dead_ones_is_left_to_it(tmp_path, monkeypatch):
    thieves: list[int] = []
    real = fcntl.flock

    def robbed(descriptor, how):
        if not thieves:
            (path,) = tmp_path.glob("spool-*")
            thieves.append(os.open(path, os.O_RDWR))
            real(thieves[0], how)
        real(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", robbed)
    spool = spool_in(tmp_path)
    spool.append(group_of("a"))
    os.close(thieves[0])

    assert files_in(tmp_path) == [f"spool-{os.getpid()}-{number}.jsonl" for number in (1, 2)]
    assert drained(spool) == (["a"], 0)


def test_a_file_that_cannot_be_opened_is_told_of_and_keeps_nobody_from_the_others(tmp_path):
    left_by_the_dead(tmp_path, group_of("a"))
    (tmp_path / "spool-1-1.jsonl").symlink_to(tmp_path / "elsewhere")
    successor = spool_in(tmp_path)

    (problem,) = successor.adopt()

    assert "spool-1-1.jsonl" in problem
    assert drained(successor) == (["a"], 0)


def test_other_files_are_no_spools(tmp_path):
    path = left_by_the_dead(tmp_path, group_of("a"))
    for name in (
        "spool-1-1.jsonl.damaged",
        "spool-x-1.jsonl",
        "myspool-1-1.jsonl",
        "spool-1.jsonl",
    ):
        (tmp_path / name).write_bytes(path.read_bytes())

    assert taken_over(tmp_path) == (["a"], 0)
    assert len(list(tmp_path.iterdir())) == 4


_SPOOLS_UNTIL_KILLED = """
import sys
from itertools import count
from pathlib import Path
from groxy.ledger.spool import Spool
from groxy.store.writing import Group
from groxy.wire import json
from tests.store.rows import attempt_entry, request_entry

spool = Spool(Path(sys.argv[1]), max_bytes=2**30)
for number in count():
    name = f"req_{number}"
    spool.append(Group([request_entry(name)] * 20, [attempt_entry(name)]))
    sys.stdout.write(name + "\\n")
    sys.stdout.flush()
"""


@pytest.mark.parametrize("lines_before", [1, 40, 300])
def test_after_kill_9_everything_that_was_told_of_is_there_and_nothing_is_damaged(
    tmp_path, lines_before
):
    with subprocess.Popen(
        [sys.executable, "-c", _SPOOLS_UNTIL_KILLED, str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        told = [process.stdout.readline().strip() for _ in range(lines_before)]
        process.kill()
        told += process.stdout.read().split("\n")[:-1]

    found, damaged = taken_over(tmp_path)

    assert damaged == 0
    assert found[::20][: len(told)] == told
    assert len(found) - 20 * len(told) in {0, 20}


# ------------------------------------------------------------------------------------- damage


def test_half_a_last_line_is_dropped_without_a_word(tmp_path):
    path = left_by_the_dead(tmp_path, group_of("a"), group_of("b"))
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    fates = {}
    for size in (0, 1, first // 2, first - 1, first, first + 1, len(whole) - 1, len(whole)):
        path.write_bytes(whole[:size])
        fates[size] = taken_over(tmp_path)

    assert [names for names, _ in fates.values()] == [
        [],
        [],
        [],
        [],
        ["a"],
        ["a"],
        ["a"],
        ["a", "b"],
    ]
    assert {damaged for _, damaged in fates.values()} == {0}
    assert files_in(tmp_path) == []


@pytest.mark.parametrize("line", [0, 1, 2])
@pytest.mark.parametrize("at", [0, 0.3, 0.9])
def test_a_line_that_changed_is_told_of_the_others_count_and_the_file_is_kept(tmp_path, line, at):
    path = left_by_the_dead(tmp_path, *(group_of(name) for name in "abc"))
    lines = path.read_bytes().splitlines(keepends=True)
    changed = bytearray(lines[line])
    changed[int(len(changed) * at)] ^= 0x01
    lines[line] = bytes(changed)
    path.write_bytes(b"".join(lines))

    assert taken_over(tmp_path) == ([name for at, name in enumerate("abc") if at != line], 1)
    assert files_in(tmp_path) == [f"{path.name}.damaged"]
    assert (tmp_path / f"{path.name}.damaged").read_bytes() == b"".join(lines)


@pytest.mark.parametrize(
    "rubbish", [b"\n", b"\0" * 50 + b"\n", b"[1,2]\n", b"\xff\n", b"[" * 9999 + b"\n"]
)
def test_a_line_that_makes_no_sense_is_damage(tmp_path, rubbish):
    path = left_by_the_dead(tmp_path, group_of("a"))
    path.write_bytes(rubbish + path.read_bytes())

    assert taken_over(tmp_path) == (["a"], 1)


def test_a_file_of_this_process_that_somebody_cut_is_damage(spool, tmp_path):
    spool.append(group_of("a"))
    spool.append(group_of("b"))
    (path,) = tmp_path.glob("spool-*")
    os.truncate(path, path.stat().st_size - 5)

    assert drained(spool) == (["a"], 1)
    assert files_in(tmp_path) == [f"{path.name}.damaged"]


def test_what_is_kept_aside_takes_the_place_of_nothing(tmp_path):
    for _ in range(3):
        path = left_by_the_dead(tmp_path, group_of("a"))
        path.write_bytes(b"x\n" + path.read_bytes())
        taken_over(tmp_path)

    assert len(files_in(tmp_path, "*.damaged")) == 3


def test_a_line_of_an_older_groxy_is_read_and_one_of_a_newer_is_kept(tmp_path, monkeypatch):
    path = left_by_the_dead(tmp_path, group_of("a"), group_of("b"))
    lines = [spool_module._read_line.decode(line) for line in path.read_bytes().splitlines()]
    older = json.decode_any(lines[0][1])
    newer = json.decode_any(lines[1][1])
    older[0][0].pop()
    newer[0][0] += ["something", 7]
    path.write_bytes(b"".join(spool_module._line_of(group) for group in (older, newer)))

    assert taken_over(tmp_path) == (["a"], 1)

"""Entries on their way to a database that is away: files in the data folder, synced.

In: groups of entries, one after the other. Out: the same groups, a file at a time, oldest first,
until somebody says that the books have them. A line is a group behind its checksum. Every process
has files of its own and holds a lock on them; those of a dead one have no lock and are taken over.

All of it blocks, and none of it may run in two threads at once. Must not delete what it was not
told to.
"""

import fcntl
import os
import re
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import msgspec

from groxy.store.writing import Group
from groxy.wire import json

_FILE_BYTES = 1024 * 1024
"""A file that is longer gets no more lines. It is also what one transaction writes again."""
_NAME = re.compile(r"spool-\d+-(\d+)\.jsonl")
_KEPT_ASIDE = ".damaged"
_UNTAKEN = 100_000
"""How many numbers are tried for a name that is not taken."""

_read_line = json.decoder(tuple[int, msgspec.Raw])
_read_group = json.decoder(Group)


class SpoolFullError(OSError):
    """The spool has as many bytes as it may."""


@dataclass(slots=True, kw_only=True)
class SpoolFile:
    """A file that this process holds the lock of."""

    path: Path
    descriptor: int
    size: int = 0
    """Bytes that are synced; what is behind them was never acknowledged."""
    takes_more: bool = False


@dataclass(slots=True, kw_only=True)
class Batch:
    """What a file has."""

    file: SpoolFile
    groups: list[Group] = field(default_factory=list)
    damaged: int = 0
    """Lines that say something else than what was written."""


class Spool:
    """The files of one process in `folder`, of at most `max_bytes` together."""

    def __init__(self, folder: Path, *, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._files: list[SpoolFile] = []
        """Oldest first; only the last one takes more lines."""

    @property
    def file_count(self) -> int:
        """How many files are not in the books yet."""
        return len(self._files)

    @property
    def size(self) -> int:
        """Bytes that are not in the books yet."""
        return sum(file.size for file in self._files)

    def append(self, group: Group) -> None:
        """Add a group; it survives a crash once this returns.

        Raises SpoolFullError, or the OSError of a disk that is full or broken. Then the group is
        not in the spool.
        """
        line = _line_of(group)
        if self.size + len(line) > self._max_bytes:
            raise SpoolFullError(f"the spool may have {self._max_bytes} bytes")
        if not self._files or not self._files[-1].takes_more:
            self._files.append(_create(self._folder))
        file = self._files[-1]
        try:
            _write_all(file.descriptor, line)
            os.fsync(file.descriptor)
        except OSError:
            self._undo(file)
            raise
        file.size += len(line)
        file.takes_more = file.size < _FILE_BYTES

    def _undo(self, file: SpoolFile) -> None:
        """Take back what was written behind a file's last good line."""
        file.takes_more = False
        with suppress(OSError):
            os.ftruncate(file.descriptor, file.size)
            file.takes_more = True
            if not file.size:
                self.discard(file, keep_aside=False)

    def oldest(self) -> Batch | None:
        """Return what the oldest file has, or None for an empty spool; the file takes no more."""
        if not self._files:
            return None
        file = self._files[0]
        file.takes_more = False
        try:
            content = os.pread(file.descriptor, file.size, 0)
        except OSError:
            content = b""
        batch = _batch_of(file, content)
        batch.damaged += len(content) < file.size
        return batch

    def discard(self, file: SpoolFile, *, keep_aside: bool) -> None:
        """Forget a file that the books have; with `keep_aside` it stays, as `.damaged`.

        Raises OSError when it cannot be deleted or renamed; it is forgotten all the same.
        """
        self._files.remove(file)
        try:
            if keep_aside:
                file.path.rename(_untaken(file.path))
            else:
                file.path.unlink(missing_ok=True)
        finally:
            os.close(file.descriptor)

    def adopt(self) -> list[str]:
        """Take over the files of dead processes; return what is wrong with those that stay.

        Raises OSError when the folder cannot be read.
        """
        found = [path for path in self._folder.iterdir() if _NAME.fullmatch(path.name)]
        adopted, problems = [], []
        for path in sorted(found, key=_age):
            try:
                file = _adopted(path)
            except OSError as error:
                problems.append(f"{path.name}: {error}")
            else:
                adopted += [file] if file else []
        self._files[:0] = adopted
        return problems

    def release(self) -> None:
        """Leave the files to whoever comes next."""
        for file in self._files:
            os.close(file.descriptor)
        self._files.clear()


def _line_of(group: Group) -> bytes:
    content = json.encode(group)
    return b"[%d,%b]\n" % (zlib.crc32(content), content)


def _batch_of(file: SpoolFile, content: bytes) -> Batch:
    batch = Batch(file=file)
    # What follows the last line break was being written when its process died. It was never
    # acknowledged: the sync comes before.
    *lines, _ = content.split(b"\n")
    for line in lines:
        group = _group_of(line)
        if group is None:
            batch.damaged += 1
        else:
            batch.groups.append(group)
    return batch


def _group_of(line: bytes) -> Group | None:
    """Return the group of a line, or None when it is not what was written."""
    try:
        checksum, content = _read_line.decode(line)
        return _read_group.decode(content) if zlib.crc32(content) == checksum else None
    except json.UNREADABLE:
        return None


def _create(folder: Path) -> SpoolFile:
    """Create a file under a name that is not taken, and lock it."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
    for path in _names(folder):
        try:
            descriptor = os.open(path, flags, 0o600)
        except FileExistsError:
            continue  # In a container every process has the same number.
        try:
            if not _locks(descriptor, path):
                os.close(descriptor)
                continue  # A process that starts took it for a dead one's.
            _sync_folder(folder)
        except OSError:
            os.close(descriptor)
            path.unlink(missing_ok=True)
            raise
        return SpoolFile(path=path, descriptor=descriptor, takes_more=True)
    raise FileExistsError(f"no name is left for a spool in {folder}")


def _names(folder: Path) -> Iterator[Path]:
    for number in range(1, _UNTAKEN):
        yield folder / f"spool-{os.getpid()}-{number}.jsonl"


def _sync_folder(folder: Path) -> None:
    """Make a new name survive a crash of the machine."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _adopted(path: Path) -> SpoolFile | None:
    """Return a dead process's file, or None for one of the living."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        if _locks(descriptor, path):
            return SpoolFile(path=path, descriptor=descriptor, size=os.fstat(descriptor).st_size)
    except OSError:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def _locks(descriptor: int, path: Path) -> bool:
    """Lock a file; return False when another process has it, or had and deleted it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return _is_at(descriptor, path)


def _is_at(descriptor: int, path: Path) -> bool:
    """Return whether a file still has its name."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), path.stat())
    return False


def _age(path: Path) -> tuple[int, int]:
    """Return what files sort by, oldest first."""
    found = _NAME.fullmatch(path.name)
    with suppress(FileNotFoundError):
        return path.stat().st_mtime_ns, int(found.group(1)) if found else 0
    return 0, 0


def _untaken(path: Path) -> Path:
    """Return the name under which a file is kept aside."""
    aside = path.with_name(path.name + _KEPT_ASIDE)
    numbers = count(2)
    while aside.exists():
        aside = path.with_name(f"{path.name}.{next(numbers)}{_KEPT_ASIDE}")
    return aside


def _write_all(descriptor: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]

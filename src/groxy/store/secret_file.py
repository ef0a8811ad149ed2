"""Files that hold secrets: whole or not there at all, and readable by their owner only.

In: a path and its content. Out: a file of mode 0600 that survives a power cut once a function has
returned. A process that is killed leaves at most an unused draft beside it. It knows nothing of
what is in the files.
"""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def create_secret_file(path: Path, content: bytes) -> None:
    """Write a file unless it is there; of several processes the first one's counts."""
    with _draft(path, content) as draft, suppress(FileExistsError):
        path.hardlink_to(draft)


def replace_secret_file(path: Path, content: bytes) -> None:
    """Write a file in place of the one that may be there; readers see the one or the other."""
    with _draft(path, content) as draft:
        draft.replace(path)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file at `path`; raise BlockingIOError when another process holds it.

    The lock ends with its process, however that ends. The empty file stays.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _give_to_owner_of(path.parent, descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _draft(path: Path, content: bytes) -> Iterator[Path]:
    """Write `content` beside `path`, under a name of its own; afterwards make the result last."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    draft = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            _give_to_owner_of(path.parent, file.fileno())
            os.fsync(file.fileno())
        yield draft
    finally:
        draft.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _give_to_owner_of(folder: Path, descriptor: int) -> None:
    """Let the gateway read what root wrote (`sudo groxy …`): the folder is the gateway's."""
    if os.geteuid() == 0:
        owner = folder.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def _sync_folder(folder: Path) -> None:
    """Make the file's name last too: a name that a power cut takes is a lost secret."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

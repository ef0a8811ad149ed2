import os
import stat
from pathlib import Path

import pytest

from groxy.store.secret_file import create_secret_file, locked, replace_secret_file
from tests.store.races import run_at_once


def full(descriptor):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("write", [create_secret_file, replace_secret_file])
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_only_the_owner_may_read_what_was_written(tmp_path, write, umask):
    before = os.umask(umask)
    try:
        write(tmp_path / "file", b"content")
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"content"


def test_a_file_that_is_there_is_created_by_nobody_else(tmp_path):
    create_secret_file(tmp_path / "file", b"first")
    create_secret_file(tmp_path / "file", b"second")

    assert (tmp_path / "file").read_bytes() == b"first"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_file_that_is_there_can_be_replaced(tmp_path):
    replace_secret_file(tmp_path / "file", b"first")
    replace_secret_file(tmp_path / "file", b"second")

    assert (tmp_path / "file").read_bytes() == b"second"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_disk_that_is_full_leaves_what_was_there(tmp_path, monkeypatch):
    replace_secret_file(tmp_path / "file", b"first")
    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(OSError, match="No space left"):
        replace_secret_file(tmp_path / "file", b"second")

    assert (tmp_path / "file").read_bytes() == b"first"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_file_and_then_its_folder_are_brought_to_the_disk(tmp_path, monkeypatch):
    synced = []

    def note(descriptor):
        synced.append((Path(f"/dev/fd/{descriptor}").is_dir(), (tmp_path / "file").exists()))

    monkeypatch.setattr(os, "fsync", note)
    replace_secret_file(tmp_path / "file", b"content")

    assert synced == [(False, False), (True, True)]


@pytest.mark.parametrize("user", [0, 1_000])
def test_what_root_writes_belongs_to_the_owner_of_the_folder(tmp_path, monkeypatch, user):
    given = []
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setattr(os, "fchown", lambda _, *owner: given.append(owner))

    replace_secret_file(tmp_path / "file", b"content")

    owner = (tmp_path.stat().st_uid, tmp_path.stat().st_gid)
    assert given == ([owner] if user == 0 else [])


# ---------------------------------------------------------------------------------------- locks


def test_a_lock_is_held_by_one_and_free_again_afterwards(tmp_path):
    with locked(tmp_path / "lock"), pytest.raises(BlockingIOError), locked(tmp_path / "lock"):
        pytest.fail("two hold it")

    with locked(tmp_path / "lock"):
        assert stat.S_IMODE((tmp_path / "lock").stat().st_mode) == 0o600


_LOCKERS = """
import time
from pathlib import Path
from groxy.store.secret_file import locked

ready()
try:
    with locked(Path(sys.argv[1])):
        print("held", flush=True)
        time.sleep(1)
        import os
        os.kill(os.getpid(), 9)
except BlockingIOError:
    print("refused")
"""


def test_of_several_processes_one_holds_the_lock_and_its_death_frees_it(tmp_path):
    outcomes = run_at_once(_LOCKERS, [str(tmp_path / "lock")], processes=3)

    assert sorted(out.strip() for out, _ in outcomes) == ["held", "refused", "refused"]
    with locked(tmp_path / "lock"):
        pass

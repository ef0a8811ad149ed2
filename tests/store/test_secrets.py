import os
import stat

import pytest
from hypothesis import given, strategies as st

from groxy.core.errors import ErrorKind, GroxyError
from groxy.store.secrets import SECRET_FILE, InstallationSecret
from tests.store.races import run_at_once

SECRET = InstallationSecret(b"s" * 32)
OTHER = InstallationSecret(b"o" * 32)
CREDENTIAL = b'{"api_key":"xai-0123456789"}'
any_text = st.text(st.characters(codec="utf-8"), max_size=50)


def kind_of(call):
    with pytest.raises(GroxyError) as caught:
        call()
    return caught.value.kind


# ------------------------------------------------------------------------------------ the file


def test_the_first_start_makes_a_secret_and_the_next_ones_use_it(tmp_path):
    first, second = InstallationSecret.of(tmp_path), InstallationSecret.of(tmp_path)

    assert first.digest("sk-a") == second.digest("sk-a")


def test_two_installations_have_different_secrets(tmp_path):
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()

    first, second = (InstallationSecret.of(folder).digest("sk-a") for folder in folders)

    assert first != second


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_only_the_owner_may_read_the_file(tmp_path, umask):
    before = os.umask(umask)
    try:
        InstallationSecret.of(tmp_path)
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / SECRET_FILE).stat().st_mode) == 0o600


def test_the_file_holds_32_bytes_and_nothing_else_is_left(tmp_path):
    InstallationSecret.of(tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == [SECRET_FILE]
    assert len((tmp_path / SECRET_FILE).read_bytes()) == 32


@pytest.mark.parametrize("size", [0, 1, 31, 33, 64])
def test_a_file_of_another_size_is_refused_and_kept(tmp_path, size):
    (tmp_path / SECRET_FILE).write_bytes(b"x" * size)

    assert kind_of(lambda: InstallationSecret.of(tmp_path)) is ErrorKind.STORE_DOWN
    assert (tmp_path / SECRET_FILE).read_bytes() == b"x" * size


def test_a_disk_that_is_full_leaves_no_broken_secret(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        InstallationSecret.of(tmp_path)

    assert list(tmp_path.iterdir()) == []


_STARTS = """
from pathlib import Path
from groxy.store.secrets import InstallationSecret

folders = [Path(name) for name in sys.argv[1:]]
ready()
for folder in folders:
    print(InstallationSecret.of(folder).digest("sk-a").hex())
"""


def test_processes_that_start_at_once_agree_on_one_secret(tmp_path):
    folders = [tmp_path / f"{number}" for number in range(150)]
    for folder in folders:
        folder.mkdir()

    outcomes = run_at_once(_STARTS, [str(folder) for folder in folders], processes=3)

    assert [complaints for _, complaints in outcomes] == ["", "", ""]
    assert len(outcomes[0][0].split()) == len(folders)
    assert len({digests for digests, _ in outcomes}) == 1


# ------------------------------------------------------------------------------------- digests


@given(any_text)
def test_a_digest_is_32_bytes_for_any_text(key):
    assert len(SECRET.digest(key)) == 32


def test_a_digest_depends_on_the_key_and_on_the_secret():
    digests = {SECRET.digest("sk-a"), SECRET.digest("sk-b"), OTHER.digest("sk-a")}

    assert len(digests) == 3


def test_a_key_of_bytes_that_are_no_text_has_a_digest_too():
    assert SECRET.digest(b"sk-\xff".decode(errors="surrogateescape")) != SECRET.digest("sk-")


# --------------------------------------------------------------------------------------- seals


@given(st.binary(max_size=200), any_text)
def test_what_was_sealed_opens_for_its_owner(plain, owner):
    assert SECRET.open(SECRET.seal(plain, owner=owner), owner=owner) == plain


def test_a_seal_hides_what_is_in_it():
    assert b"xai-" not in SECRET.seal(CREDENTIAL, owner="acc_1")


def test_the_same_credential_never_looks_the_same():
    assert len({SECRET.seal(CREDENTIAL, owner="acc_1") for _ in range(1000)}) == 1000


def test_a_seal_does_not_open_for_another_owner():
    sealed = SECRET.seal(CREDENTIAL, owner="acc_1")

    assert kind_of(lambda: SECRET.open(sealed, owner="acc_2")) is ErrorKind.STORE_DOWN


def test_a_seal_does_not_open_with_another_secret():
    sealed = SECRET.seal(CREDENTIAL, owner="acc_1")

    assert kind_of(lambda: OTHER.open(sealed, owner="acc_1")) is ErrorKind.STORE_DOWN


def test_a_seal_with_any_one_byte_changed_does_not_open():
    sealed = SECRET.seal(CREDENTIAL, owner="acc_1")
    tampered = [
        bytes(byte ^ (at == index) for at, byte in enumerate(sealed))
        for index in range(len(sealed))
    ]

    kinds = {kind_of(lambda seal=seal: SECRET.open(seal, owner="acc_1")) for seal in tampered}

    assert kinds == {ErrorKind.STORE_DOWN}


@pytest.mark.parametrize("length", [0, 1, 12, 13, 28, -1])
def test_a_seal_that_was_cut_does_not_open(length):
    sealed = SECRET.seal(CREDENTIAL, owner="acc_1")[:length]

    assert kind_of(lambda: SECRET.open(sealed, owner="acc_1")) is ErrorKind.STORE_DOWN


def test_an_error_says_which_file_to_put_back_and_gives_nothing_away():
    with pytest.raises(GroxyError) as caught:
        OTHER.open(SECRET.seal(CREDENTIAL, owner="acc_1"), owner="acc_1")

    assert SECRET_FILE in caught.value.message
    assert "xai-" not in caught.value.message + caught.value.detail

import os
import stat
import subprocess
import sys
import time

import pytest
from hypothesis import given, strategies as st

from groxy.core.errors import ErrorKind, GroxyError
from groxy.store.secrets import SECRET_FILE, InstallationSecret
from tests.store.races import run_at_once

SECRET = InstallationSecret(b"s" * 32)
OTHER = InstallationSecret(b"o" * 32)
CREDENTIAL = b'{"api_key":"xai-0123456789"}'
any_text = st.text(st.characters(codec="utf-8"), max_size=50)


def rotated(secret):
    """Give a secret another sealing key; return the key."""
    with secret.sealing_keys.changing() as keys:
        key = keys.add()
        keys.finish()
    return key


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


# --------------------------------------------------------------------------- the secret as given


def test_a_given_secret_takes_the_place_of_the_file(tmp_path):
    (tmp_path / "with").mkdir()
    (tmp_path / "without").mkdir()
    (tmp_path / "with" / SECRET_FILE).write_bytes(b"not even the right size")

    found = [InstallationSecret.of(tmp_path / name, b"s" * 32) for name in ("with", "without")]

    assert {secret.digest("sk-a") for secret in found} == {SECRET.digest("sk-a")}
    assert list((tmp_path / "without").iterdir()) == []


def test_a_secret_can_move_from_the_file_to_the_setting(tmp_path):
    before = InstallationSecret.of(tmp_path)
    content = (tmp_path / SECRET_FILE).read_bytes()
    rotated(before)
    sealed = before.seal(CREDENTIAL, owner="acc_1")
    (tmp_path / SECRET_FILE).unlink()

    after = InstallationSecret.of(tmp_path, content)

    assert after.open(sealed, owner="acc_1") == CREDENTIAL
    assert after.digest("sk-a") == before.digest("sk-a")


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_a_given_secret_of_another_size_is_refused_by_the_settings_name(tmp_path, size):
    with pytest.raises(GroxyError) as caught:
        InstallationSecret.of(tmp_path, b"x" * size)

    assert caught.value.param == "app.secret_key"
    assert "app.secret_key" in caught.value.message


def test_what_does_not_open_with_a_given_secret_names_the_setting_and_no_file(tmp_path):
    given = InstallationSecret.of(tmp_path, b"o" * 32)

    with pytest.raises(GroxyError) as caught:
        given.open(SECRET.seal(CREDENTIAL, owner="acc_1"), owner="acc_1")

    assert "app.secret_key" in caught.value.message
    assert SECRET_FILE not in caught.value.message
    assert given.origin == "the setting app.secret_key"


def test_sealing_keys_that_do_not_open_with_a_given_secret_name_the_setting(tmp_path):
    rotated(InstallationSecret.of(tmp_path, b"s" * 32))

    with pytest.raises(GroxyError) as caught:
        InstallationSecret.of(tmp_path, b"o" * 32)

    assert "app.secret_key" in caught.value.message
    assert "sealing.keys" in caught.value.message


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


# ---------------------------------------------------------------------------------- after rotation


@pytest.fixture
def secret(tmp_path):
    return InstallationSecret.of(tmp_path)


def test_the_newest_key_seals_and_its_id_is_in_front(secret):
    assert secret.seal(CREDENTIAL, owner="acc_1")[:1] == b"\x01"
    for _ in range(2):
        key = rotated(secret)
        assert secret.seal(CREDENTIAL, owner="acc_1")[:5] == b"\x02" + key.id


def test_what_any_earlier_key_sealed_opens_still(secret, tmp_path):
    sealed = [secret.seal(CREDENTIAL, owner="acc_1")]
    for _ in range(3):
        rotated(secret)
        sealed.append(secret.seal(CREDENTIAL, owner="acc_1"))

    for each in (secret, InstallationSecret.of(tmp_path)):
        assert [each.open(one, owner="acc_1") for one in sealed] == [CREDENTIAL] * 4


def test_a_rotation_leaves_the_digests_of_keys_alone(secret, tmp_path):
    before = secret.digest("sk-a")
    rotated(secret)

    assert secret.digest("sk-a") == InstallationSecret.of(tmp_path).digest("sk-a") == before


def test_what_another_process_sealed_with_a_key_of_its_own_opens_at_once(secret, tmp_path):
    other = InstallationSecret.of(tmp_path)
    rotated(other)

    assert secret.open(other.seal(CREDENTIAL, owner="acc_1"), owner="acc_1") == CREDENTIAL


_SEALS = """
import sys, time
from pathlib import Path
from groxy.store.secrets import InstallationSecret

secret = InstallationSecret.of(Path(sys.argv[1]))
while True:
    print(secret.seal(b"", owner="")[:5].hex(), flush=True)
    time.sleep(0.05)
"""


def test_a_running_process_seals_with_a_new_key_soon(secret, tmp_path):
    command = [sys.executable, "-c", _SEALS, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("01")
        key = rotated(secret)
        began = time.monotonic()
        for line in process.stdout:
            if line == f"02{key.name}\n":
                break
            assert line.startswith("01")
            assert time.monotonic() - began < 10
        process.kill()

    assert time.monotonic() - began < 5


def test_a_rotated_seal_with_any_one_byte_changed_does_not_open(secret):
    rotated(secret)
    sealed = secret.seal(CREDENTIAL, owner="acc_1")
    tampered = [
        bytes(byte ^ (at == index) for at, byte in enumerate(sealed))
        for index in range(len(sealed))
    ]

    kinds = {kind_of(lambda seal=seal: secret.open(seal, owner="acc_1")) for seal in tampered}

    assert kinds == {ErrorKind.STORE_DOWN}


@pytest.mark.parametrize("length", [1, 4, 5, 16, 17, 32, -1])
def test_a_rotated_seal_that_was_cut_does_not_open(secret, length):
    rotated(secret)
    sealed = secret.seal(CREDENTIAL, owner="acc_1")[:length]

    assert kind_of(lambda: secret.open(sealed, owner="acc_1")) is ErrorKind.STORE_DOWN


def test_a_rotated_seal_opens_for_its_owner_only(secret):
    rotated(secret)
    sealed = secret.seal(CREDENTIAL, owner="acc_1")

    assert kind_of(lambda: secret.open(sealed, owner="acc_2")) is ErrorKind.STORE_DOWN


def test_a_key_that_the_file_lacks_is_named_with_the_file(secret, tmp_path):
    key = rotated(secret)
    sealed = secret.seal(CREDENTIAL, owner="acc_1")
    (tmp_path / "sealing.keys").unlink()

    with pytest.raises(GroxyError) as caught:
        InstallationSecret.of(tmp_path).open(sealed, owner="acc_1")

    assert key.name in caught.value.message
    assert "sealing.keys" in caught.value.message


def test_a_secret_that_belongs_to_no_folder_opens_no_rotated_seal(secret):
    rotated(secret)

    sealed = secret.seal(CREDENTIAL, owner="acc_1")

    assert kind_of(lambda: SECRET.open(sealed, owner="acc_1")) is ErrorKind.STORE_DOWN


def test_receipts_are_signed_with_a_seed_of_their_own():
    seeds = [InstallationSecret(b"s" * 32).receipt_seed() for _ in range(2)]

    assert seeds[0] == seeds[1] == SECRET.receipt_seed()
    assert seeds[0] not in (b"s" * 32, OTHER.receipt_seed(), SECRET.digest("sk-a"))
    assert len(seeds[0]) == 32

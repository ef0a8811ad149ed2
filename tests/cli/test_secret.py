import sqlite3
from contextlib import closing

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.store import resealing

CREDENTIAL = "xai-0123456789-secret"


@pytest.fixture(autouse=True)
def _no_long_waits(monkeypatch):
    for name in ("SETTLE_S", "FORGET_AFTER_S", "_BETWEEN_PASSES_S"):
        monkeypatch.setattr(resealing, name, 0.01)


@pytest.fixture
def stored(groxy):
    """An account in the store."""
    groxy("account", "add", "first", "--upstream", "xai", stdin=f"{CREDENTIAL}\n")


def cells(output):
    return [line.split() for line in output.splitlines() if line.strip()]


def key_made(output):
    line = next(line for line in output.splitlines() if line.startswith("Made the key "))
    return line.split()[3].rstrip(".")


def test_before_a_rotation_everything_is_sealed_with_the_key_from_the_secret(groxy, stored):
    shown = groxy("secret", "show")

    assert shown.exit_code == 0
    assert "the data folder's secret.key" in shown.output
    assert cells(shown.output)[-1] == ["(from", "the", "secret)", "seals", "1", "0", "0", "0"]


def test_after_a_rotation_everything_is_sealed_with_the_new_key_and_works(groxy, stored):
    rotated = groxy("secret", "rotate")

    assert rotated.exit_code == 0
    assert "Sealed anew in accounts: 1" in rotated.output
    key = key_made(rotated.output)
    shown = cells(groxy("secret", "show").output)
    assert shown[-2:] == [
        ["(from", "the", "secret)", "opens", "only", "0", "0", "0", "0"],
        [key, "seals", "1", "0", "0", "0"],
    ]
    assert "first" in groxy("account", "list").output


def test_old_keys_are_forgotten_only_when_that_is_asked_for(groxy, stored):
    keys = [key_made(groxy("secret", "rotate").output) for _ in range(2)]
    assert set(keys) <= set(groxy("secret", "show").output.split())

    rotated = groxy("secret", "rotate", "--forget-old")

    assert rotated.exit_code == 0
    assert f"Forgot: {', '.join(keys)}" in rotated.output
    shown = groxy("secret", "show").output.split()
    assert not set(keys) & set(shown)
    assert key_made(rotated.output) in shown
    assert "first" in groxy("account", "list").output


def test_the_first_rotation_has_nothing_to_forget(groxy, stored):
    assert "Forgot: no key" in groxy("secret", "rotate", "--forget-old").output


def test_no_secret_is_ever_printed(groxy, stored, data_dir):
    printed = "".join(
        groxy("secret", *words).output
        for words in (["show"], ["rotate"], ["rotate", "--forget-old"], ["show"])
    )

    wrapped = (data_dir / "sealing.keys").read_text().split()[1]
    for secret in (CREDENTIAL, wrapped, (data_dir / "secret.key").read_bytes().hex()):
        assert secret not in printed


def test_rows_that_do_not_open_are_named_and_the_status_says_so(groxy, stored, data_dir):
    groxy("account", "add", "second", "--upstream", "openrouter", stdin="sk-or-12345678\n")
    with closing(sqlite3.connect(data_dir / "groxy.db")) as connection, connection:
        ((name,),) = connection.execute("SELECT id FROM accounts WHERE name = 'first'").fetchall()
        connection.execute("UPDATE accounts SET sealed = x'0102' WHERE id = ?", (name,))

    rotated = groxy("secret", "rotate")

    assert rotated.exit_code == 1
    assert f"accounts {name}" in rotated.output
    assert "Sealed anew in accounts: 1" in rotated.output


def test_another_installations_secret_is_told_before_anything_changes(groxy, stored, data_dir):
    (data_dir / "secret.key").write_bytes(b"o" * 32)

    error = groxy("secret", "rotate").exception

    assert isinstance(error, GroxyError)
    assert error.kind is ErrorKind.STORE_DOWN
    assert "secret.key" in error.message
    assert not (data_dir / "sealing.keys").exists()


def test_a_rotation_that_was_broken_off_goes_on(groxy, stored, data_dir):
    key = key_made(groxy("secret", "rotate").output)
    file = data_dir / "sealing.keys"
    file.write_text(file.read_text().rstrip("\n") + " unfinished\n")

    again = groxy("secret", "rotate")

    assert again.exit_code == 0
    assert f"Went on with the key {key}" in again.output
    assert "Sealed anew in accounts: 0" in again.output


def test_a_lost_key_is_shown_as_missing(groxy, stored, data_dir):
    key = key_made(groxy("secret", "rotate").output)
    (data_dir / "sealing.keys").unlink()

    row = cells(groxy("secret", "show").output)[-1]

    assert row == [key, "missing", "in", "sealing.keys", "1", "0", "0", "0"]


def test_a_secret_of_the_settings_is_named_and_leaves_no_file(groxy, data_dir, monkeypatch):
    monkeypatch.setenv("GROXY_APP__SECRET_KEY", "5a" * 32)
    groxy("account", "add", "first", "--upstream", "xai", stdin=f"{CREDENTIAL}\n")

    assert groxy("secret", "rotate").exit_code == 0
    assert "the setting app.secret_key" in groxy("secret", "show").output
    assert not (data_dir / "secret.key").exists()


@pytest.mark.parametrize("is_rotated", [False, True])
def test_the_doctor_names_the_setting_when_it_is_another_installations(
    groxy, stored, monkeypatch, is_rotated
):
    for _ in range(is_rotated):
        groxy("secret", "rotate")
    monkeypatch.setenv("GROXY_APP__SECRET_KEY", "5a" * 32)

    error = groxy("doctor").exception

    assert isinstance(error, GroxyError)
    assert "app.secret_key" in error.message


def test_the_file_can_become_the_setting(groxy, stored, data_dir, monkeypatch):
    groxy("secret", "rotate")
    file = data_dir / "secret.key"
    monkeypatch.setenv("GROXY_APP__SECRET_KEY", file.read_bytes().hex())
    file.unlink()

    assert "first" in groxy("account", "list").output

"""The `groxy` command as a whole: what it says and how it ends when something is wrong."""

import gc
import os
import subprocess
import sys

import pytest

from groxy import __main__, __version__, cli
from groxy.core.errors import ErrorKind, GroxyError

WRONG = GroxyError(ErrorKind.BAD_REQUEST, "This is wrong.")


@pytest.fixture
def main(monkeypatch):
    """Run the command line with an application that raises what it is given."""

    def run(error):
        def app():
            raise error

        monkeypatch.setattr(cli, "app", app)
        cli.main()

    return run


@pytest.mark.parametrize(
    "error",
    [
        WRONG,
        ExceptionGroup("of a task group", [WRONG]),
        ExceptionGroup("outer", [ExceptionGroup("inner", [WRONG]), WRONG]),
    ],
)
def test_an_error_of_ours_is_its_message_and_status_2(main, capsys, error):
    with pytest.raises(SystemExit) as caught:
        main(error)

    assert caught.value.code == 2
    assert capsys.readouterr().err == "This is wrong.\n"


@pytest.mark.parametrize(
    "error", [RuntimeError("a bug"), ExceptionGroup("both", [WRONG, RuntimeError("a bug")])]
)
def test_a_defect_keeps_its_traceback(main, error):
    with pytest.raises((RuntimeError, ExceptionGroup)) as caught:
        main(error)

    assert caught.value is error


def test_the_version_is_printed(groxy):
    assert groxy("version").output.strip() == __version__


def test_what_was_imported_is_not_collected_but_what_comes_then_is(monkeypatch):
    seen = []
    monkeypatch.setattr(cli, "main", lambda: seen.append((gc.isenabled(), gc.get_freeze_count())))
    try:
        __main__.main()
    finally:
        gc.unfreeze()

    ((is_collecting, frozen),) = seen
    assert is_collecting
    assert frozen > 100_000


def test_without_a_command_the_commands_are_listed(groxy):
    listed = groxy().output

    for command in ("serve", "sandbox", "doctor", "key", "account", "model", "ledger"):
        assert command in listed


def test_a_sign_that_the_terminal_lacks_is_no_reason_to_fail(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "groxy", "ledger", "last", "--data-dir", str(tmp_path)],
        check=False,
        capture_output=True,
        timeout=30,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert done.returncode == 0, done.stderr
    assert b"asked ? served" in done.stdout

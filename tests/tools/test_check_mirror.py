"""The mirror check: which source files need a test file, and where it has to be."""

from pathlib import Path

import pytest

from tools import check_mirror

CODE = "def settle():\n    return 1\n"


class Checkout:
    """A small tree with src/groxy and tests."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, path: str, text: str = "") -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_a_file_with_its_test_passes_in_silence(checkout, capsys):
    checkout.write("src/groxy/ledger/entries.py", CODE)
    checkout.write("tests/ledger/test_entries.py")
    assert check_mirror.main(checkout.root) == 0
    assert capsys.readouterr().out == ""


def test_a_file_without_its_test_fails_and_says_what_to_write(checkout, capsys):
    checkout.write("src/groxy/ledger/entries.py", CODE)
    assert check_mirror.main(checkout.root) == 1
    assert capsys.readouterr().out == (
        "src/groxy/ledger/entries.py: has no test file, write tests/ledger/test_entries.py\n"
    )


def test_a_test_in_another_folder_does_not_count(checkout):
    checkout.write("src/groxy/ledger/entries.py", CODE)
    checkout.write("tests/test_entries.py")
    assert check_mirror.main(checkout.root) == 1


def test_a_module_at_the_top_has_its_test_at_the_top(checkout):
    checkout.write("src/groxy/gateway.py", CODE)
    checkout.write("tests/test_gateway.py")
    assert check_mirror.main(checkout.root) == 0


def test_the_leading_underscore_is_not_part_of_the_test_name(checkout):
    checkout.write("src/groxy/cli/_tables.py", CODE)
    checkout.write("tests/cli/test_tables.py")
    assert check_mirror.main(checkout.root) == 0


@pytest.mark.parametrize(
    "text",
    [
        '"""Only words."""\n',
        "LIMIT = 3\n",
        "class Price:\n    input: int\n    output: int\n",
        "class Clock(Protocol):\n    def now(self) -> int: ...\n",
        'class Clock(Protocol):\n    async def now(self) -> int:\n        """Seconds."""\n',
    ],
)
def test_a_file_that_does_nothing_needs_no_test(checkout, text):
    checkout.write("src/groxy/core/values.py", text)
    assert check_mirror.main(checkout.root) == 0


def test_one_method_with_a_body_is_code(checkout):
    checkout.write(
        "src/groxy/core/values.py", "class A:\n    async def b(self):\n        return 1\n"
    )
    assert check_mirror.main(checkout.root) == 1


@pytest.mark.parametrize(
    "path",
    [
        "__init__.py",
        "__main__.py",
        "core/__init__.py",
        "dialects/_base.py",
        "store/migrations/env.py",
        "store/migrations/versions/0001_first.py",
    ],
)
def test_what_is_exempt_needs_no_test(checkout, path):
    checkout.write(f"src/groxy/{path}", CODE)
    assert check_mirror.main(checkout.root) == 0


def test_every_exemption_has_a_reason():
    assert all(check_mirror.EXEMPT.values())

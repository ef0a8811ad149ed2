#!/usr/bin/env python3
"""Fail when a source file has no test file where everybody would look for it.

In: the tree under src/groxy. Out: one line for each `src/groxy/a/b.py` that holds code and has no
`tests/a/test_b.py`, exit code 1 if there is any. `_b.py` is tested by `test_b.py` too. Holding code
means: at least one function that does something; a file of constants, plain values and protocols
has nothing to test. It does not look into the test files. Standard library only.
"""

import ast
import sys
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path

# Files that need no test file of their own, and why. `*` stands for any folders, too.
EXEMPT: Mapping[str, str] = {
    "__main__.py": "runs the command line, which tests/cli and tests/e2e do",
    "*__init__.py": "collects names; what it collects is tested",
    "*_base.py": "what a folder's files have in common, tested with each of them",
    "store/migrations/*": "tested by running them all, up and down, in tests/store",
}


def holds_code(path: Path) -> bool:
    """Return whether the file at `path` has a function with more than a docstring in it."""
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    return any(
        isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not _is_empty(node)
        for node in ast.walk(tree)
    )


def _is_empty(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Return whether the body is only a docstring, `...` or `pass`, as in a protocol."""
    return all(
        isinstance(line, ast.Pass)
        or (isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant))
        for line in function.body
    )


def test_file_for(source: Path) -> Path:
    """Return where the test of `source` belongs; both are relative, to src/groxy and to tests."""
    return source.with_name(f"test_{source.name.lstrip('_')}")


def missing_tests(package: Path, tests: Path, exempt: Mapping[str, str]) -> list[tuple[Path, Path]]:
    """Return each source file without a test file, and that test file's path; both relative."""
    sources = sorted(path.relative_to(package) for path in package.rglob("*.py"))
    return [
        (source, test_file_for(source))
        for source in sources
        if not any(fnmatch(source.as_posix(), pattern) for pattern in exempt)
        and not (tests / test_file_for(source)).is_file()
        and holds_code(package / source)
    ]


def main(root: Path) -> int:
    """Check the checkout at `root`, print what is missing, and return the exit code."""
    missing = missing_tests(root / "src" / "groxy", root / "tests", EXEMPT)
    for source, test in missing:
        print(f"src/groxy/{source.as_posix()}: has no test file, write tests/{test.as_posix()}")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main(Path(__file__).resolve().parent.parent))

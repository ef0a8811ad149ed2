"""Commands of users and plans in this process."""

from typing import Any

import typer
from typer.testing import CliRunner


def told(app: typer.Typer, *arguments: str, stdin: str = "") -> str:
    """Run a command that has to succeed and return what it printed."""
    result = CliRunner().invoke(app, list(arguments), input=stdin)
    assert result.exit_code == 0, result.exception or result.output
    return result.output.strip()


def refusal(app: typer.Typer, *arguments: str, stdin: str = "") -> Any:
    """Run a command that has to fail and return its error."""
    result = CliRunner().invoke(app, list(arguments), input=stdin)
    assert result.exit_code != 0, result.output
    return result.exception

import pytest

from groxy.core.errors import ErrorKind
from groxy.settings.problems import Problem, Source, error_of, line_of, unknown

TOML = """\
# a comment: port = 1
[server]
host = "h"
"port" = 1

[[accounts]]
name = "a"
[accounts.options]
x = "1"
[[accounts]]
  name = "b"

[app]
api_key = [
  "sk-a",
]
features.stream = 1
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("server",), 2),
        (("server", "host"), 3),
        (("server", "port"), 4),
        (("server", "gone"), 2),
        (("accounts", 0), 6),
        (("accounts", 0, "name"), 7),
        (("accounts", 0, "options", "x"), 9),
        (("accounts", 1, "name"), 11),
        (("accounts", 1, "upstream"), 10),
        (("app", "api_key"), 14),
        (("app", "features", "stream"), 17),
        (("models",), None),
    ],
)
def test_a_setting_is_found_near_its_line(path, line):
    assert line_of(TOML, path) == line


def test_a_file_tells_the_line_and_a_variable_its_name():
    assert Source("file g.toml", TOML).where(("server", "host")) == "file g.toml, near line 3"
    assert Source("file g.toml", TOML).where(("models",)) == "file g.toml"
    assert Source("environment GROXY_X").where(("x",)) == "environment GROXY_X"


def test_a_source_does_not_print_the_content_of_its_file():
    assert "sk-a" not in repr(Source("file g.toml", TOML))


def test_all_problems_are_told_at_once_and_none_twice():
    problem = Problem("command line", "server.port", "is wrong")
    error = error_of([problem, problem, Problem("file g.toml", "", "is not TOML")])
    assert error.kind is ErrorKind.BAD_REQUEST
    assert error.param == "server.port"
    assert error.message == "command line: server.port is wrong\nfile g.toml: is not TOML"


def test_a_flood_of_problems_is_cut():
    lines = error_of([Problem("w", f"s{n}", "is wrong") for n in range(50)]).message.split("\n")
    assert len(lines) == 21
    assert lines[-1] == "and more"


def test_an_unknown_variable_is_told_which_variable_to_write():
    problem = unknown(("server_port",), Source("environment GROXY_SERVER_PORT"))
    assert "did you mean server.port? Then write GROXY_SERVER__PORT." in str(problem)

from pathlib import Path

import pytest

from groxy.core.errors import GroxyError
from groxy.settings.problems import Source
from groxy.settings.sources import Draft, read_config, read_environment, read_flags, read_text_file


def read(environ, values=None):
    draft = Draft()
    if values is not None:
        draft.values = values
        draft.note((), values, Source("file g.toml"))
    read_environment(draft, environ)
    return draft


def texts(draft):
    return [str(problem) for problem in draft.problems]


@pytest.mark.parametrize(
    ("name", "text", "path", "value"),
    [
        ("GROXY_SERVER__PORT", "8001", ("server", "port"), 8001),
        ("GROXY_SERVER__PORT", " 8001 ", ("server", "port"), 8001),
        ("GROXY_SERVER__PORT", "8001.5", ("server", "port"), "8001.5"),
        ("GROXY_SERVER__PORT", "٣", ("server", "port"), "٣"),
        ("GROXY_SERVER__PORT", "9" * 5000, ("server", "port"), "9" * 5000),
        ("GROXY_STREAMS__KEEPALIVE_S", "2.5", ("streams", "keepalive_s"), 2.5),
        ("GROXY_STREAMS__KEEPALIVE_S", "nan", ("streams", "keepalive_s"), "nan"),
        ("GROXY_FEATURES__STREAM", "Yes", ("features", "stream"), True),
        ("GROXY_FEATURES__STREAM", "off", ("features", "stream"), False),
        ("GROXY_FEATURES__STREAM", "maybe", ("features", "stream"), "maybe"),
        ("GROXY_APP__API_KEY", "a,b", ("app", "api_key"), "a,b"),
        ("GROXY_APP__API_KEY", '["a", "b"]', ("app", "api_key"), ["a", "b"]),
        ("GROXY_SERVER", '{"port": 1}', ("server", "port"), 1),
        ("GROXY_ATTEMPTS__ALSO_ROTATE_ON", "404,409", ("attempts", "also_rotate_on"), "404,409"),
        ("GROXY_ACCOUNTS__0__TAGS", "eu,paid", ("accounts", 0, "tags"), "eu,paid"),
        ("GROXY_ACCOUNTS__0__RPM", "60", ("accounts", 0, "rpm"), 60),
        ("GROXY_ACCOUNTS__0__NAME", "7", ("accounts", 0, "name"), "7"),
        ("GROXY_ACCOUNTS__0__OPTIONS__A_B", "7", ("accounts", 0, "options", "a_b"), "7"),
        ("GROXY_ACCOUNTS__0__OPTIONS", '{"a":"7"}', ("accounts", 0, "options", "a"), "7"),
        ("GROXY_ACCOUNTS__0", '{"name":"n"}', ("accounts", 0, "name"), "n"),
        ("GROXY_ACCOUNTS", '[{"name":"n"}]', ("accounts", 0, "name"), "n"),
        ("GROXY_MODELS", '{"grok-4":{"a":1}}', ("models", "grok-4", "a"), 1),
        ("GROXY_MODELS__GROK-4__A", "1", ("models", "grok-4", "a"), 1),
        ("GROXY_MODELS__GROK-4__A__B", "word", ("models", "grok-4", "a", "b"), "word"),
    ],
)
def test_a_variable_is_read_as_what_its_setting_wants(name, text, path, value):
    draft = read({name: text})
    assert texts(draft) == []
    assert draft.value_at(path) == value
    given = draft.givers().get(path)
    assert given is not None
    assert given.origin == f"environment {name}"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("GROXY_SERVER", "x"),
        ("GROXY_ACCOUNTS", "first"),
        ("GROXY_ACCOUNTS__0", "first"),
        ("GROXY_ACCOUNTS__0__OPTIONS", "x"),
        ("GROXY_MODELS", "grok-4"),
        ("GROXY_MODELS", '{"a": NaN}'),
        ("GROXY_MODELS", "[" * 100_000),
        ("GROXY_MODELS", '{"a":' * 200 + "1" + "}" * 200),
        ("GROXY_APP__API_KEY", '["sk-a"'),
    ],
)
def test_text_where_json_is_needed_is_told_and_not_repeated(name, text):
    (problem,) = texts(read({name: text}))
    assert name in problem
    assert "sk-a" not in problem
    assert len(problem) < 300


@pytest.mark.parametrize(
    "name",
    [
        "GROXY_",
        "GROXY_PORT",
        "GROXY_SERVER_PORT",
        "GROXY_SERVER__PROT",
        "GROXY__SERVER__PORT",
        "GROXY_SERVER____PORT",
        "GROXY_SERVER__PORT__LOW",
        "GROXY_ACCOUNTS__NAME",
        "GROXY_ACCOUNTS__0__NAMES",
        "GROXY_ACCOUNTS__99999999999__NAME",
    ],
)
def test_an_unknown_variable_is_told(name):
    (problem,) = texts(read({name: "1"}))
    assert problem.startswith(f"environment {name}: ")
    assert "is not a setting" in problem


def test_what_kubernetes_adds_for_a_service_named_groxy_is_left_alone():
    draft = read(
        {
            "GROXY_PORT": "tcp://10.0.0.1:8000",
            "GROXY_SERVER_PORT": "tcp://10.0.0.1:8000",
            "GROXY_SERVICE_HOST": "10.0.0.1",
            "GROXY_SERVICE_PORT": "8000",
            "GROXY_SERVICE_PORT_HTTP": "8000",
            "GROXY_PORT_8000_TCP": "tcp://10.0.0.1:8000",
            "GROXY_PORT_8000_TCP_ADDR": "10.0.0.1",
            "GROXY_API_SERVICE_HOST": "10.0.0.1",
        }
    )
    assert texts(draft) == []
    assert draft.values == {}


def test_other_programs_variables_are_left_alone():
    assert read({"PATH": "/bin", "GROXYX": "1", "groxy_server__prot": "1"}).values == {}


def test_a_variable_changes_one_field_of_an_account_in_the_file():
    file = {"accounts": [{"name": "a", "pool": "basic"}, {"name": "b"}]}
    draft = read({"GROXY_ACCOUNTS__1__POOL": "super", "GROXY_ACCOUNTS__2__NAME": "c"}, file)
    assert draft.value_at(("accounts",)) == [
        {"name": "a", "pool": "basic"},
        {"name": "b", "pool": "super"},
        {"name": "c"},
    ]


def test_accounts_in_json_take_the_place_of_those_in_the_file():
    file = {"accounts": [{"name": "a", "pool": "basic"}, {"name": "b"}]}
    draft = read({"GROXY_ACCOUNTS__0__POOL": "super", "GROXY_ACCOUNTS": '[{"name":"c"}]'}, file)
    assert draft.value_at(("accounts",)) == [{"name": "c", "pool": "super"}]
    assert draft.givers().get(("accounts", 1, "name")) is None


def test_accounts_are_added_in_the_order_of_their_numbers():
    draft = read(
        {f"GROXY_ACCOUNTS__{n}__NAME": f"n{n}" for n in (10, 2, 0, 1, 3, 4, 5, 6, 7, 8, 9)}
    )
    assert texts(draft) == []
    assert draft.value_at(("accounts", 10, "name")) == "n10"


def test_a_gap_between_accounts_is_told():
    (problem,) = texts(read({"GROXY_ACCOUNTS__3__NAME": "x"}))
    assert "accounts.3.name leaves a gap; the next account is accounts.0" in problem


def test_a_json_section_is_laid_over_the_section_in_the_file():
    draft = read({"GROXY_SERVER": '{"port": 1}'}, {"server": {"host": "h", "port": 2}})
    assert draft.values == {"server": {"host": "h", "port": 1}}


def test_a_flag_that_was_not_given_changes_nothing():
    draft = Draft()
    read_flags(draft, {"server.port": None, "server.host": "h", "server.workers": 2})
    assert draft.values == {"server": {"host": "h", "workers": 2}}
    read_flags(draft, {"server.prot": 1})
    assert texts(draft) == [
        "command line: server.prot is not a setting; did you mean server.port?",
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[server\n", "not valid TOML"),
        (b"[server]\nhost = nothing\n", "line 2"),
        (b"\xff\xfe[\x00", "UTF-8"),
        (b"a = 1\na = 2\n", "not valid TOML"),
        (b"x = " + b"[" * 5000, "deep"),
        (b"x = " + b"[" * 60 + b"]" * 60, "deep"),
        (b"x = " + b"9" * 5000, "digits"),
        (b"#" * (1024 * 1024 + 1), "larger than 1 MiB"),
        (b"x = \x00", "not valid TOML"),
    ],
)
def test_a_file_that_is_no_toml_is_refused(tmp_path, content, words):
    file = tmp_path / "g.toml"
    file.write_bytes(content)
    with pytest.raises(GroxyError) as caught:
        read_config(Draft(), file)
    assert caught.value.message.startswith(f"file {file}: ")
    assert words in caught.value.message


def test_broken_toml_does_not_show_a_key(tmp_path):
    file = tmp_path / "g.toml"
    file.write_text('[app]\napi_key = "sk-hidden\n')
    with pytest.raises(GroxyError) as caught:
        read_config(Draft(), file)
    assert "sk-hidden" not in caught.value.message


@pytest.mark.parametrize("name", ["gone.toml", "."])
def test_a_file_that_cannot_be_read_is_told_with_the_remedy(tmp_path, name):
    with pytest.raises(GroxyError, match="check --config or GROXY_CONFIG"):
        read_config(Draft(), tmp_path / name)


def test_the_mark_that_some_editors_put_first_is_skipped(tmp_path):
    file = tmp_path / "g.toml"
    file.write_bytes(b"\xef\xbb\xbf[server]\r\nport = 1\r\n")
    draft = Draft()
    read_config(draft, file)
    assert draft.values == {"server": {"port": 1}}


def test_an_endless_file_is_not_read_to_its_end():
    with pytest.raises(ValueError, match="larger"):
        read_text_file(Path("/dev/zero"))


def test_the_data_folder_cannot_be_named_in_the_file(tmp_path):
    file = tmp_path / "g.toml"
    file.write_text('data_dir = "/x"\n')
    draft = Draft()
    read_config(draft, file)
    (problem,) = texts(draft)
    assert "--data-dir or GROXY_DATA_DIR" in problem

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings as hypothesis_settings, strategies as st

import groxy
from groxy.core.errors import ErrorKind, GroxyError
from groxy.settings import Secret, every_setting, load_settings, shown_settings

CONTRACT = """\
[server]
host = "127.0.0.1"
port = 8123
workers = 1
[app]
api_key = "sk-a"
app_key = "adm-1"
app_url = ""
[features]
stream = false
[store]
url = "sqlite+aiosqlite:///groxy.db"
[state]
url = "memory://"
[[accounts]]
name = "first"
upstream = "xai"
api_key = "xai-1"
base_url = "http://127.0.0.1:9001/v1"
pool = "heavy"
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty current folder and an empty home."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    return tmp_path


def load(home, toml=None, environ=None, **more):
    if toml is not None:
        Path("groxy.toml").write_text(toml)
    return load_settings(environ={"HOME": str(home), **(environ or {})}, **more)


def refusal(home, toml=None, environ=None, **more):
    with pytest.raises(GroxyError) as caught:
        load(home, toml, environ, **more)
    assert caught.value.kind is ErrorKind.BAD_REQUEST
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    return caught.value.message


def test_without_any_source_all_values_are_defaults(home):
    loaded = load(home)
    assert loaded.settings.data_dir == home / ".local/share/groxy"
    assert set(loaded.origins.values()) == {"default"}
    assert loaded.settings.accounts == ()
    assert loaded.config is None


def test_loading_creates_nothing(home):
    load(home)
    assert [path.name for path in home.rglob("*")] == ["here"]


def test_the_file_of_the_contract_is_read(home):
    loaded = load(home, CONTRACT)
    settings = loaded.settings
    assert settings.server.port == 8123
    assert settings.app.api_key == (Secret("sk-a"),)
    assert settings.app.app_key == Secret("adm-1")
    (account,) = settings.accounts
    assert account.api_key == Secret("xai-1")
    assert account.base_url == "http://127.0.0.1:9001/v1"
    assert loaded.origins["server.port"] == "file groxy.toml"
    assert loaded.origins["server.max_body_bytes"] == "default"
    assert loaded.origins["accounts.0.name"] == "file groxy.toml"
    assert loaded.config == Path("groxy.toml")


def test_flags_win_over_variables_and_variables_over_the_file(home):
    toml = '[server]\nport = 1\nworkers = 1\nhost = "::1"\n'
    environ = {"GROXY_SERVER__PORT": "2", "GROXY_SERVER__HOST": "localhost"}
    loaded = load(home, toml, environ, flags={"server.port": 3, "server.host": None})
    server = loaded.settings.server
    assert (server.port, server.host, server.workers) == (3, "localhost", 1)
    assert loaded.origins["server.port"] == "command line"
    assert loaded.origins["server.host"] == "environment GROXY_SERVER__HOST"
    assert loaded.origins["server.workers"] == "file groxy.toml"


def test_a_flag_may_come_as_text(home):
    assert load(home, flags={"server.port": "9000"}).settings.server.port == 9000


def test_every_setting_has_an_origin(home):
    origins = load(home, CONTRACT + '[models."grok-4"]\ncontext = 1\n').origins
    plain = {setting.name for setting in every_setting() if not set("[<") & set(setting.name)}
    assert plain <= set(origins)
    assert origins["models.grok-4"] == "file groxy.toml"


def test_model_overrides_are_passed_on_as_they_are(home):
    toml = '[models."x-ai/grok-4"]\nanything = [1, {a = true}]\n'
    overrides = load(home, toml).settings.models
    assert overrides == {"x-ai/grok-4": {"anything": [1, {"a": True}]}}


def test_arrays_and_tables_come_from_the_file_or_from_variables(home):
    toml = """
[routing.quotas]
super.fast = "400/2h"
[attempts]
also_rotate_on = [404]
[[accounts]]
name = "a"
upstream = "xai"
tags = ["eu"]
"""
    loaded = load(home, toml)
    assert loaded.settings.routing.quotas == {"super.fast": "400/2h"}
    assert loaded.origins["routing.quotas"] == "file groxy.toml"
    assert loaded.settings.attempts.also_rotate_on == (404,)
    assert loaded.settings.accounts[0].tags == ("eu",)
    environ = {
        "GROXY_ROUTING__QUOTAS": '{"basic.fast": "30/1d"}',
        "GROXY_ATTEMPTS__ALSO_ROTATE_ON": "409, 425",
        "GROXY_ACCOUNTS__0__TAGS": "us,paid",
        "GROXY_ACCOUNTS__0__QUOTAS": '{"fast": "4/1h"}',
        "GROXY_APP__SECRET_KEY": "ab" * 32,
    }
    settings = load(home, toml, environ).settings
    assert settings.routing.quotas == {"basic.fast": "30/1d"}
    assert settings.attempts.also_rotate_on == (409, 425)
    assert settings.accounts[0].tags == ("us", "paid")
    assert settings.accounts[0].terms().quotas == {"fast": "4/1h"}
    assert settings.app.secret_bytes() == b"\xab" * 32


# ---- which file and which folder


def test_aliases_come_from_the_file_or_from_a_variable(home):
    toml = '[aliases]\n"claude-*" = "grok-4.3"\n'
    loaded = load(home, toml)
    assert loaded.settings.aliases == {"claude-*": "grok-4.3"}
    assert loaded.origins["aliases"] == "file groxy.toml"
    loaded = load(home, toml, {"GROXY_ALIASES": '{"gpt-*": "grok-4.7"}'})
    assert loaded.settings.aliases == {"gpt-*": "grok-4.7"}
    assert loaded.origins["aliases"] == "environment GROXY_ALIASES"


def test_a_named_file_wins_over_the_one_in_the_current_folder(home):
    (home / "a.toml").write_text("[server]\nport = 1\n")
    (home / "b.toml").write_text("[server]\nport = 2\n")
    environ = {"GROXY_CONFIG": str(home / "b.toml")}
    assert load(home, "[server]\nport = 3\n", environ).settings.server.port == 2
    loaded = load(home, None, environ, config=home / "a.toml")
    assert loaded.settings.server.port == 1
    assert loaded.origins["server.port"] == f"file {home / 'a.toml'}"


def test_the_file_in_the_data_folder_is_read_when_there_is_no_other(home):
    data = home / "data"
    data.mkdir()
    (data / "groxy.toml").write_text("[server]\nport = 1\n")
    assert load(home, data_dir=data).settings.server.port == 1
    loaded = load(home, "[server]\nport = 2\n", data_dir=data)
    assert loaded.settings.server.port == 2
    assert loaded.notes == (
        f"{data / 'groxy.toml'} is not read, as there is a groxy.toml in the current folder.",
    )


def test_one_file_in_both_roles_is_no_conflict(home):
    loaded = load(home, "[server]\nport = 2\n", data_dir=Path())
    assert loaded.notes == ()


def test_a_named_file_must_be_there(home):
    assert "check --config" in refusal(home, config=home / "gone.toml")


def test_the_data_folder_comes_from_flag_then_variable_then_xdg_then_home(home):
    environ = {"GROXY_DATA_DIR": str(home / "v"), "XDG_DATA_HOME": str(home / "x")}
    loaded = load(home, None, environ, data_dir=home / "f")
    assert (loaded.settings.data_dir, loaded.origins["data_dir"]) == (home / "f", "command line")
    loaded = load(home, None, environ)
    assert loaded.settings.data_dir == home / "v"
    assert loaded.origins["data_dir"] == "environment GROXY_DATA_DIR"
    environ["GROXY_DATA_DIR"] = ""
    assert load(home, None, environ).settings.data_dir == home / "x" / "groxy"
    environ["XDG_DATA_HOME"] = "relative"
    assert load(home, None, environ).settings.data_dir == home / ".local/share/groxy"


def test_the_data_folder_is_made_absolute(home):
    assert load(home, data_dir=Path("d")).settings.data_dir == home / "here" / "d"
    environ = {"GROXY_DATA_DIR": "~/d"}
    assert load(home, None, environ).settings.data_dir == home / "d"


def test_without_a_home_the_data_folder_has_to_be_named(home, tmp_path):
    with pytest.raises(GroxyError, match="give --data-dir or GROXY_DATA_DIR"):
        load_settings(environ={})
    assert load_settings(environ={}, data_dir=tmp_path).settings.data_dir == tmp_path


def test_a_file_is_no_data_folder(home):
    (home / "f").write_text("")
    assert "name a folder" in refusal(home, data_dir=home / "f")


def test_a_key_file_is_looked_for_beside_the_settings_file(home):
    (home / "etc").mkdir()
    (home / "etc/g.toml").write_text(
        '[[accounts]]\nname = "a"\nupstream = "xai"\napi_key_file = "k"\n'
    )
    (home / "etc/k").write_text("xai-1\n")
    loaded = load(home, config=home / "etc/g.toml")
    assert loaded.settings.accounts[0].api_key == Secret("xai-1")


def test_nothing_that_is_loaded_prints_a_secret(home):
    toml = """
[app]
api_key = "SECRET1,SECRET2"
app_key = "SECRET3"
[store]
url = "postgresql://u:SECRET4@h/db"
[state]
url = "redis://:SECRET5@h/0"
[[accounts]]
name = "a"
upstream = "cloudflare"
api_key = "SECRET6"
options = {provider_key = "SECRET7"}
"""
    environ = {"XAI_API_KEY": "SECRET8", "OPENROUTER_API_KEY": "SECRET6"}
    loaded = load(home, toml, environ)
    settings = loaded.settings
    shown = [loaded, settings, settings.model_dump(), settings.model_dump_json()]
    assert "SECRET" not in f"{shown} {shown_settings(loaded)} {loaded.notes} {loaded.origins}"


def test_doctor_sees_every_value_with_its_origin(home):
    environ = {"GROXY_APP__API_KEY": "", "XAI_API_KEY": "xai-2"}
    lines = {line.name: line for line in shown_settings(load(home, CONTRACT, environ))}
    assert lines["server.port"].value == "8123"
    assert lines["app.api_key"].value == '"" (open mode)'
    assert lines["app.api_key"].origin == "environment GROXY_APP__API_KEY"
    assert lines["accounts.1.name"].value == '"xai"'
    assert lines["accounts.1.api_key"].origin == "environment XAI_API_KEY"
    assert lines["accounts.1.pool"].origin == "default"
    assert lines["app.app_key"].value == '"*****"'


def test_a_variable_names_the_source_of_the_key_it_led_to(home):
    toml = '[[accounts]]\nname = "a"\nupstream = "xai"\napi_key_env = "MY_KEY"\n'
    loaded = load(home, toml, {"MY_KEY": "k-1"})
    assert loaded.origins["accounts.0.api_key"] == "environment MY_KEY"
    assert loaded.origins["accounts.0.api_key_env"] == "file groxy.toml"


def test_importing_the_settings_reads_no_environment(home):
    code = """
import os
class Watched(dict):
    def __getitem__(self, name):
        if name.startswith("GROXY"): raise RuntimeError(name)
        return super().__getitem__(name)
    def get(self, name, default=None):
        return self[name] if name in self else default
    def forbidden(self, *_): raise RuntimeError("all variables were read")
    __iter__ = items = keys = values = copy = forbidden
import pydantic.main, msgspec
os.environ = Watched(os.environ)
import groxy.settings
"""
    paths = [str(Path(groxy.__file__).parent.parent)]
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "GROXY_SERVER__PROT": "1", "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def outcome(**sources):
    try:
        return shown_settings(load_settings(**sources))
    except GroxyError as error:
        return error.message


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["port", "name", "api_key", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)
NAMES = [setting.name.replace("[]", ".0").partition(".<")[0] for setting in every_setting()]


@hypothesis_settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(flags=st.dictionaries(st.sampled_from([*NAMES, "server", "app", "x"]), VALUES, max_size=3))
def test_any_flags_give_settings_or_a_clear_error(home, flags):
    assert outcome(environ={"HOME": str(home)}, flags=flags)


@hypothesis_settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    names=st.lists(st.sampled_from([*NAMES, "server", "accounts", "models.a.b"]), max_size=3),
    text=st.text(max_size=12) | st.sampled_from(["{}", "[]", "[{}]", '{"a":1}', "-0", "1e999"]),
)
def test_any_variables_give_settings_or_a_clear_error(home, names, text):
    environ = {"GROXY_" + name.replace(".", "__").upper(): text for name in names}
    environ.pop("GROXY_DATA_DIR", None)
    assert outcome(environ={"HOME": str(home), **environ})


@pytest.mark.parametrize("name", ["GROXY_URL", "GROXY_APP_KEY"])
def test_what_tells_commands_of_a_running_gateway_is_no_setting(home, name):
    environ = {"GROXY_DATA_DIR": str(home), name: "anything"}

    assert load_settings(environ=environ).settings.data_dir == home

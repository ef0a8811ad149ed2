import datetime
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings as hypothesis_settings, strategies as st

from groxy.core.errors import ErrorKind, GroxyError
from groxy.settings import (
    Loaded,
    Secret,
    Settings,
    described_config,
    every_setting,
    flattened,
    is_start_only,
    load_settings,
    shown_config,
    shown_settings,
    with_overrides,
)
from groxy.settings.overrides import ORIGIN, START_ONLY, TABLES

KEY = "sk-groxy-0123456789abcf3a1"


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Loads settings in an empty folder; `toml` is the file, if any."""
    monkeypatch.chdir(tmp_path)

    def load_it(toml=None, **environ):
        if toml is not None:
            Path("groxy.toml").write_text(toml)
        return load_settings(environ={"HOME": str(tmp_path), **environ})

    return load_it


def loaded_of(**sections):
    return Loaded(Settings.model_validate({"data_dir": Path("/data"), **sections}), {})


def shown_of(loaded) -> dict[str, Any]:
    return shown_config(loaded)


def refusal(work, *args):
    with pytest.raises(GroxyError) as caught:
        work(*args)
    error = caught.value
    assert error.kind is ErrorKind.BAD_REQUEST
    assert error.__context__ is None or error.__suppress_context__
    return error


# ---- what needs a restart


@pytest.mark.parametrize(
    "name",
    [
        "data_dir",
        "server",
        "server.port",
        "store.url",
        "store.grace_s",
        "state.url",
        "sandbox.tokens_per_s",
        "app.secret_key",
        "media.url",
        "accounts",
        "accounts.0.name",
        "accounts[].api_key",
    ],
)
def test_what_is_read_at_the_start_needs_a_restart(name):
    assert is_start_only(name)


@pytest.mark.parametrize("name", ["app", "app.api_key", "routing.strategy", "aliases", "servers"])
def test_everything_else_changes_while_it_runs(name):
    assert not is_start_only(name)


def test_what_needs_a_restart_is_a_setting_or_a_section():
    names = {name.replace("[]", "") for name in (info.name for info in every_setting())}
    heads = {name.partition(".")[0] for name in names}
    assert names | heads >= START_ONLY
    assert {name.partition(".<")[0] for name in names} >= TABLES


# ---- patches


def test_a_nested_patch_becomes_dotted_names():
    patch = {
        "routing": {"strategy": "random", "quotas": {"super.fast": "400/2h"}},
        "app": {"api_key": None},
        "logging": {},
        "models": {"grok-4.3": {"context": 1}},
    }
    assert flattened(patch) == {
        "routing.strategy": "random",
        "routing.quotas": {"super.fast": "400/2h"},
        "app.api_key": None,
        "models": {"grok-4.3": {"context": 1}},
    }


def test_a_patch_may_hold_dotted_names():
    patch = {"routing.strategy": "random", "aliases": {"a.b": "grok-4.3"}}
    assert flattened(patch) == patch


def test_null_for_a_section_takes_back_all_of_it():
    assert flattened({"refresh": None}) == {
        "refresh.every_s": None,
        "refresh.jitter": None,
        "refresh.at_once": None,
    }


def test_null_for_a_section_that_needs_a_restart_is_refused():
    assert refusal(flattened, {"server": None}).code == "startup_only_config"


@pytest.mark.parametrize(
    ("patch", "param", "words"),
    [
        ({"routing": {"strateg": "random"}}, "routing.strateg", "did you mean routing.strategy?"),
        ({"rooting": {"strategy": "random"}}, "rooting", "did you mean routing?"),
        ({"server": {"prot": 1}}, "server.prot", "did you mean server.port?"),
        ({"catalog": {"refresh_s": 1}}, "catalog", "did you mean refresh.every_s?"),
        ({"catalog.refresh_s": 1}, "catalog.refresh_s", "did you mean refresh.every_s?"),
        ({"zzz": None}, "zzz", "docs/settings.md lists all of them"),
        ({"routing.strategy.x": 1}, "routing.strategy.x", "is not a setting"),
        ({"": 1}, '""', "is not a setting"),
        ({"routing": {"": 1}}, '""', "is not a setting"),
        ({".": 1}, ".", "is not a setting"),
    ],
)
def test_an_unknown_name_is_told_with_the_nearest_one(patch, param, words):
    error = refusal(flattened, patch)
    assert (error.code, error.param) == ("unknown_config_key", param)
    assert error.message.startswith(param)
    assert words in error.message


@pytest.mark.parametrize("name", ["x" * 100_000, "." * 100_000])
def test_a_long_name_is_refused_quickly_and_cut(name):
    error = refusal(flattened, {name: 1})
    assert error.code == "unknown_config_key"
    assert len(error.message) < 300


@pytest.mark.parametrize(
    ("patch", "param"),
    [
        ({"server": {"port": 9000}}, "server.port"),
        ({"server": {"port": None}}, "server.port"),
        ({"app": {"secret_key": "00" * 32}}, "app.secret_key"),
        ({"media": {"url": "memory://"}}, "media.url"),
        ({"data_dir": "/x"}, "data_dir"),
    ],
)
def test_what_needs_a_restart_is_refused_with_the_remedy(patch, param):
    error = refusal(flattened, patch)
    assert (error.code, error.param) == ("startup_only_config", param)
    assert "set it in the settings file and restart" in error.message


@pytest.mark.parametrize("value", [[], 5, None, {"0": {"name": "a"}}])
def test_accounts_have_endpoints_of_their_own(value):
    error = refusal(flattened, {"accounts": value})
    assert (error.code, error.param) == ("startup_only_config", "accounts")
    assert "/admin/api/tokens" in error.message


@pytest.mark.parametrize("value", [5, "x", [], True])
def test_a_section_is_an_object(value):
    error = refusal(flattened, {"routing": value})
    assert (error.code, error.param) == ("invalid_value", "routing")


@pytest.mark.parametrize("name", ["aliases.x", "models.grok-4.3", "routing.quotas.super.fast"])
def test_a_part_of_a_table_is_refused_as_the_table_is_replaced_whole(name):
    error = refusal(flattened, {name: "y"})
    assert (error.code, error.param) == ("invalid_value", name)
    assert "replaced as a whole" in error.message


@pytest.mark.parametrize("key", ["sk-g…f3a1", "…", "*****", ["sk-new", "sk-g…f3a1"]])
def test_a_masked_key_that_was_sent_back_is_refused(key):
    error = refusal(flattened, {"app": {"api_key": key}})
    assert (error.code, error.param) == ("invalid_value", "app.api_key")
    assert "leave it out to keep it" in error.message


def test_a_value_that_is_nested_too_deep_is_refused():
    value: dict[str, object] = {}
    for _ in range(200):
        value = {"a": value}
    assert refusal(flattened, {"models": value}).code == "invalid_value"


# ---- settings with overrides


def test_overrides_win_over_file_and_environment_and_say_so(load):
    loaded = load(
        '[attempts]\nmax_attempts = 4\nidle_timeout_s = 9\n[aliases]\na = "grok-4.3"\n',
        GROXY_ROUTING__STRATEGY="quota",
    )
    overrides = {
        "attempts.max_attempts": 5,
        "routing.strategy": "random",
        "streams.keepalive_s": 3,
        "app.api_key": ["sk-new"],
        "aliases": {"b": "grok-4.7"},
        "attempts.also_rotate_on": [404],
    }
    changed = with_overrides(loaded, overrides)
    settings = changed.settings
    assert (settings.attempts.max_attempts, settings.attempts.idle_timeout_s) == (5, 9)
    assert settings.attempts.also_rotate_on == (404,)
    assert settings.routing.strategy == "random"
    assert settings.streams.keepalive_s == 3
    assert settings.app.api_key == (Secret("sk-new"),)
    assert settings.aliases == {"b": "grok-4.7"}
    assert {name for name, origin in changed.origins.items() if origin == ORIGIN} == set(overrides)
    assert changed.origins["attempts.idle_timeout_s"] == "file groxy.toml"
    assert changed.config == loaded.config
    assert loaded.settings.attempts.max_attempts == 4


def test_what_is_not_overridden_stays_as_it_was(load):
    loaded = load(
        f'[app]\napi_key = "{KEY}"\napp_key = "adm-1"\n[state]\nurl = "redis://u:pw@h/0"\n'
        '[[accounts]]\nname = "a"\nupstream = "xai"\napi_key = "xai-1"\n'
    )
    changed = with_overrides(loaded, {"app.app_url": "https://groxy.example", "routing": None})
    assert changed.settings.app.api_key == (Secret(KEY),)
    assert changed.settings.app.app_key == Secret("adm-1")
    assert changed.settings.state == loaded.settings.state
    assert changed.settings.accounts == loaded.settings.accounts
    assert changed.origins == {**loaded.origins, "app.app_url": ORIGIN}


def test_no_overrides_change_nothing(load):
    loaded = load(CONFIG)
    assert with_overrides(loaded, {}) == loaded
    assert with_overrides(loaded, {"routing.strategy": None}) == loaded


def test_doctor_sees_where_overrides_come_from(load):
    lines = {
        line.name: line
        for line in shown_settings(with_overrides(load(), {"models": {"grok-4.3": {"a": 1}}}))
    }
    assert lines["models.grok-4.3"].origin == ORIGIN
    assert lines["routing.strategy"].origin == "default"


def test_a_table_of_models_replaces_the_one_in_the_file(load):
    loaded = load('[models."grok-4.3"]\ncontext = 1\n[models.other]\ncontext = 2\n')
    changed = with_overrides(loaded, {"models": {"grok-4.3": {"aliases": ["x"]}}})
    assert changed.settings.models == {"grok-4.3": {"aliases": ["x"]}}
    assert "models.other" not in changed.origins


def test_a_table_can_be_emptied(load):
    loaded = load('[aliases]\na = "grok-4.3"\n')
    changed = with_overrides(loaded, {"aliases": {}})
    assert changed.settings.aliases == {}
    assert changed.origins["aliases"] == ORIGIN


@pytest.mark.parametrize(
    ("patch", "param", "words"),
    [
        ({"routing.strategy": "x"}, "routing.strategy", '"quota" or "random", not "x"'),
        ({"attempts.max_attempts": "3"}, "attempts.max_attempts", "from 1 to 20"),
        ({"attempts.max_attempts": 3.0}, "attempts.max_attempts", "a whole number"),
        ({"attempts.max_attempts": True}, "attempts.max_attempts", "not true"),
        ({"attempts.max_attempts": [1]}, "attempts.max_attempts", "not an array"),
        ({"features.stream": "true"}, "features.stream", "true or false"),
        ({"refresh.every_s": 3}, "refresh.every_s", "at least 10 seconds"),
        ({"attempts.hedge_percentile": 40}, "attempts.hedge_percentile", "50 to 99.9"),
        ({"attempts.also_rotate_on": [200]}, "attempts.also_rotate_on", "from 400 to 599"),
        ({"aliases": {"a": 5}}, "aliases", "a table of text"),
        ({"aliases": {"a": "b", "b": "c"}}, "aliases.a", "an alias itself"),
        ({"models": {"a": 5}}, "models.a", "a table"),
        ({"routing.quotas": {"super.fast": "4"}}, "routing.quotas.super.fast", "400/2h"),
        ({"routing.quotas": {"gold.fast": "4/1h"}}, "routing.quotas.gold.fast", "no pool"),
        ({"attempts.backoff_s": 9}, "attempts.backoff_max_s", "attempts.backoff_s (9)"),
        ({"app.api_key": []}, "app.api_key", "holds no key"),
        ({"app.api_key": "adm-1"}, "app.app_key", "every caller would be an operator"),
        ({"app.app_url": "ftp://h"}, "app.app_url", "http"),
    ],
)
def test_a_value_that_cannot_be_is_told_with_the_remedy(patch, param, words):
    error = refusal(with_overrides, loaded_of(app={"app_key": "adm-1"}), patch)
    assert (error.code, error.param) == ("invalid_value", param)
    assert error.message.startswith(f"{param} ")
    assert words in error.message


def test_names_are_checked_here_too():
    assert refusal(with_overrides, loaded_of(), {"zzz": 1}).code == "unknown_config_key"
    assert refusal(with_overrides, loaded_of(), {"server.port": 1}).code == "startup_only_config"


def test_open_mode_on_the_network_is_refused_live_too():
    loaded = loaded_of(server={"host": "0.0.0.0"})
    error = refusal(with_overrides, loaded, {"app.api_key": ""})
    assert error.param == "app.api_key"
    assert "open mode" in error.message


def test_all_faults_are_told_at_once():
    patch = {"attempts.max_attempts": 99, "attempts.idle_timeout_s": -1}
    assert refusal(with_overrides, loaded_of(), patch).message.count("\n") == 1


def test_a_flood_of_faults_is_cut():
    models = {f"m{number}": number for number in range(500)}
    error = refusal(with_overrides, loaded_of(), {"models": models})
    assert error.message.count("\n") < 25
    aliases = {f"m{number}": "" for number in range(500)}
    assert refusal(with_overrides, loaded_of(), {"aliases": aliases}).message.endswith("and more")


@pytest.mark.parametrize(
    "patch",
    [
        {"app.api_key": ["SECRET x"]},
        {"app.api_key": {"x": "SECRET"}},
        {"app.api_key": ["SECRET", 5]},
        {"app.app_key": "SECRET x"},
        {"app.app_key": ["SECRET"]},
        {"app.api_key": "SECRET", "app.app_key": "SECRET"},
        {"app.api_key": "SECRET…"},
        {"app": "SECRET"},
        {"app": {"secret_key": "SECRET"}},
        {"app.app_url": "http://u:SECRET@h"},
    ],
)
def test_no_refusal_repeats_a_secret(patch):
    error = refusal(with_overrides, loaded_of(), patch)
    assert "SECRET" not in f"{error.message} {error.detail} {error.param}"


# ---- what is shown

CONFIG = f"""
[app]
api_key = ["{KEY}", "sk-short"]
app_key = "adm-0123456789abcdef"
secret_key = "{"5e" * 32}"
[store]
url = "postgresql://user:SECRET@host/db"
[state]
url = "redis://:SECRET@host/0"
[routing.quotas]
super.fast = "400/2h"
[attempts]
never_rotate_on = [404]
[models."grok-4.3"]
context = 1
since = 2026-01-01
odd = inf
[[accounts]]
name = "first"
upstream = "xai"
api_key = "SECRET"
proxy_url = "socks5://u:SECRET@h:1"
"""


def test_the_whole_configuration_is_shown_without_secrets(load):
    loaded = load(CONFIG)
    shown = shown_of(loaded)
    text = json.dumps(shown, allow_nan=False, ensure_ascii=False)
    assert "SECRET" not in text
    assert "0123456789" not in text
    assert "5e5e" not in text
    assert shown["app"] == {
        "api_key": ["sk-g…f3a1", "…"],
        "app_key": "adm-…cdef",
        "app_url": "",
        "allow_open_network": False,
        "secret_key": "…",
    }
    assert shown["store"]["url"] == "postgresql+asyncpg://*****@host/db"
    assert shown["routing"]["quotas"] == {"super.fast": "400/2h"}
    assert shown["attempts"]["never_rotate_on"] == [404]
    assert shown["models"] == {
        "grok-4.3": {"context": 1, "since": str(datetime.date(2026, 1, 1)), "odd": "inf"}
    }
    assert shown["accounts"] == 1
    assert shown["data_dir"] == str(loaded.settings.data_dir)


def test_every_setting_is_shown_where_a_patch_would_set_it():
    shown = shown_of(loaded_of())
    flat = {
        f"{section}.{key}" if isinstance(value, dict) and value else section
        for section, value in shown.items()
        for key in (value if isinstance(value, dict) and value else [""])
    }
    named = {info["name"] for info in described_config() if "[]" not in str(info["name"])}
    assert flat == named | {"accounts"}


def test_open_mode_is_shown_as_it_is_set():
    assert shown_of(loaded_of(app={"api_key": ""}))["app"]["api_key"] == ""
    assert shown_of(loaded_of())["app"]["api_key"] is None


def test_what_is_shown_can_be_sent_back_but_for_what_is_masked():
    loaded = loaded_of(aliases={"a": "grok-4.3"}, routing={"quotas": {"super.fast": "4/1h"}})
    shown = shown_of(loaded)
    patch = {name: value for name, value in shown.items() if not is_start_only(name)}
    del patch["app"]["secret_key"]
    del patch["media"]["url"]
    del patch["billing"]["stripe_api_base"]
    assert with_overrides(loaded, flattened(patch)).settings == loaded.settings


def test_a_form_knows_every_setting():
    infos: dict[Any, Any] = {info["name"]: info for info in described_config()}
    assert len(infos) == len(every_setting())
    json.dumps(list(infos.values()), allow_nan=False)
    assert infos["routing.strategy"] == {
        "name": "routing.strategy",
        "type": '"quota" or "random"',
        "default": "quota",
        "help": infos["routing.strategy"]["help"],
        "secret": False,
        "start_only": False,
    }
    assert infos["app.app_key"]["secret"]
    assert infos["app.app_key"]["default"] is None
    assert infos["attempts.also_rotate_on"]["default"] == []
    assert infos["store.url"]["default"] == "sqlite+aiosqlite:///groxy.db"
    assert infos["store.url"]["start_only"]
    assert infos["models"]["default"] == {}
    assert infos["accounts[].weight"]["default"] == 1
    assert infos["accounts[].name"]["default"] is None
    assert infos["accounts[].options"]["start_only"]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["super.fast", "strategy", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)
NAMES = [*(info["name"] for info in described_config()), "app", "routing", "x", "accounts"]


def outcome_of(patch):
    try:
        changed = with_overrides(loaded_of(), flattened(patch))
    except GroxyError as error:
        return error.code if error.param else "no param"
    json.dumps(shown_of(changed), allow_nan=False)
    return "settings"


@hypothesis_settings(max_examples=300, deadline=None)
@given(patch=st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=3))
def test_any_patch_gives_settings_or_a_clear_refusal(patch):
    assert outcome_of(patch) in {
        "settings",
        "unknown_config_key",
        "startup_only_config",
        "invalid_value",
    }

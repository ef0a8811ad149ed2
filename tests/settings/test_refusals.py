from pathlib import Path

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.settings import load_settings


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


def test_an_unknown_name_is_told_with_line_and_nearest_name(home):
    assert refusal(home, "[server]\nprot = 1\n") == (
        "file groxy.toml, near line 2: server.prot is not a setting; did you mean server.port?"
    )


def test_all_problems_of_all_sources_are_told_at_once(home):
    environ = {"GROXY_SERVER__WORKERS": "many", "GROXY_SEVER__PORT": "1"}
    message = refusal(home, "[server]\nport = -1\nprot = 2\n", environ)
    assert message == (
        "environment GROXY_SEVER__PORT: sever.port is not a setting; did you mean server.port? "
        "Then write GROXY_SERVER__PORT.\n"
        "file groxy.toml, near line 2: server.port must be a whole number from 1 to 65535, not -1\n"
        "environment GROXY_SERVER__WORKERS: server.workers must be a whole number from 1 to 256, "
        'not "many"\n'
        "file groxy.toml, near line 3: server.prot is not a setting; did you mean server.port?"
    )


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ("[server]\nport = 0", "from 1 to 65535, not 0"),
        ("[server]\nport = 65536", "not 65536"),
        ("[server]\nport = true", "a whole number from 1 to 65535, not true"),
        ('[server]\nport = "8000"', 'not "8000"'),
        ("[server]\nport = 8000.0", "a whole number"),
        ("[server]\nport = [1]", "not an array"),
        ("[server]\nport = {a = 1}", "not a table"),
        ("[server]\nport = 1979-05-27", "a whole number"),
        ("[server]\nhost = 5", "must be an address or a host name, not 5"),
        ("[server]\nworkers = 0", "from 1 to 256"),
        ("[server]\nshutdown_grace_s = nan", "a number from 0 to 3600"),
        ("[streams]\nkeepalive_s = 0", "above 0, up to 15, not 0"),
        ("[streams]\nkeepalive_s = 15.1", "above 0, up to 15, not 15.1"),
        ("[attempts]\nidle_timeout_s = inf", "not inf"),
        ("[refresh]\nevery_s = 1", "at least 10 seconds"),
        ("[refresh]\nat_once = 0", "from 1 to 256"),
        ("[refresh]\njitter = 1.1", "from 0 to 1"),
        ("[catalog]\nrefresh_s = 60", "catalog is not a setting; did you mean refresh.every_s?"),
        ('[routing]\nstrategy = "best"', '"quota" or "random", not "best"'),
        ("[routing]\nmax_in_flight = -1", "from 0 to 1000000"),
        ("[routing.quotas]\n'super.fast' = 400", "quotas must be a table of text"),
        ("[routing.quotas]\nsuper.fast = '400'", "routing.quotas.super.fast must be requests in"),
        ("[routing.quotas]\nfast = '4/1h'", "routing.quotas.fast is no pool and mode"),
        ("[attempts]\ncapacity_wait_s = 61", "from 0 to 60, not 61"),
        ("[attempts]\nhedge_percentile = 10", "must be 0 (off) or 50 to 99.9"),
        ("[attempts]\nhedge_percentile = 100", "from 0 to 99.9, not 100"),
        ("[attempts]\nalso_rotate_on = [399]", "statuses from 400 to 599"),
        ("[attempts]\nbackoff_s = 2", "less than attempts.backoff_s (2)"),
        ("[cooling]\nlimited_s = 0", "above 0"),
        ("[cooling]\ndown_after = 0", "from 1 to 1000"),
        ("[store]\nspool_max_bytes = 1", "from 65536"),
        ("[store]\ngrace_s = -1", "from 0 to 86400"),
        ("[admin]\nquery_key = 1", "must be true or false"),
        ('[app]\nsecret_key = "x"', "32 random bytes as 64 hex digits or base64"),
        ("[features]\nstream = 1", "must be true or false, not 1"),
        ('[features]\nstream = "true"', "must be true or false"),
        ('[logging]\nlevel = "loud"', '"debug", "info", "warning" or "error", not "loud"'),
        ("server = 5", "server must be a table"),
        ("models = 5", "models must be a table"),
        ("[models]\ngrok-4 = 5", "models.grok-4 must be a table"),
        ("aliases = 5", "aliases must be a table of text, not 5"),
        ("[aliases]\na = 5", "aliases must be a table of text, not 5"),
        ('[aliases]\na = ""', "aliases.a is empty"),
        ("accounts = 5", "write [[accounts]] for each account"),
        ('[accounts]\nname = "a"', "write [[accounts]] for each account"),
        ("accounts = [5]", "accounts.0 must be a table"),
        ("[[accounts]]", "accounts.0.name is missing"),
        ('[[accounts]]\nname = "a"', "accounts.0.upstream is missing"),
        ('[[accounts]]\nname = "a"\nupstream = ""', "is empty"),
        ('[[accounts]]\nname = "a"\nupstream = "x"\npool = "gold"', '"basic", "super" or "heavy"'),
        ('[[accounts]]\nname = "a"\nupstream = "x"\napi_kye = "k"', "mean accounts.0.api_key?"),
        ('[[accounts]]\nname = "a"\nupstream = "x"\nzzz = "k"', "goes under options"),
        ('[[accounts]]\nname = "a"\nupstream = "x"\noptions.a = 5', "options.a must be text"),
        ('[[accounts]]\nname = "a"\nupstream = "x"\noptions = 5', "options must be a table"),
        ('[[accounts]]\nname = "a"\nupstream = "x"\nweight = 0', "accounts.0.weight must be"),
        ('[[accounts]]\nname = "a"\nupstream = "x"\ntags = ["a,b"]', "accounts.0.tags has a tag"),
        ('[[accounts]]\nname = "a"\nupstream = "x"\nmodels = ["a*b"]', "accounts.0.models must"),
        (
            '[[accounts]]\nname = "a"\nupstream = "x"\nquotas.fast = "4"',
            "accounts.0.quotas.fast must be requests in a window",
        ),
        (
            '[[accounts]]\nname = "a"\nupstream = "x"\nquotas.FAST = "4/1h"',
            "accounts.0.quotas.FAST is no mode",
        ),
        ("[app]\napi_key = []", "holds no key"),
        ("[app]\napi_key = 5", "comma list"),
        ('[app]\napp_key = ""', "is empty"),
        ('[app]\napp_url = "groxy.example"', "http"),
        ("[store]\nurl = 5", "must be text"),
    ],
)
def test_a_wrong_value_is_told_with_its_source(home, toml, words):
    message = refusal(home, toml)
    assert message.startswith("file groxy.toml, near line ")
    assert words in message


def test_two_credentials_are_told_by_name(home):
    toml = '[[accounts]]\nname = "a"\nupstream = "xai"\napi_key = "k"\napi_key_env = "K"\n'
    assert "accounts.0 has api_key and api_key_env; keep one of them" in refusal(home, toml)


def test_two_accounts_of_one_name_are_told(home):
    toml = '[[accounts]]\nname = "a"\nupstream = "xai"\n' * 2
    assert "near line 5: accounts.1.name" in refusal(home, toml)


def test_open_mode_on_the_network_is_refused(home):
    message = refusal(home, '[app]\napi_key = ""\n', flags={"server.host": "0.0.0.0"})
    assert message.startswith("file groxy.toml, near line 2: app.api_key is empty (open mode)")


def test_the_old_name_in_a_variable_leads_to_the_new_one(home):
    message = refusal(home, None, {"GROXY_CATALOG__REFRESH_S": "60"})
    assert "did you mean refresh.every_s? Then write GROXY_REFRESH__EVERY_S." in message


def test_an_empty_variable_is_open_mode(home):
    assert load(home, None, {"GROXY_APP__API_KEY": ""}).settings.app.is_open


def test_a_file_full_of_faults_is_told_quickly(home):
    toml = "[server]\n" + "".join(f"wrong{n} = 1\n" for n in range(20_000))
    assert refusal(home, toml).count("\n") <= 20


def test_a_large_catalog_is_loaded_quickly(home):
    toml = "".join(f"[models.m{n}]\nx = 1\n" for n in range(20_000))
    assert len(load(home, toml).settings.models) == 20_000


def test_a_folder_that_nobody_can_look_into_has_no_settings_file(home, monkeypatch):
    def refuse(path):
        raise PermissionError

    monkeypatch.setattr(Path, "exists", refuse)
    assert load(home).config is None


def test_a_long_value_is_cut_in_the_message(home):
    assert len(refusal(home, None, {"GROXY_SERVER__PORT": "x" * 9000})) < 300
    message = refusal(home, None, {"GROXY_APP__APP_URL": "http://" + "x" * 9000})
    assert "longer than 8192" in message


@pytest.mark.parametrize(
    "toml",
    [
        '[app]\napi_key = ["SECRET", 5]',
        '[app]\napi_key = ["SECRET x"]',
        '[app]\napi_key = "SECRET"\napp_key = "SECRET"',
        '[app]\napi_key = {x = "SECRET"}',
        '[app]\napi_kye = "SECRET"',
        '[[accounts]]\nname = "a"\nupstream = "x"\napi_key = ["SECRET"]',
        '[[accounts]]\nname = "a"\nupstream = "x"\napi_key = "SECRET x"',
        '[[accounts]]\nname = "a"\nupstream = "x"\napi_key = "SECRET"\napi_key_file = "SECRET"',
        '[[accounts]]\nname = "a"\nupstream = "x"\napi_key_file = "SECRET"',
        '[[accounts]]\nname = "a"\nupstream = "x"\napi_key_env = "xai-SECRET"',
        '[[accounts]]\nname = "a"\nupstream = "x"\noptions = {token = ["SECRET"]}',
        '[[accounts]]\nname = "a"\nupstream = "x"\noptions = {token = "SECRET\\n"}',
        '[[accounts]]\nname = "a"\nupstream = "x"\nbase_url = "http://u:SECRET@h"',
        'accounts = ["SECRET"]',
        '[app]\nsecret_key = "SECRET"',
        '[app]\nsecret_key = ["SECRET"]',
        '[[accounts]]\nname = "a"\nupstream = "x"\nproxy_url = "ftp://u:SECRET@h"',
        '[[accounts]]\nname = "a"\nupstream = "x"\nproxy_url = ["SECRET"]',
        '[[accounts]]\nname = "a"\nupstream = "x"\nproxy_url = "http://u:SECRET@h/path"',
        '[store]\nurl = "mysql://u:SECRET@h/db"',
        '[state]\nurl = "redis://:SECRET@:x"',
        'app = "SECRET"',
    ],
)
def test_no_error_repeats_a_secret(home, toml):
    assert "SECRET" not in refusal(home, toml)

import pytest

from groxy.settings import every_setting
from groxy.settings.schema import Kind, nearest, place_of, toml_text, variable_of


def test_every_setting_is_listed_once_with_type_default_and_help():
    names = [setting.name for setting in every_setting()]
    assert len(names) == len(set(names))
    for setting in every_setting():
        assert setting.type
        assert setting.default
        assert setting.help.endswith(".")


def test_the_contract_names_are_all_there():
    names = {setting.name for setting in every_setting()}
    assert names >= {
        "data_dir",
        "server.host",
        "server.port",
        "server.workers",
        "app.api_key",
        "app.app_key",
        "app.app_url",
        "app.allow_open_network",
        "features.stream",
        "store.url",
        "state.url",
        "models.<model id>",
        "accounts[].name",
        "accounts[].upstream",
        "accounts[].api_key",
        "accounts[].api_key_env",
        "accounts[].api_key_file",
        "accounts[].base_url",
        "accounts[].pool",
        "accounts[].options.<field>",
    }


def test_secret_settings_are_marked():
    secret = {setting.name for setting in every_setting() if setting.secret}
    assert secret == {
        "app.api_key",
        "app.app_key",
        "app.secret_key",
        "billing.stripe_secret_key",
        "billing.stripe_webhook_secret",
        "billing.low_balance_url",
        "billing.low_balance_secret",
        "accounts[].api_key",
        "accounts[].proxy_url",
        "accounts[].options.<field>",
    }


def test_a_setting_knows_its_variable():
    variables = {setting.name: setting.environment for setting in every_setting()}
    assert variables["server.port"] == variable_of("server.port") == "GROXY_SERVER__PORT"
    assert variables["accounts[].api_key_env"] == "GROXY_ACCOUNTS__0__API_KEY_ENV"
    assert variables["data_dir"] == "GROXY_DATA_DIR"


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        (("server", "prot"), "server.port"),
        (("sever",), "server"),
        (("sever", "port"), "server.port"),
        (("sever", "prot"), "server.port"),
        (("sever", "zzz"), "server"),
        (("account", 0, "nam"), "accounts.0.name"),
        (("port",), "server.port"),
        (("server_port",), "server.port"),
        (("server", "max_body_byte"), "server.max_body_bytes"),
        (("app", "apikey"), "app.api_key"),
        (("accounts", 0, "api_kye"), "accounts.0.api_key"),
        (("accounts", "name"), "accounts.0.name"),
        (("keepalive",), "streams.keepalive_s"),
        (("catalog",), "refresh.every_s"),
        (("catalog", "refresh_s"), "refresh.every_s"),
        (("server", "zzz"), None),
        (("zzz",), None),
        (("server", ""), None),
        (("",), None),
        (("server", "port", "low"), None),
    ],
)
def test_the_nearest_name_is_the_one_that_was_meant(path, meant):
    assert nearest(path) == meant


def test_places_are_known_at_any_depth():
    kinds = {
        (): Kind.SECTION,
        ("server",): Kind.SECTION,
        ("server", "port"): Kind.VALUE,
        ("accounts",): Kind.ACCOUNTS,
        ("accounts", 3): Kind.SECTION,
        ("accounts", 3, "options", "x", "y"): Kind.FREE,
        ("models", "grok-4", "price", "input"): Kind.FREE,
    }
    for path, kind in kinds.items():
        place = place_of(path)
        assert place is not None
        assert place.kind is kind
    assert place_of(("server", "port", "x")) is None
    assert place_of(("accounts", "x")) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (15.0, "15"),
        (0.5, "0.5"),
        (None, "not set"),
        ('a"b\\', '"a\\"b\\\\"'),
        ((1, "x"), '[1, "x"]'),
        ({"a": [True]}, "{a = [true]}"),
    ],
)
def test_values_are_written_as_in_toml(value, text):
    assert toml_text(value) == text

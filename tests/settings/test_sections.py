from pathlib import Path

import pytest
from pydantic import ValidationError

from groxy.settings import AccountSettings, AppSettings, Settings, StoreSettings

DATA = Path("/data")


def test_the_defaults_are_those_of_the_contract():
    settings = Settings(data_dir=DATA)
    assert (settings.server.host, settings.server.port) == ("127.0.0.1", 8000)
    assert settings.server.workers == 1
    assert settings.server.max_body_bytes == 33554432
    assert settings.app.api_key is None
    assert settings.app.app_key is None
    assert not settings.app.is_open
    assert settings.features.stream is False
    assert settings.store.url.reveal() == "sqlite+aiosqlite:///groxy.db"
    assert settings.state.url.reveal() == "memory://"
    assert settings.streams.keepalive_s == 15
    assert settings.accounts == ()


def test_an_account_may_serve_every_model_unless_it_says_otherwise():
    assert AccountSettings(name="a", upstream="xai").pool == "heavy"


def test_only_an_empty_key_list_is_open_mode():
    assert AppSettings.model_validate({"api_key": ""}).is_open
    assert not AppSettings.model_validate({"api_key": "sk-a"}).is_open
    assert not AppSettings().is_open


def test_aliases_come_as_a_table_or_as_json():
    for given in ({"claude-*": "grok-4.3"}, '{"claude-*": "grok-4.3"}'):
        settings = Settings.model_validate({"data_dir": DATA, "aliases": given})
        assert settings.aliases == {"claude-*": "grok-4.3"}


@pytest.mark.parametrize(
    "given", [5, "word", "[]", '{"a": 5}', {"a": 5}, ["a"], {5: "a"}, "[" * 100_000, "\ud800"]
)
def test_aliases_are_text_and_nothing_else(given):
    with pytest.raises(ValidationError):
        Settings.model_validate({"data_dir": DATA, "aliases": given})


def test_settings_cannot_be_changed():
    settings = Settings(data_dir=DATA)
    with pytest.raises(ValidationError):
        settings.server.port = 1


@pytest.mark.parametrize(
    ("given", "result"),
    [
        ("sqlite+aiosqlite:///groxy.db", "sqlite+aiosqlite:////data/groxy.db"),
        ("sqlite+aiosqlite:///a/b.db?timeout=5", "sqlite+aiosqlite:////data/a/b.db?timeout=5"),
        ("sqlite+aiosqlite:////abs/b.db", "sqlite+aiosqlite:////abs/b.db"),
        ("sqlite+aiosqlite://", "sqlite+aiosqlite://"),
        ("sqlite+aiosqlite:///:memory:", "sqlite+aiosqlite:///:memory:"),
        ("postgresql+asyncpg://u:p@h/db", "postgresql+asyncpg://u:p@h/db"),
    ],
)
def test_a_relative_database_file_is_in_the_data_folder(given, result):
    store = StoreSettings.model_validate({"url": given})
    assert Settings(data_dir=DATA, store=store).store_url().reveal() == result


def test_options_are_masked_until_the_upstream_asks_for_them():
    account = AccountSettings.model_validate(
        {"name": "a", "upstream": "cloudflare", "options": {"provider_key": "xai-1"}}
    )
    assert "xai-1" not in f"{account!r} {account.model_dump()} {account.model_dump_json()}"
    assert account.option_values() == {"provider_key": "xai-1"}


def test_a_model_error_does_not_repeat_its_input():
    with pytest.raises(ValidationError) as caught:
        AccountSettings.model_validate({"name": "a", "upstream": "x", "api_keys": "xai-1"})
    assert "xai-1" not in str(caught.value)

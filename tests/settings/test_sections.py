from pathlib import Path

import pytest
from pydantic import ValidationError

from groxy.settings import AppSettings, Settings, StoreSettings

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


def test_the_defaults_of_routing_are_those_of_the_contract():
    settings = Settings(data_dir=DATA)
    assert settings.routing.model_dump() == {
        "strategy": "quota",
        "max_in_flight": 0,
        "affinity": True,
        "quotas": {},
    }
    attempts = settings.attempts
    assert (attempts.capacity_wait_s, attempts.backoff_s, attempts.backoff_max_s) == (2, 0.05, 1)
    assert attempts.also_rotate_on == attempts.never_rotate_on == ()
    assert (attempts.hedge_percentile, attempts.hedge_max_percent) == (0, 5)
    assert attempts.hedge_max_cost_usd == 0.05
    assert settings.cooling.model_dump() == {
        "limited_s": 1,
        "limited_max_s": 60,
        "asked_max_s": 3600,
        "down_s": 5,
        "down_max_s": 60,
        "down_after": 3,
        "billing_s": 3600,
        "confirm_s": 30,
    }
    assert settings.refresh.model_dump() == {"every_s": 3600, "jitter": 0.2, "at_once": 8}
    assert settings.admin.model_dump() == {"query_key": True, "docs": False}
    assert (settings.store.grace_s, settings.store.spool_max_bytes) == (60, 67108864)


def test_the_defaults_of_media_are_those_of_the_contract():
    settings = Settings(data_dir=DATA)
    features = settings.features
    assert (features.image_format, features.video_format) == ("markdown", "markdown")
    assert settings.media.url.reveal() == ""
    assert settings.media.model_dump(exclude={"url"}) == {
        "image_max_mb": 0,
        "video_max_mb": 0,
        "file_max_mb": 0,
        "max_image_bytes": 31457280,
        "max_video_bytes": 536870912,
        "max_file_bytes": 52428800,
        "link_ttl_s": 0,
        "keep_days": 30,
    }


@pytest.mark.parametrize("name", ["html", "local_html", "anything", ""])
def test_a_picture_cannot_be_shown_as_everything(name):
    with pytest.raises(ValidationError):
        Settings.model_validate({"data_dir": DATA, "features": {"image_format": name}})


def test_a_format_of_the_contract_is_taken():
    features = {"image_format": "local_md", "video_format": "grok_html"}
    settings = Settings.model_validate({"data_dir": DATA, "features": features})
    assert settings.features.image_format == "markdown"
    assert settings.features.video_format == "html"


def test_the_secret_of_the_installation_is_bytes_or_the_data_folders():
    assert AppSettings().secret_bytes() is None
    app = AppSettings.model_validate({"secret_key": "0f" * 32})
    assert app.secret_bytes() == b"\x0f" * 32
    assert "0f0f" not in f"{app!r} {app.model_dump_json()}"


def test_quotas_of_pools_come_as_a_table_of_tables_or_as_json():
    for given in (
        {"super.fast": "400/2h"},
        {"super": {"fast": "400/2h"}},
        '{"super.fast": "400/2h"}',
        '{"super": {"fast": "400/2h"}}',
    ):
        settings = Settings.model_validate({"data_dir": DATA, "routing": {"quotas": given}})
        assert settings.routing.quotas == {"super.fast": "400/2h"}


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

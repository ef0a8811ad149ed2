import pytest

from groxy.cli.banner import NewKeys, banner, base_url
from groxy.settings import load_settings


def loaded(tmp_path, **flags):
    given = {name.replace("__", "."): value for name, value in flags.items()}
    return load_settings(data_dir=tmp_path, flags=given, environ={"HOME": str(tmp_path)})


def test_new_keys_are_shown_and_stand_in_the_snippets(tmp_path):
    text = banner(loaded(tmp_path), NewKeys("sk-new", "adm-new"), ["sandbox"])

    assert text.count("sk-new") == 3
    assert text.count("adm-new") == 1
    assert "this once" in text


def test_keys_of_the_settings_are_never_shown(tmp_path):
    shown = banner(loaded(tmp_path, app__api_key="sk-set"), NewKeys(None, None), ["sandbox"])

    assert "sk-set" not in shown
    assert "app.api_key" in shown


def test_open_mode_is_said(tmp_path):
    shown = banner(loaded(tmp_path, app__api_key=""), NewKeys(None, None), ["sandbox"])

    assert "open mode" in shown


def test_accounts_are_named_and_many_are_counted(tmp_path):
    names = [f"account-{number}" for number in range(12)]

    shown = banner(loaded(tmp_path), NewKeys(None, None), names)

    assert "account-0" in shown
    assert "4 more" in shown


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("0.0.0.0", "http://127.0.0.1:8000"),
        ("::1", "http://[::1]:8000"),
    ],
)
def test_the_address_is_one_that_this_machine_can_use(tmp_path, host, url):
    settings = loaded(tmp_path, server__host=host, app__api_key="sk-a").settings

    assert base_url(settings) == url

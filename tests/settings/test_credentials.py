from pathlib import Path

import pytest

from groxy.settings import AccountSettings, Secret
from groxy.settings.credentials import find_credentials
from groxy.settings.sources import Draft

CLOUDFLARE = {
    "CLOUDFLARE_API_TOKEN": "cf-token",
    "CLOUDFLARE_ACCOUNT_ID": "acc",
    "CLOUDFLARE_GATEWAY_ID": "gate",
}


def find(environ, *listed, folder=Path()):
    accounts = [AccountSettings.model_validate(account) for account in listed]
    return find_credentials(accounts, Draft(), environ, folder)


def only_problem(found):
    (problem,) = found.problems
    return str(problem)


@pytest.mark.parametrize(
    ("variable", "upstream"),
    [("XAI_API_KEY", "xai"), ("OPENROUTER_API_KEY", "openrouter"), ("COMETAPI_KEY", "cometapi")],
)
def test_a_known_variable_becomes_an_account(variable, upstream):
    found = find({variable: "k-1"})
    (account,) = found.accounts
    assert (account.name, account.upstream, account.pool) == (upstream, upstream, "heavy")
    assert account.api_key == Secret("k-1")
    assert found.origins["accounts.0.api_key"] == f"environment {variable}"
    assert found.problems == []


def test_empty_variables_make_no_account():
    assert find({"XAI_API_KEY": "", "COMETAPI_KEY": "  "}).accounts == []


def test_all_three_cloudflare_variables_make_an_account():
    found = find(CLOUDFLARE)
    (account,) = found.accounts
    assert account.name == account.upstream == "cloudflare"
    assert account.api_key == Secret("cf-token")
    assert account.option_values() == {"account_id": "acc", "gateway_id": "gate"}
    assert found.origins["accounts.0.options.account_id"] == "environment CLOUDFLARE_ACCOUNT_ID"
    assert found.notes == []


@pytest.mark.parametrize("missing", list(CLOUDFLARE))
def test_a_part_of_the_cloudflare_variables_is_a_note_and_no_error(missing):
    found = find({name: value for name, value in CLOUDFLARE.items() if name != missing})
    assert found.accounts == []
    assert found.problems == []
    (note,) = found.notes
    assert f"but {missing} is not" in note
    assert "cf-token" not in note


def test_a_key_that_a_listed_account_uses_is_not_added_again():
    listed = {"name": "mine", "upstream": "openai_compatible", "api_key_env": "XAI_API_KEY"}
    found = find({"XAI_API_KEY": "k-1"}, listed)
    assert [account.name for account in found.accounts] == ["mine"]
    assert found.notes == ["XAI_API_KEY is the key of account mine already."]
    listed = {"name": "mine", "upstream": "cloudflare", "api_key": "cf-token"}
    assert len(find(CLOUDFLARE, listed).accounts) == 1


def test_a_second_key_gets_a_name_that_is_free():
    listed = [
        {"name": "XAI", "upstream": "xai", "api_key": "k-1"},
        {"name": "xai-2", "upstream": "xai", "api_key": "k-2"},
    ]
    found = find({"XAI_API_KEY": "k-3"}, *listed)
    assert [account.name for account in found.accounts] == ["XAI", "xai-2", "xai-3"]


def test_a_broken_key_in_the_environment_is_told_and_not_repeated():
    text = only_problem(find({"XAI_API_KEY": "your key here"}))
    assert text.startswith("environment XAI_API_KEY: ")
    assert "unset it" in text
    assert "your key here" not in text


def test_a_credential_comes_from_the_variable_that_the_account_names():
    found = find({"MY_KEY": "k-1\n"}, {"name": "a", "upstream": "xai", "api_key_env": "MY_KEY"})
    assert found.accounts[0].api_key == Secret("k-1")
    assert found.origins == {"accounts.0.api_key": "environment MY_KEY"}


def test_a_variable_that_is_not_set_is_told_by_name():
    text = only_problem(find({}, {"name": "a", "upstream": "xai", "api_key_env": "MY_KEY"}))
    assert "accounts.0.api_key_env" in text
    assert "MY_KEY is not set" in text


def test_a_variable_that_holds_no_key_is_told_and_its_value_not_repeated():
    account = {"name": "a", "upstream": "xai", "api_key_env": "MY_KEY"}
    text = only_problem(find({"MY_KEY": "sk hidden"}, account))
    assert "the value of the variable MY_KEY must be one word" in text
    assert "sk hidden" not in text


def test_a_key_in_place_of_a_variables_name_is_not_repeated():
    text = only_problem(find({}, {"name": "a", "upstream": "xai", "api_key_env": "sk_hidden"}))
    assert "sk_hidden" not in text


def test_a_credential_comes_from_a_file_beside_the_settings_file(tmp_path):
    (tmp_path / "xai.key").write_text("k-1\n")
    account = {"name": "a", "upstream": "xai", "api_key_file": "xai.key"}
    found = find({}, account, folder=tmp_path)
    assert found.accounts[0].api_key == Secret("k-1")
    assert found.origins == {"accounts.0.api_key": f"file {tmp_path / 'xai.key'}"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read"),
        (b"", "is empty"),
        (b"sk-hidden\nsk-more\n", "one word"),
        (b"\xff\xfe", "UTF-8"),
        (b"x" * (1024 * 1024 + 1), "larger"),
    ],
)
def test_a_key_file_that_cannot_be_used_is_told_and_not_repeated(tmp_path, content, words):
    if content is not None:
        (tmp_path / "xai.key").write_bytes(content)
    account = {"name": "a", "upstream": "xai", "api_key_file": "xai.key"}
    text = only_problem(find({}, account, folder=tmp_path))
    assert "accounts.0.api_key_file" in text
    assert words in text
    assert "sk-hidden" not in text


def test_a_folder_is_no_key_file(tmp_path):
    account = {"name": "a", "upstream": "xai", "api_key_file": "."}
    assert "is a directory" in only_problem(find({}, account, folder=tmp_path))

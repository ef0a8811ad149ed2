import pytest

from groxy.app.accounts import all_accounts
from groxy.core.errors import ErrorKind, GroxyError
from groxy.routing.pools import Pool
from groxy.settings import load_settings
from groxy.store.accounts import add_account
from groxy.store.database import Database
from groxy.store.secrets import InstallationSecret
from groxy.upstreams import discover
from groxy.upstreams._base import Credentials
from groxy.upstreams._credentials import check_credentials, known_upstream

UPSTREAMS = discover()


@pytest.fixture
async def store(tmp_path):
    database = await Database.open("sqlite+aiosqlite:///groxy.db", tmp_path)
    yield database, InstallationSecret.of(tmp_path)
    await database.close()


def settings(tmp_path, toml="", **environ):
    (tmp_path / "groxy.toml").write_text(toml)
    loaded = load_settings(
        config=tmp_path / "groxy.toml",
        data_dir=tmp_path,
        flags={},
        environ={"HOME": str(tmp_path), **environ},
    )
    return loaded.settings


async def test_with_no_account_the_sandbox_serves(tmp_path, store):
    accounts = await all_accounts(settings(tmp_path), *store)

    assert [account.upstream.name for account in accounts] == ["sandbox"]


async def test_with_an_account_the_sandbox_does_not_serve(tmp_path, store):
    accounts = await all_accounts(settings(tmp_path, XAI_API_KEY="xai-k"), *store)

    assert [account.upstream.name for account in accounts] == ["xai"]


async def test_a_listed_sandbox_serves_beside_others(tmp_path, store):
    toml = '[[accounts]]\nname = "play"\nupstream = "sandbox"\n'

    accounts = await all_accounts(settings(tmp_path, toml, XAI_API_KEY="xai-k"), *store)

    assert {account.upstream.name for account in accounts} == {"sandbox", "xai"}


async def test_accounts_of_settings_and_store_serve_together(tmp_path, store):
    await add_account(
        *store,
        name="stored",
        upstream="openrouter",
        pool="basic",
        base_url="",
        api_key="sk-or-k",
        options={},
    )

    accounts = await all_accounts(settings(tmp_path, XAI_API_KEY="xai-k"), *store)

    assert [(account.name, account.pool) for account in accounts] == [
        ("xai", Pool.HEAVY),
        ("stored", Pool.BASIC),
    ]


async def test_the_credential_becomes_the_headers(tmp_path, store):
    (account,) = await all_accounts(settings(tmp_path, XAI_API_KEY="xai-k"), *store)

    assert account.headers["Authorization"] == "Bearer xai-k"
    assert "xai-k" not in repr(account.credentials)


def test_an_unknown_upstream_is_refused_with_the_known_ones():
    with pytest.raises(GroxyError) as caught:
        known_upstream("nobody", UPSTREAMS)

    assert caught.value.kind is ErrorKind.BAD_REQUEST
    assert "openrouter" in caught.value.message


@pytest.mark.parametrize(
    ("upstream", "credentials", "lacking"),
    [
        ("xai", Credentials(api_key=""), "api_key"),
        ("openai_compatible", Credentials(api_key=""), "base_url"),
        ("cloudflare", Credentials(api_key="k"), "options.account_id"),
    ],
)
def test_an_account_that_lacks_something_is_refused_and_told_what(upstream, credentials, lacking):
    with pytest.raises(GroxyError, match=lacking):
        check_credentials("mine", UPSTREAMS[upstream], credentials)


def test_an_option_that_the_upstream_does_not_have_is_refused():
    with pytest.raises(GroxyError, match="colour"):
        check_credentials(
            "mine", UPSTREAMS["xai"], Credentials(api_key="k", options={"colour": "red"})
        )

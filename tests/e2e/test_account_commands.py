"""`groxy account …` at a gateway that runs: over a real socket, and through its store."""

import json

import pytest

from tests.awake import awake_s
from tests.e2e.running import ADMIN_KEY, Gateway, config_toml, groxy, poll, running

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    account = '\n[[accounts]]\nname = "declared"\nupstream = "sandbox"\n'
    folder = tmp_path_factory.mktemp("gateway")
    with running(Gateway(folder=folder, config=config_toml(account))) as it:
        yield it


@pytest.fixture
def remote(gateway, tmp_path):
    """Run `groxy …` in another folder, which has nothing of the gateway's but its address."""
    (tmp_path / "admin.key").write_text(ADMIN_KEY + "\n")

    def run(*arguments, stdin="", key="admin.key"):
        options = ("--url", gateway.url, "--app-key-file", key)
        return groxy(tmp_path, *arguments, *options, stdin=stdin)

    return run


def said(done, status=0):
    assert done.returncode == status, done.stderr
    return done.stdout


def test_an_account_lives_its_life_over_http(remote, gateway):
    added = remote("account", "add", "far", "--upstream", "sandbox", "--weight", "3", "--tag", "eu")
    assert said(added) == "Added far.\n"
    assert said(remote("account", "test", "far")) == "far: ok\n"
    assert said(remote("account", "refresh", "far")) == "Refreshed 1 of 1 account.\n"
    assert said(remote("account", "tag", "far", "--add", "fast")) == "far: eu, fast\n"
    assert said(remote("account", "edit", "far", "--rpm", "60")) == "Changed far.\n"

    account = json.loads(said(remote("account", "show", "far", "--json")))
    assert (account["weight"], account["rpm"], account["tags"]) == (3, 60, ["eu", "fast"])

    assert said(remote("account", "cool", "far", "--for", "60")).startswith("far rests for 60 s")
    assert "cooling" in said(remote("account", "list", "--status", "cooling"))
    assert said(remote("account", "clear", "far")) == "Cleared far.\n"
    assert "far" not in said(remote("account", "list", "--status", "cooling"))
    assert said(remote("account", "remove", "far")) == "Removed far.\n"


def test_a_thousand_accounts_come_over_http_and_go_out_again(remote, tmp_path):
    lines = "".join(f"xai xai-key-of-number-{number:05} n{number}\n" for number in range(1200))
    (tmp_path / "keys.txt").write_text(lines + "nobody-knows-this\n")

    imported = remote("account", "import", "keys.txt")
    assert "Added 1,200 accounts." in said(imported, 1)
    listed = json.loads(said(remote("account", "list", "--upstream", "xai", "--json")))
    assert len(listed) == 1200

    said(remote("account", "export", "--upstream", "xai", "--secrets", "-o", "out.json"))
    out = tmp_path / "out.json"
    assert out.stat().st_mode & 0o777 == 0o600
    assert len(json.loads(out.read_bytes())) == 1200
    assert "xai-key-of-number" not in said(remote("account", "export", "--format", "text"))

    names = [f"n{number}" for number in range(1200)]
    assert said(remote("account", "remove", *names)) == "Removed 1,200 accounts.\n"


def test_why_a_request_went_where_it_went_is_told_over_http(remote, gateway):
    request_id = gateway.ask().id

    assert request_id in said(remote("request", "list"))
    assert "declared" in said(remote("request", "show", request_id))
    routed = remote("route", "grok-4")
    assert "declared" in said(routed)
    assert routed.stderr == ""


def test_errors_are_one_sentence_and_status_2(remote, gateway, tmp_path):
    (tmp_path / "other.key").write_text("adm-of-somebody-else\n")
    tries = [
        (remote("account", "list", key="other.key"), "The API key is not valid"),
        (remote("account", "show", "nobody"), "There is no such account"),
        (remote("account", "edit", "declared", "--weight", "2"), "declared elsewhere"),
        (remote("account", "add", "x", "--upstream", "sandbox", "--weight", "0"), "weight"),
    ]
    for done, words in tries:
        assert done.returncode == 2
        assert words in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
        assert "adm-" not in done.stderr


def test_what_a_command_does_to_the_store_is_in_force_within_a_second(remote, gateway):
    gateway.command("account", "disable", "declared")
    began = awake_s()
    poll(lambda: gateway.account_states() == {"disabled": 1}, what="the account being disabled")
    assert awake_s() - began <= 1.0

    gateway.command("account", "enable", "declared")
    poll(lambda: gateway.account_states() == {"active": 1}, what="the account being enabled")


def test_address_and_key_can_come_from_the_environment(gateway, tmp_path):
    environ = {"GROXY_URL": gateway.url + "/v1", "GROXY_APP_KEY": ADMIN_KEY}

    listed = groxy(tmp_path, "account", "list", environ=environ)

    assert "declared" in said(listed)
    assert list(tmp_path.iterdir()) == [], "no data folder was made"

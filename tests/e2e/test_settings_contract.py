"""The contract that scripts rely on: flags, variables, the settings file, and what is refused."""

import json
import re
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.e2e.running import (
    ADMIN_KEY,
    KEY,
    Gateway,
    account_toml,
    chat_body,
    clean_environment,
    config_toml,
    groxy,
    poll,
    running,
)
from tests.e2e.scripted import TEXT, fails
from tests.servers import free_port, redis_server

pytestmark = pytest.mark.e2e


def _refusal(folder: Path, *arguments: str, config: str = "", **environ: str) -> str:
    """Return what `groxy serve` says when it refuses to start."""
    options = ["--data-dir", str(folder / "data"), "--port", str(free_port())]
    if config:
        (folder / "bad.toml").write_text(config)
        options += ["--config", str(folder / "bad.toml")]
    done = groxy(folder, "serve", *options, *arguments, environ=environ)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "running" not in done.stdout
    return " ".join(done.stderr.split())


def _serve(
    folder: Path, *arguments: str, environ: Mapping[str, str] | None = None, port: int
) -> Gateway:
    """Start `groxy serve` with exactly these arguments; nothing is added."""
    gateway = Gateway(folder=folder, port=port)
    with (folder / "stdout.txt").open("wb") as out, (folder / "stderr.txt").open("ab") as err:
        gateway.process = subprocess.Popen(
            [sys.executable, "-m", "groxy", "serve", *arguments],
            stdout=out,
            stderr=err,
            cwd=folder,
            env=clean_environment(folder, environ),
        )
    try:
        gateway.wait_until_ready()
    except BaseException:
        gateway.kill()
        raise
    return gateway


# ------------------------------------------------------------------------ where settings come from


def test_variables_alone_configure_everything(tmp_path):
    port = free_port()
    environ = {
        "GROXY_DATA_DIR": str(tmp_path / "elsewhere"),
        "GROXY_SERVER__PORT": str(port),
        "GROXY_APP__API_KEY": "sk-from-variable",
        "GROXY_FEATURES__STREAM": "true",
    }
    gateway = _serve(tmp_path, environ=environ, port=port)
    try:
        gateway.key = "sk-from-variable"
        assert gateway.ask().ends_well, "features.stream makes a stream of it"
        assert (tmp_path / "elsewhere" / "groxy.db").is_file()
        assert (tmp_path / "elsewhere" / "secret.key").is_file()
    finally:
        gateway.kill()


def test_a_file_named_by_a_variable_is_read_and_flags_win(tmp_path):
    port = free_port()
    (tmp_path / "some.toml").write_text(
        f'[server]\nport = {free_port()}\n[app]\napi_key = ["sk-one", "sk-two"]\n'
    )
    environ = {
        "GROXY_CONFIG": str(tmp_path / "some.toml"),
        "GROXY_SERVER__PORT": str(free_port()),
    }
    flags = ["--port", str(port), "--host", "127.0.0.1", "--data-dir", str(tmp_path / "d")]
    gateway = _serve(tmp_path, *flags, environ=environ, port=port)
    try:
        for gateway.key in ("sk-one", "sk-two"):
            assert gateway.ask().status == 200
    finally:
        gateway.kill()


def test_a_comma_list_holds_several_keys(tmp_path):
    environ = {"GROXY_APP__API_KEY": "sk-one, sk-two"}
    with running(Gateway(folder=tmp_path, environ=environ)) as gateway:
        for gateway.key in ("sk-one", "sk-two"):
            assert gateway.ask().status == 200
        gateway.key = "sk-one, sk-two"
        assert gateway.ask().status == 401


def test_the_operators_key_of_the_settings_opens_the_admin_api_alone(tmp_path):
    with running(Gateway(folder=tmp_path, config=config_toml())) as gateway:
        assert gateway.get("/admin/api/verify", {"x-api-key": ADMIN_KEY}).status == 200
        assert gateway.get("/admin/api/verify", {"x-api-key": KEY}).status == 401
        assert gateway.get(f"/admin/api/verify?app_key={ADMIN_KEY}").status == 200
        assert gateway.get("/v1/models", {"x-api-key": ADMIN_KEY}).status == 401
        poll(lambda: "Try it:" in gateway.said, what="the banner")
        assert KEY not in gateway.said
        assert ADMIN_KEY not in gateway.said


def test_the_database_is_where_its_address_says(tmp_path):
    config = config_toml(extra='[store]\nurl = "sqlite+aiosqlite:///books/mine.db"')
    (tmp_path / "data" / "books").mkdir(parents=True)
    with running(Gateway(folder=tmp_path, config=config)) as gateway:
        assert gateway.ask().status == 200
        assert (gateway.data_dir / "books" / "mine.db").is_file()


@pytest.mark.parametrize(
    ("credential", "sent"),
    [
        ('api_key_env = "XAI_API_KEY"', "Bearer xai-from-variable"),
        ('api_key_file = "xai.key"', "Bearer xai-from-file"),
    ],
)
def test_a_credential_comes_from_a_variable_or_a_file(tmp_path, upstream, credential, sent):
    seat = upstream.seat(sent.rpartition(" ")[2])
    (tmp_path / "xai.key").write_text("xai-from-file\n")
    account = (
        f'[[accounts]]\nname = "a"\nupstream = "xai"\n{credential}\nbase_url = "{seat.base_url}"\n'
    )
    environ = {"XAI_API_KEY": "xai-from-variable"} if "env" in credential else {}
    gateway = Gateway(folder=tmp_path, config=config_toml(account), environ=environ)
    with running(gateway):
        assert gateway.ask().text == TEXT
        assert seat.calls[0].headers["authorization"] == sent
        assert gateway.account_states() == {"active": 1}, "one credential is one account"


def test_a_key_of_the_environment_becomes_an_account(tmp_path):
    environ = {"XAI_API_KEY": "xai-env", "OPENROUTER_API_KEY": "sk-or-env", "COMETAPI_KEY": "sk-c"}
    done = groxy(tmp_path, "account", "list", "--data-dir", str(tmp_path / "d"), environ=environ)
    assert done.returncode == 0
    assert re.search(r"^xai +xai +heavy +https://api\.x\.ai/v1", done.stdout, re.MULTILINE)
    assert re.search(r"^openrouter +openrouter +heavy", done.stdout, re.MULTILINE)
    assert re.search(r"^cometapi +cometapi +heavy", done.stdout, re.MULTILINE)
    assert "sandbox" not in done.stdout


def test_all_three_cloudflare_variables_become_an_account(tmp_path):
    environ = {
        "CLOUDFLARE_API_TOKEN": "cf-token",
        "CLOUDFLARE_ACCOUNT_ID": "acc0",
        "CLOUDFLARE_GATEWAY_ID": "gw0",
    }
    done = groxy(tmp_path, "account", "list", "--data-dir", str(tmp_path / "d"), environ=environ)
    assert re.search(r"^cloudflare +cloudflare +heavy .*acc0.*gw0", done.stdout, re.MULTILINE)
    assert "cf-token" not in done.stdout


# --------------------------------------------------------------------------------- who may call


def test_open_mode_asks_for_no_key_on_this_machine(tmp_path):
    with running(Gateway(folder=tmp_path, config='[app]\napi_key = ""')) as gateway:
        body = json.dumps(chat_body()).encode()
        for headers in ({}, {"Authorization": "Bearer anything"}):
            assert gateway.request("POST", "/v1/chat/completions", body, headers).status == 200
        assert {row.key_id for row in gateway.entries()} == {"open"}
        assert gateway.get("/admin/api/verify").status == 401, "never open to operators"
        poll(lambda: "open mode" in gateway.said, what="the banner")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_open_mode_is_refused_where_others_can_reach_it(tmp_path, host):
    said = _refusal(tmp_path, "--host", host, config='[app]\napi_key = ""')
    assert "app.api_key" in said
    assert "allow_open_network" in said


def test_open_mode_for_others_can_be_permitted(tmp_path):
    config = '[app]\napi_key = ""\nallow_open_network = true\n[server]\nhost = "0.0.0.0"'
    with running(Gateway(folder=tmp_path, config=config)) as gateway:
        assert gateway.request("GET", "/v1/models").status == 200
        poll(lambda: f"http://127.0.0.1:{gateway.port}/v1" in gateway.said, what="the banner")


def test_a_gateway_for_everyone_listens_for_everyone(tmp_path):
    gateway = Gateway(folder=tmp_path, config=config_toml(extra='[server]\nhost = "::"'))
    with running(gateway), socket.create_connection(("::1", gateway.port), timeout=5) as six:
        six.sendall(b"GET /health HTTP/1.0\r\n\r\n")
        assert six.recv(100).startswith(b"HTTP/1.1 200")


# -------------------------------------------------------------------------------- what is refused


def test_an_unknown_key_is_refused_with_the_nearest_name(tmp_path):
    said = _refusal(tmp_path, config="[server]\nprot = 9000")
    assert "server.prot" in said
    assert "server.port" in said
    assert "bad.toml" in said


def test_an_unknown_variable_is_refused_with_the_nearest_name(tmp_path):
    assert "GROXY_SERVER__PORT" in _refusal(tmp_path, GROXY_SERVER__PROT="9000")


_SANDBOX = '[[accounts]]\nname = "a"\nupstream = "sandbox"\n[accounts.options]\n'


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ("[server", "bad.toml"),
        ('[store]\nurl = "mysql://x"', "store.url"),
        ('[[accounts]]\nname = "a"\nupstream = "nobody"', "nobody"),
        ('[[accounts]]\nname = "a"\nupstream = "xai"', "api_key"),
        (_SANDBOX + 'tokens_per_s = "fast"', "tokens_per_s"),
    ],
)
def test_a_wrong_setting_is_refused_and_named(tmp_path, config, named):
    assert named in _refusal(tmp_path, config=config)


def test_a_refusal_never_repeats_a_secret(tmp_path):
    config = '[app]\napi_key = "sk with blanks"\napp_key = 5\n'
    said = _refusal(tmp_path, config=config, XAI_API_KEY="xai with blanks")
    assert "blanks" not in said


def test_a_settings_file_that_is_not_there_is_refused(tmp_path):
    done = groxy(tmp_path, "serve", "--config", str(tmp_path / "none.toml"))
    assert done.returncode == 2
    assert "none.toml" in done.stderr
    assert "Traceback" not in done.stderr


def test_several_workers_are_refused_while_state_is_in_memory(tmp_path):
    said = _refusal(tmp_path, config="[server]\nworkers = 2")
    assert "server.workers" in said
    assert "state.url" in said
    assert "redis://" in said


# ------------------------------------------------------------------------------------- workers


@pytest.mark.redis
def test_two_workers_share_keys_books_and_rests(tmp_path, upstream):
    seat = upstream.seat("workers")
    with redis_server() as redis:
        extra = f'[server]\nworkers = 2\n[state]\nurl = "{redis.url}"'
        config = config_toml(account_toml("a", seat), extra=extra)
        with running(Gateway(folder=tmp_path, config=config)) as gateway:
            poll(lambda: "Try it:" in gateway.said, what="the banner")
            assert "serving     a (xai)" in gateway.said
            ids = {gateway.ask().id for _ in range(20)}
            assert {row.id for row in gateway.entries()} == ids
            assert gateway.metric("groxy_requests_total", "chat", "ok") == 20
            key = gateway.command("key", "create")
            headers = {"x-api-key": key}
            poll(lambda: _always(gateway, headers, 200), within_s=3, what="the key everywhere")
            seat.will(fails(429, b"", {"Retry-After": "600"}))
            assert gateway.ask().status == 429
            poll(lambda: _always_rests(gateway), within_s=3, what="the rest everywhere")
            assert gateway.stop() == 0


def _always(gateway: Gateway, headers: Mapping[str, str], status: int) -> bool:
    return all(gateway.get("/v1/models", headers).status == status for _ in range(10))


def _always_rests(gateway: Gateway) -> bool:
    return all(gateway.ask().status == 429 for _ in range(10))


# -------------------------------------------------------------------------------------- doctor


def test_doctor_shows_every_setting_its_origin_and_a_working_account(tmp_path, upstream):
    seat = upstream.seat("doctor")
    (tmp_path / "d.toml").write_text(config_toml(account_toml("mine", seat)))
    options = ["--config", str(tmp_path / "d.toml"), "--data-dir", str(tmp_path / "data")]
    done = groxy(tmp_path, "doctor", *options, environ={"GROXY_SERVER__PORT": "9123"})
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert _row(lines, "server.port")[1:] == ["9123", "environment GROXY_SERVER__PORT"]
    assert _row(lines, "server.host")[1:] == ['"127.0.0.1"', "default"]
    assert "d.toml" in _row(lines, "app.api_key")[2]
    assert _row(lines, "mine")[1:3] == ["xai", "heavy"]
    assert _row(lines, "mine")[-1] == "ok"
    for secret in (KEY, ADMIN_KEY, "xai-secret-of-mine"):
        assert secret not in done.stdout


def test_doctor_fails_when_an_account_does_not_work(tmp_path):
    account = (
        '[[accounts]]\nname = "dead"\nupstream = "xai"\napi_key = "xai-k"\n'
        f'base_url = "http://127.0.0.1:{free_port()}/v1"\n'
    )
    (tmp_path / "d.toml").write_text(config_toml(account))
    options = ["--config", str(tmp_path / "d.toml"), "--data-dir", str(tmp_path / "data")]
    done = groxy(tmp_path, "doctor", *options)
    assert done.returncode == 1
    assert "upstream_unavailable" in _row(done.stdout.splitlines(), "dead")[-1]


def test_doctor_works_with_nothing_configured(tmp_path):
    done = groxy(tmp_path, "doctor", "--data-dir", str(tmp_path / "data"))
    assert done.returncode == 0
    assert _row(done.stdout.splitlines(), "sandbox")[-1] == "ok"


def _row(lines: list[str], name: str) -> list[str]:
    """Return the cells of a table's row."""
    rows = [re.split(r" {2,}", line.strip()) for line in lines]
    (found,) = [cells for cells in rows if cells[0] == name]
    return found


# ------------------------------------------------------------------------------------ commands


def test_a_key_is_listed_and_revoked_by_its_id(tmp_path):
    options = ["--data-dir", str(tmp_path / "data")]
    key = groxy(tmp_path, "key", "create", "--name", "for the app", *options).stdout.strip()
    assert key.startswith("sk-grok-")
    listed = groxy(tmp_path, "key", "list", *options).stdout
    row = _row(listed.splitlines(), re.findall(r"key_[0-9a-f]{24}", listed)[0])
    assert row[1:4] == ["for the app", "caller", key[-4:]]
    assert key not in listed
    assert groxy(tmp_path, "key", "revoke", row[0], *options).returncode == 0
    assert "revoked" in groxy(tmp_path, "key", "list", *options).stdout
    again = groxy(tmp_path, "key", "revoke", row[0], *options)
    assert (again.returncode, "Traceback" in again.stderr) == (2, False)


def test_models_are_listed_as_the_gateway_would(tmp_path):
    listed = groxy(tmp_path, "model", "list", "--data-dir", str(tmp_path / "data"))
    assert listed.returncode == 0
    assert _row(listed.stdout.splitlines(), "grok-4.3")[1] == "grok-4.3"

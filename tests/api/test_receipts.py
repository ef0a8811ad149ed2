"""Receipts over HTTP: for their owners alone."""

import hashlib
import json

import pytest

from groxy.api.receipts import request_id_of
from groxy.ledger.receipts import read_public_key, verified
from groxy.store.retention import Pruner, RetentionRules
from groxy.store.writers import entry_writer
from groxy.store.writing import Group
from tests.api.household import household
from tests.inprocess import KEY
from tests.store.rows import attempt_entry, request_entry

CHAT = {"model": "grok-4.3", "messages": [{"role": "user", "content": "hi"}]}
URL = "https://groxy.example"
OLD, OLDER = (f"req_{0x10000000 + n:011x}{n:016x}" for n in (1, 0))


@pytest.fixture
async def house(tmp_path):
    async with household(tmp_path, app__app_url=URL) as it:
        yield it


async def public_key(house):
    answer = await house.ask("GET", "/v1/receipts/key")
    assert answer.status == 200
    return read_public_key(answer.body.decode())


async def enter(house, *requests):
    writer = entry_writer(house.app.database)
    tried = [attempt_entry(one.id) for one in requests]
    await writer.submit(Group(requests, tried))
    await writer.close()


@pytest.mark.parametrize("is_stream", [False, True])
async def test_a_receipt_tells_what_was_asked_and_answered_and_is_genuine(house, is_stream):
    body = CHAT | {"stream": is_stream}
    reply = await house.ask("POST", "/v1/chat/completions", body, key=KEY)
    name = reply.headers["x-request-id"]

    answer = await house.ask("GET", f"/v1/receipts/{name}", key=KEY)
    receipt = verified(answer.body, await public_key(house))

    assert answer.headers["cache-control"] == "no-store"
    assert (receipt.request_id, receipt.gateway, receipt.upstream) == (name, URL, "sandbox")
    assert (receipt.outcome, receipt.models.asked) == ("ok", "grok-4.3")
    assert receipt.request_sha256 == hashlib.sha256(json.dumps(body).encode()).hexdigest()
    assert receipt.reply_sha256 == hashlib.sha256(reply.body).hexdigest()


async def test_every_key_of_a_user_and_who_is_logged_in_gets_it_and_nobody_else(house):
    first, key = await house.key(house.ada.id)
    second, _ = await house.key(house.ada.id)
    bobs, _ = await house.key(house.bob.id)
    await enter(house, request_entry(OLD, key_id=key.id, user_id=house.ada.id, charge_ticks=5))

    async def status(key):
        return (await house.ask("GET", f"/v1/receipts/{OLD}", key=key)).status

    mine = [first, second, await house.session(house.ada)]
    others = [bobs, KEY, await house.session(house.bob)]
    assert [await status(key) for key in mine] == [200] * 3
    assert [await status(key) for key in others] == [404] * 3
    assert await status(None) == 401


async def test_two_keys_of_nobody_are_two_owners(house):
    _, key = await house.key("")
    await enter(house, request_entry(OLD, key_id=key.id))

    assert (await house.ask("GET", f"/v1/receipts/{OLD}", key=KEY)).status == 404


async def test_the_key_is_told_by_its_hint(house):
    secret, key = await house.key(house.ada.id)
    await enter(house, request_entry(OLD, key_id=key.id, user_id=house.ada.id))

    told = (await house.ask("GET", f"/v1/receipts/{OLD}", key=secret)).json["receipt"]

    assert told["key"] == {"id": key.id, "hint": key.hint}
    assert secret not in json.dumps(told)


async def test_no_account_is_named(house):
    secret, key = await house.key(house.ada.id)
    await enter(house, request_entry(OLD, key_id=key.id, user_id=house.ada.id, account_id="acc_9"))

    assert b"acc_" not in (await house.ask("GET", f"/v1/receipts/{OLD}", key=secret)).body


async def test_what_was_deleted_is_told_to_be(house):
    await enter(house, request_entry(OLDER, at_ms=0x10000000, key_id="settings-1"))
    recent = await house.ask("POST", "/v1/chat/completions", CHAT, key=KEY)
    assert (await house.ask("GET", f"/v1/receipts/{OLDER}", key=KEY)).status == 200
    now_ms = int(recent.headers["x-request-id"][4:15], 16)
    await Pruner(house.app.database, pause_s=0.0).prune(RetentionRules(request_days=90), now_ms)

    answer = await house.ask("GET", f"/v1/receipts/{OLDER}", key=KEY)

    assert (answer.status, answer.error["code"]) == (404, "receipt_pruned")
    assert "deleted" in answer.error["message"]


@pytest.mark.parametrize(
    "asked", ["x", "req_", "req_fffffffffffffffffffffffffff", "a" * 500, "req_%00", "key%20"]
)
async def test_what_never_was_is_not_found(house, asked):
    answer = await house.ask("GET", f"/v1/receipts/{asked}", key=KEY)

    assert (answer.status, answer.error["code"]) == (404, "receipt_not_found")


async def test_without_a_public_address_a_receipt_names_none(tmp_path):
    async with household(tmp_path) as house:
        reply = await house.ask("POST", "/v1/chat/completions", CHAT, key=KEY)
        path = f"/api/v1/receipts/{reply.headers['x-request-id']}"

        assert (await house.ask("GET", path, key=KEY)).json["receipt"]["gateway"] == ""


def test_ids_that_were_made_here_name_their_request():
    assert (
        request_id_of("resp_12") == request_id_of("msg_12") == request_id_of("req_12") == "req_12"
    )

"""`groxy receipt`: checking without the gateway."""

import asyncio
import base64
import hashlib
import json

import pytest

from groxy.ledger.receipts import Signer, receipt_of
from groxy.wire.json import encode
from tests.inprocess import application, ask
from tests.store.rows import attempt_entry, request_entry

SIGNER = Signer(b"s" * 32)
KEY = SIGNER.public.public_key
REQUEST = b'{"model": "grok-4"}'
SIGNED_REPLY = b'data: {"a":1}\n\ndata: [DONE]\n\n'


def sha256(content):
    return hashlib.sha256(content).digest()


@pytest.fixture
def files(tmp_path):
    """A receipt, the request and the reply that it tells of, in files."""
    entry = request_entry(
        charge_ticks=5, request_sha256=sha256(REQUEST), reply_sha256=sha256(SIGNED_REPLY)
    )
    receipt = receipt_of(entry, [attempt_entry()], gateway="", key_hint="")
    contents = {
        "receipt": encode(SIGNER.sign(receipt)),
        "request": REQUEST,
        "reply": SIGNED_REPLY,
        "other": b"other",
        "key.json": encode(SIGNER.public),
        "key.pem": SIGNER.public.pem.encode(),
        "key.txt": KEY.encode() + b"\n",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    return lambda name: str(tmp_path / name)


@pytest.mark.parametrize("key", ["key.json", "key.pem", "key.txt", None])
def test_a_genuine_receipt_is_told_with_what_it_says(groxy, files, key):
    told = groxy("receipt", "verify", files("receipt"), "--key", files(key) if key else KEY)

    assert told.exit_code == 0
    assert "genuine" in told.output
    assert "0.0000000005 USD" in told.output


def test_a_receipt_comes_through_a_pipe(groxy, files, tmp_path):
    content = (tmp_path / "receipt").read_text()

    assert groxy("receipt", "verify", "-", "--key", KEY, stdin=content).exit_code == 0


def test_request_and_reply_are_compared(groxy, files):
    ours = ("--request", files("request"), "--reply", files("reply"))

    assert groxy("receipt", "verify", files("receipt"), "--key", KEY, *ours).exit_code == 0


@pytest.mark.parametrize("what", ["request", "reply"])
def test_another_request_or_reply_is_told(groxy, files, what):
    told = groxy("receipt", "verify", files("receipt"), "--key", KEY, f"--{what}", files("other"))

    assert told.exit_code == 1
    assert f"The {what} in other is not the one" in told.output
    assert "genuine" not in told.output


def test_what_kept_a_stream_alive_does_not_count(groxy, files, tmp_path):
    from groxy.dialects.chat import DIALECT

    content = SIGNED_REPLY.replace(b"\n\n", b"\n\n" + DIALECT.keepalive, 1)
    (tmp_path / "reply").write_bytes(content)

    told = groxy("receipt", "verify", files("receipt"), "--key", KEY, "--reply", files("reply"))

    assert told.exit_code == 0


def test_a_receipt_without_a_reply_says_so(groxy, files, tmp_path):
    receipt = receipt_of(request_entry(), [], gateway="", key_hint="")
    (tmp_path / "receipt").write_bytes(encode(SIGNER.sign(receipt)))

    told = groxy("receipt", "verify", files("receipt"), "--key", KEY, "--reply", files("reply"))

    assert told.exit_code == 1
    assert "tells of no reply" in told.output


def test_a_changed_receipt_is_told(groxy, files, tmp_path):
    document = json.loads((tmp_path / "receipt").read_bytes())
    document["receipt"]["charge"] = "0"
    (tmp_path / "receipt").write_text(json.dumps(document))

    told = groxy("receipt", "verify", files("receipt"), "--key", KEY)

    assert told.exit_code == 1
    assert "changed after it was signed" in told.output


def test_another_key_is_told(groxy, files):
    told = groxy(
        "receipt", "verify", files("receipt"), "--key", Signer(b"o" * 32).public.public_key
    )

    assert told.exit_code == 1
    assert SIGNER.public.key_id in told.output


@pytest.mark.parametrize("key", ["", "nonsense", base64.b64encode(b"k").decode(), "k" * 5000])
def test_what_is_no_key_is_wrong_usage(groxy, files, key):
    told = groxy("receipt", "verify", files("receipt"), "--key", key)

    assert told.exception.param == "key"


def test_a_file_that_is_not_there_is_named(groxy, files):
    told = groxy("receipt", "verify", files("nowhere"), "--key", KEY)

    assert "cannot be read" in told.exception.message


def test_the_key_of_this_installation_checks_its_receipts(groxy, data_dir, tmp_path):
    async def served():
        async with application(data_dir) as app:
            body = {"model": "grok-4", "messages": [{"role": "user", "content": "hi"}]}
            reply = await ask(app, "POST", "/v1/chat/completions", body=body)
            receipt = await ask(app, "GET", f"/v1/receipts/{reply.headers['x-request-id']}")
            return reply.body, receipt.body

    data_dir.mkdir()
    reply, receipt = asyncio.run(served())
    (tmp_path / "reply").write_bytes(reply)
    (tmp_path / "receipt").write_bytes(receipt)
    key = groxy("receipt", "key").output.strip()
    whole = groxy("receipt", "key", "--json").output
    files = (str(tmp_path / "receipt"), "--reply", str(tmp_path / "reply"))

    assert json.loads(whole)["public_key"] == key
    assert groxy("receipt", "verify", *files, "--key", key).exit_code == 0

"""Receipts: any change of any field breaks the signature."""

import base64
import json

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, strategies as st

from groxy.core.errors import ErrorKind, GroxyError
from groxy.ledger.receipts import Signer, canonical, read_public_key, receipt_of, verified
from groxy.store.secrets import InstallationSecret
from tests.store.rows import attempt_entry, request_entry

SIGNER = Signer(b"s" * 32)
OTHER = Signer(b"o" * 32)
KEY = read_public_key(SIGNER.public.public_key)
REQUEST = request_entry(
    charge_ticks=123_456_789,
    price_version="price_1",
    request_sha256=b"\x01" * 32,
    reply_sha256=b"\x02" * 32,
)


def receipt(request=REQUEST, attempts=None, gateway="https://groxy.example", key_hint="sk-…abcd"):
    tried = [attempt_entry()] if attempts is None else attempts
    return receipt_of(request, tried, gateway=gateway, key_hint=key_hint)


def document(**changes):
    """Return a signed document as JSON values."""
    signed = SIGNER.sign(receipt(REQUEST._replace(**changes)))
    return json.loads(msgspec.json.encode(signed))


def written(value):
    return json.dumps(value).encode()


def refusal(content, key=KEY):
    with pytest.raises(GroxyError) as caught:
        verified(content, key)
    assert (caught.value.kind, caught.value.code) == (ErrorKind.BAD_REQUEST, "bad_receipt")
    return caught.value.message


def leaves(value, path=()):
    """Return where every value of a nested object is."""
    if not isinstance(value, dict):
        return [path]
    return [leaf for name, below in value.items() for leaf in leaves(below, (*path, name))]


LEAVES = leaves(document())
OTHERS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.integers())
)


def with_value(path, value):
    changed = document()
    place = changed
    for name in path[:-1]:
        place = place[name]
    before, place[path[-1]] = place[path[-1]], value
    return changed, before


def test_what_was_signed_is_verified_and_comes_back():
    assert verified(written(document()), KEY) == receipt()


def test_a_receipt_tells_of_the_request_and_names_no_account():
    tried = [
        attempt_entry(number=1, account_id="acc_0", upstream="openrouter"),
        attempt_entry(number=2),
    ]
    told = receipt(REQUEST._replace(attempts=2), tried)

    assert (told.upstream, told.attempts, told.charge) == ("xai", 2, "0.0123456789")
    assert (told.models.asked, told.models.served) == ("grok-4.3-fast", "grok-4.3-0430")
    assert (told.request_sha256, told.reply_sha256) == ("01" * 32, "02" * 32)
    assert b"acc_" not in canonical(told)


def test_a_request_that_nobody_served_has_a_receipt_too():
    told = receipt(REQUEST._replace(reply_sha256=None, account_id="", charge_ticks=0), [])

    assert (told.upstream, told.charge, told.reply_sha256) == ("", "0", None)
    assert verified(msgspec.json.encode(SIGNER.sign(told)), KEY) == told


def test_the_canonical_form_is_sorted_and_has_no_blanks_and_no_float():
    text = canonical(receipt(REQUEST._replace(model_asked="größer 模型"))).decode()
    plain = json.loads(text, parse_float=pytest.fail)

    assert text == json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert "größer 模型" in text


@given(ticks=st.integers(0, 2**63 - 1))
def test_a_charge_is_an_exact_decimal(ticks):
    told = receipt(REQUEST._replace(charge_ticks=ticks))
    whole, _, rest = told.charge.partition(".")

    assert int(whole) * 10**10 + int(rest.ljust(10, "0")) == ticks


@pytest.mark.parametrize("path", LEAVES, ids=".".join)
@given(value=OTHERS)
def test_every_changed_field_breaks_it(path, value):
    changed, before = with_value(path, value)
    if value == before and type(value) is type(before):
        assert verified(written(changed), KEY) == receipt()
    else:
        refusal(written(changed))


@pytest.mark.parametrize("path", LEAVES, ids=".".join)
def test_a_missing_field_breaks_it(path):
    changed = document()
    place = changed
    for name in path[:-1]:
        place = place[name]
    del place[path[-1]]

    refusal(written(changed))


@pytest.mark.parametrize("path", [(), ("receipt",), ("receipt", "key"), ("receipt", "tokens")])
def test_a_field_more_breaks_it(path):
    changed = document()
    place = changed
    for name in path:
        place = place[name]
    place["note"] = "paid"

    refusal(written(changed))


@pytest.mark.parametrize("value", [b"0", b"0.0123456789", b"9"])
def test_a_name_twice_breaks_it(value):
    """Of names that are there twice some readers take the first, others the last."""
    content = msgspec.json.encode(SIGNER.sign(receipt()))
    twice = content.replace(b'"charge":', b'"charge":"' + value + b'","charge":')
    assert twice != content

    assert "twice" in refusal(twice)


def test_how_it_is_laid_out_does_not_matter():
    laid_out = json.dumps(document(model_asked='a":"b\\ größer'), indent=4, sort_keys=True)

    assert verified(laid_out.encode(), KEY).models.asked == 'a":"b\\ größer'


def test_another_key_does_not_fit_and_both_are_named():
    message = refusal(written(document()), read_public_key(OTHER.public.public_key))

    assert SIGNER.public.key_id in message
    assert OTHER.public.key_id in message


def test_the_signature_of_another_receipt_does_not_fit():
    first, second = document(), document(charge_ticks=0)
    first["signature"] = second["signature"]

    assert "another receipt's" in refusal(written(first))


def test_a_receipt_of_another_installation_does_not_fit_even_under_our_key_id():
    forged = json.loads(msgspec.json.encode(OTHER.sign(receipt())))
    forged["key_id"] = SIGNER.public.key_id

    refusal(written(forged))


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"receipt":{}}', b" " * 70_000],
    ids=["nothing", "empty", "list", "null", "no text", "deep", "no signature", "long"],
)
def test_what_is_no_receipt_is_refused(content):
    assert refusal(content).startswith("This is no receipt")


@given(content=st.binary(max_size=200))
def test_no_bytes_are_taken_for_a_receipt(content):
    refusal(content)


@pytest.mark.parametrize("text", ["", "!", "AAAA", base64.b64encode(b"k" * 31).decode()])
def test_a_signature_of_another_form_does_not_fit(text):
    changed = document()
    changed["signature"] = text

    refusal(written(changed))


def test_a_public_key_is_read_in_every_form():
    public = SIGNER.public
    forms = [public.public_key, f" {public.public_key}\n", public.pem]
    forms.append(msgspec.json.encode(public).decode())

    for form in forms:
        assert verified(written(document()), read_public_key(form)) == receipt()


OTHER_KIND = generate_private_key(SECP256R1()).public_key()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "k",
        "{}",
        "größer",
        base64.b64encode(b"k" * 31).decode(),
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----",
        OTHER_KIND.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(),
    ],
    ids=["nothing", "letter", "object", "no ASCII", "short", "broken PEM", "another kind"],
)
def test_what_is_no_public_key_is_refused(text):
    with pytest.raises(GroxyError) as caught:
        read_public_key(text)

    assert (caught.value.kind, caught.value.param) == (ErrorKind.BAD_REQUEST, "key")


def test_the_key_follows_from_the_installations_secret_alone(tmp_path):
    first = InstallationSecret.of(tmp_path)
    assert first.sealing_keys is not None
    with first.sealing_keys.changing() as keys:
        keys.add()
        keys.finish()
    second = InstallationSecret.of(tmp_path)

    assert first.receipt_seed() == second.receipt_seed()
    assert len(first.receipt_seed()) == 32
    assert InstallationSecret(b"x" * 32).receipt_seed() != first.receipt_seed()

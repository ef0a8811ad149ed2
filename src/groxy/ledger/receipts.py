"""Receipts: what became of one request, signed, so that anybody can check it offline.

In: a request's lines in the books and the installation's seed. Out: a document with an Ed25519
signature (RFC 8032) over the canonical JSON of its receipt: names sorted, no blanks, UTF-8. Money
is text; nothing in it is a float. It never has the name of an account, nor a prompt or a reply.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Sequence

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from groxy.core.amounts import usd_text
from groxy.core.errors import ErrorKind, GroxyError
from groxy.store.entries import AttemptEntry, RequestEntry

VERSION = 1
MAX_DOCUMENT_BYTES = 64 * 1024
_KEY_BYTES = 32
_KEY_ID_CHARS = 16
_CURRENCY = "USD"
_NAME = re.compile(rb'"(?:[^"\\]|\\.)*"(:?)')


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every part of a document has in common: all fields are there, and no other."""


class ReceiptKey(_Part, frozen=True):
    """The key that asked."""

    id: str
    hint: str
    """Masked; empty where nobody knows it any more."""


class Models(_Part, frozen=True):
    """The model's name: as the caller asked, as we sent it, as the upstream says it served."""

    asked: str
    sent: str
    served: str


class Tokens(_Part, frozen=True):
    """What was read and written."""

    input: int
    cached: int
    output: int
    reasoning: int
    estimated: bool


class Receipt(_Part, frozen=True):
    """What became of one request."""

    version: int
    request_id: str
    at: int
    """Unix milliseconds."""
    gateway: str
    """The gateway's public address; empty where its operator named none."""
    key: ReceiptKey
    models: Models
    upstream: str
    """What kind of upstream served it, such as `xai`; empty where none did."""
    dialect: str
    attempts: int
    tokens: Tokens
    price_version: str
    charge: str
    """What the caller paid, as a decimal number."""
    currency: str
    outcome: str
    finish_reason: str
    request_sha256: str | None
    """Of the body as the caller sent it, in hex."""
    reply_sha256: str | None
    """Of the body as the caller got it, without what only kept a stream alive; null for none."""


class Document(_Part, frozen=True):
    """A receipt with its signature."""

    receipt: Receipt
    signature: str
    """Base64."""
    key_id: str


class PublicKey(_Part, frozen=True):
    """A public key in the forms that others read."""

    algorithm: str
    key_id: str
    public_key: str
    """32 bytes in base64."""
    pem: str


class _Sealed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    receipt: msgspec.Raw
    signature: str
    key_id: str


def _names_in(part: type[msgspec.Struct]) -> int:
    fields = msgspec.structs.fields(part)
    below = [one.type for one in fields if isinstance(one.type, type)]
    return len(fields) + sum(_names_in(one) for one in below if issubclass(one, msgspec.Struct))


_NAMES = _names_in(Receipt)
_sealed = msgspec.json.Decoder(_Sealed)
_receipt = msgspec.json.Decoder(Receipt)
_public = msgspec.json.Decoder(PublicKey)


def receipt_of(
    request: RequestEntry, attempts: Sequence[AttemptEntry], *, gateway: str, key_hint: str
) -> Receipt:
    """Return the receipt of a request; `gateway` is our public address, if we have one."""
    served = [one for one in attempts if one.account_id == request.account_id] or [*attempts]
    return Receipt(
        version=VERSION,
        request_id=request.id,
        at=request.at_ms,
        gateway=gateway,
        key=ReceiptKey(id=request.key_id, hint=key_hint),
        models=Models(
            asked=request.model_asked, sent=request.model_sent, served=request.model_served
        ),
        upstream=served[-1].upstream if served else "",
        dialect=request.dialect,
        attempts=request.attempts,
        tokens=Tokens(
            input=request.input_tokens,
            cached=request.cached_tokens,
            output=request.output_tokens,
            reasoning=request.reasoning_tokens,
            estimated=request.usage_estimated,
        ),
        price_version=request.price_version,
        charge=usd_text(request.charge_ticks),
        currency=_CURRENCY,
        outcome=request.outcome,
        finish_reason=request.finish_reason,
        request_sha256=_hex(request.request_sha256),
        reply_sha256=_hex(request.reply_sha256),
    )


def canonical(receipt: Receipt) -> bytes:
    """Return the bytes that are signed."""
    return msgspec.json.encode(receipt, order="sorted")


class Signer:
    """Signs receipts with the key that follows from a seed of 32 bytes."""

    def __init__(self, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = described(self._key.public_key())

    def sign(self, receipt: Receipt) -> Document:
        """Return the receipt with its signature."""
        signature = self._key.sign(canonical(receipt))
        return Document(
            receipt=receipt,
            signature=base64.b64encode(signature).decode(),
            key_id=self.public.key_id,
        )


def described(key: Ed25519PublicKey) -> PublicKey:
    """Return a public key in every form; its id is the beginning of its SHA-256 in hex."""
    # 3 MB that a gateway needs only for who asks for its public key.
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat  # noqa: PLC0415

    raw = key.public_bytes(Encoding.Raw, PublicFormat.Raw)
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return PublicKey(
        algorithm="Ed25519",
        key_id=hashlib.sha256(raw).hexdigest()[:_KEY_ID_CHARS],
        public_key=base64.b64encode(raw).decode(),
        pem=pem.decode(),
    )


def read_public_key(text: str) -> Ed25519PublicKey:
    """Read a public key: base64 of its 32 bytes, PEM, or the JSON of GET /v1/receipts/key.

    Raises BAD_REQUEST that says what is taken.
    """
    from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415

    text = text.strip()
    try:
        if text.startswith("{"):
            text = _public.decode(text).public_key
        if text.startswith("-----"):
            key = load_pem_public_key(text.encode())
            if not isinstance(key, Ed25519PublicKey):
                raise ValueError("another kind of key")
            return key
        raw = base64.b64decode(text, validate=True)
        return Ed25519PublicKey.from_public_bytes(raw)
    except (ValueError, binascii.Error, msgspec.MsgspecError):
        message = (
            f"The public key cannot be read. Give {_KEY_BYTES} bytes in base64, an Ed25519 key in "
            "PEM, or what GET /v1/receipts/key answers."
        )
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param="key") from None


def verified(document: bytes, key: Ed25519PublicKey) -> Receipt:
    """Return the receipt of a document that this key signed; raise BAD_REQUEST for any other.

    How its JSON is laid out does not matter, but what is in it does: a field more, a field less, a
    name twice are refused, because readers could take them for something else than was signed.
    """
    sealed, receipt = _read(document)
    try:
        signature = base64.b64decode(sealed.signature, validate=True)
        key.verify(signature, canonical(receipt))
    except (binascii.Error, ValueError, InvalidSignature):
        ours = described(key).key_id
        if sealed.key_id != ours:
            problem = f"it names the key {sealed.key_id[:64]!r}, and this one is {ours}"
        else:
            problem = "it was changed after it was signed, or the signature is another receipt's"
        raise _refused(f"The signature does not fit: {problem}.") from None
    if sealed.key_id != described(key).key_id:
        raise _refused("The signature fits, but `key_id` was changed: it names another key.")
    return receipt


def _read(document: bytes) -> tuple[_Sealed, Receipt]:
    if len(document) > MAX_DOCUMENT_BYTES:
        raise _refused(f"This is no receipt: it has more than {MAX_DOCUMENT_BYTES} bytes.")
    try:
        sealed = _sealed.decode(document)
        plain = msgspec.json.format(bytes(sealed.receipt), indent=-1)
        receipt = _receipt.decode(plain)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise _refused(f"This is no receipt: {error}.") from None
    names = sum(1 for found in _NAME.finditer(plain) if found[1])
    if names != _NAMES:
        raise _refused("This is no receipt as it was signed: a name is in it twice.")
    if receipt.version != VERSION:
        message = f"This receipt has version {receipt.version}; this Groxy knows {VERSION}."
        raise _refused(message)
    return sealed, receipt


def _refused(message: str) -> GroxyError:
    return GroxyError(ErrorKind.BAD_REQUEST, message, param="receipt", code="bad_receipt")


def _hex(digest: bytes | None) -> str | None:
    return None if digest is None else digest.hex()

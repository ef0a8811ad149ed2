"""`groxy receipt`: checking receipts offline, and the key that checks those of this installation.

In: files. Out: what a receipt says, once its signature fits; else one sentence and exit status 1.
"""

import hashlib
import sys
from pathlib import Path
from typing import Annotated

import typer

from groxy.cli.context import Config, DataDir, loaded_settings, print_table
from groxy.core.errors import ErrorKind, GroxyError
from groxy.ledger.receipts import Receipt, Signer, read_public_key, verified
from groxy.store.secrets import InstallationSecret
from groxy.wire.json import encode

app = typer.Typer(no_args_is_help=True)

_STDIN = "-"
_MAX_KEY_BYTES = 64 * 1024


@app.command("verify")
def verify(
    file: Annotated[str, typer.Argument(help="What GET /v1/receipts/… answered; - reads stdin.")],
    key: Annotated[
        str,
        typer.Option(
            "--key",
            help="The gateway's public key: a file, or 32 bytes in base64.",
            show_default=False,
        ),
    ],
    request: Annotated[
        Path | None, typer.Option("--request", help="The request's body, as it was sent.")
    ] = None,
    reply: Annotated[
        Path | None, typer.Option("--reply", help="The reply's body, as it came.")
    ] = None,
) -> None:
    """Check a receipt offline: that this key signed it, and that nothing in it was changed."""
    public = read_public_key(_key_text(key))
    try:
        receipt = verified(_content(file), public)
        if request is not None:
            _compare("request", request, receipt.request_sha256, b"")
        if reply is not None:
            _compare("reply", reply, receipt.reply_sha256, _silence_of(receipt.dialect))
    except GroxyError as error:
        if error.code != "bad_receipt":
            raise
        typer.secho(error.message, fg="red", err=True)
        raise typer.Exit(1) from None
    typer.echo("The receipt is genuine.")
    print_table(("", "says"), _rows(receipt))


@app.command("key")
def show_key(
    as_json: Annotated[bool, typer.Option("--json", help="In every form.")] = False,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Print the public key that checks receipts of this installation."""
    settings = loaded_settings(config, data_dir).settings
    secret = InstallationSecret.of(settings.data_dir, settings.app.secret_bytes())
    public = Signer(secret.receipt_seed()).public
    typer.echo(encode(public).decode() if as_json else public.public_key)


def _rows(receipt: Receipt) -> list[tuple[str, str]]:
    tokens, models = receipt.tokens, receipt.models
    return [
        ("request", receipt.request_id),
        ("gateway", receipt.gateway),
        ("key", f"{receipt.key.id} {receipt.key.hint}".rstrip()),
        ("asked → sent → served", f"{models.asked} → {models.sent} → {models.served}"),
        ("upstream", receipt.upstream),
        ("outcome", receipt.outcome),
        ("tokens", f"{tokens.input} + {tokens.output}" + " (estimated)" * tokens.estimated),
        ("charge", f"{receipt.charge} {receipt.currency}"),
    ]


def _compare(what: str, file: Path, told: str | None, silence: bytes) -> None:
    """Raise when the content of a file is not what the receipt tells of.

    `silence` is what only kept a stream alive: it is in what came, and not in what was signed.
    """
    content = _read(file)
    forms = {content, content.replace(silence, b"")} if silence else {content}
    if told is None:
        raise _bad(f"The receipt tells of no {what} body.")
    if told not in {hashlib.sha256(form).hexdigest() for form in forms}:
        raise _bad(f"The {what} in {file.name} is not the one that the receipt tells of.")


def _silence_of(dialect: str) -> bytes:
    from groxy.dialects.chat import DIALECT as CHAT
    from groxy.dialects.messages import DIALECT as MESSAGES

    return MESSAGES.keepalive if dialect == MESSAGES.name else CHAT.keepalive


def _key_text(key: str) -> str:
    """Return a key as it was given, or out of the file that was named."""
    path = Path(key)
    try:
        is_file = path.is_file()
    except (OSError, ValueError):
        is_file = False
    if not is_file:
        return key
    return _read(path)[:_MAX_KEY_BYTES].decode(errors="replace")


def _content(file: str) -> bytes:
    return sys.stdin.buffer.read() if file == _STDIN else _read(Path(file))


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        message = f"{file} cannot be read: {error.strerror}. Name another file."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param=str(file)) from None


def _bad(message: str) -> GroxyError:
    return GroxyError(ErrorKind.BAD_REQUEST, message, param="receipt", code="bad_receipt")

"""What a value may look like: the types of the settings, with the words that describe them.

In comes what a file, a variable or a flag gave, out goes the value in its final form. A rule that
is broken raises ValueError (all that pydantic turns into a report) with a text that continues
"<setting> …" and never repeats a secret.
This module must not know which setting uses which rule, and reads nothing.
"""

import base64
import binascii
import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal
from urllib.parse import SplitResult, urlsplit

import msgspec
from pydantic import AfterValidator, BeforeValidator, Field

from groxy.settings.secret import Address, Secret


@dataclass(frozen=True, slots=True)
class Shown:
    """How docs and error texts describe a type that cannot be described by its annotation."""

    type: str
    secret: bool = False


_HOST_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?")
_DATABASES = {
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
}
# Valkey speaks the Redis protocol; redis-py knows only its own two names.
_STATES = {"redis": "redis", "rediss": "rediss", "valkey": "redis", "valkeys": "rediss"}

# What obstore takes; each with a bucket, but for the two of this machine.
_BUCKETS = frozenset({"s3", "s3a", "gs", "az", "azure", "abfs", "abfss"})
# Names of the contract, which tell where a link leads; here links always lead to the own store.
_IMAGE_FORMATS = {
    "grok_url": "url",
    "local_url": "url",
    "grok_md": "markdown",
    "local_md": "markdown",
}
_VIDEO_FORMATS = {
    "grok_url": "url",
    "local_url": "url",
    "grok_html": "html",
    "local_html": "html",
}

_PROXIES = frozenset({"http", "https", "socks4", "socks5", "socks5h"})
_SECRET_BYTES = 32
_TABLE = "a table of text, or an object of text in JSON"


def read_key(value: object) -> Secret:
    """Return an API key; it has to fit into one HTTP header."""
    text = Secret.read(value).reveal().strip()
    if not text:
        message = "is empty; give the key, or remove the setting"
        raise ValueError(message)
    if not text.isascii() or not text.isprintable() or " " in text:
        message = "must be one word of plain ASCII characters, as it travels in an HTTP header"
        raise ValueError(message)
    return Secret(text)


def read_keys(value: object) -> tuple[Secret, ...]:
    """Return the keys in a comma list or an array; the empty text alone means no key at all."""
    if isinstance(value, str):
        if not value.strip():
            return ()
        parts: Iterable[object] = [part for part in value.split(",") if part.strip()]
    elif isinstance(value, list | tuple):
        parts = value
    else:
        message = "must be text, a comma list or an array of text"
        raise ValueError(message)
    keys = tuple(dict.fromkeys(read_key(part) for part in parts))
    if not keys and value != ():
        message = 'holds no key; write "" for open mode, or remove it to have a key generated'
        raise ValueError(message)
    return keys


def read_secret_key(value: object) -> Secret:
    """Return the secret of the installation; `bytes_of` gives its bytes."""
    secret = Secret(Secret.read(value).reveal().strip())
    bytes_of(secret)
    return secret


def bytes_of(secret: Secret) -> bytes:
    """Return the 32 bytes that a secret key stands for; ValueError when it is not one."""
    text = secret.reveal()
    try:
        if re.fullmatch(r"[0-9A-Fa-f]{64}", text):
            return bytes.fromhex(text)
        plain = text.rstrip("=").translate(str.maketrans("-_", "+/"))
        found = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if len(found) != _SECRET_BYTES:
        message = (
            "must be 32 random bytes as 64 hex digits or base64; `openssl rand -hex 32` makes them"
        )
        raise ValueError(message)
    return found


def read_words(value: object) -> tuple[str, ...]:
    """Return the words in a comma list or an array, each once and without spaces around it."""
    if isinstance(value, str):
        value = (
            _decoded(value, list[str], "an array of text")
            if value.lstrip().startswith("[")
            else value.split(",")
        )
    if not isinstance(value, list | tuple) or not all(isinstance(word, str) for word in value):
        message = "must be an array of text, or a comma list"
        raise ValueError(message)
    return tuple(dict.fromkeys(word.strip() for word in value if word.strip()))


def read_statuses(value: object) -> tuple[int, ...]:
    """Return the statuses in an array or a comma list, each once."""
    if isinstance(value, str):
        words = value.strip().removeprefix("[").removesuffix("]").split(",")
        value = [_number_in(word) for word in words if word.strip()]
    if not isinstance(value, list | tuple) or not all(map(_is_error_status, value)):
        message = "must be an array of statuses from 400 to 599, such as [404, 409]"
        raise ValueError(message)
    return tuple(dict.fromkeys(value))


def _number_in(word: str) -> object:
    word = word.strip()
    return int(word) if re.fullmatch(r"[0-9]{3}", word) else word


def _is_error_status(value: object) -> bool:
    return type(value) is int and 400 <= value <= 599


def read_table(value: object) -> object:
    """Return the table that a variable holds as an object in JSON; anything else as it is."""
    return _decoded(value, dict[str, str], _TABLE) if isinstance(value, str) else value


def read_quotas(value: object) -> object:
    """Return quotas of pools by `pool.mode`; TOML may give them as tables within the table."""
    if isinstance(value, str):
        value = _decoded(value, dict[str, str | dict[str, str]], _TABLE)
    if not isinstance(value, Mapping):
        return value
    flat: dict[object, object] = {}
    for name, part in value.items():
        inner = part.items() if isinstance(part, Mapping) else [(None, part)]
        flat |= {name if key is None else f"{name}.{key}": quota for key, quota in inner}
    return flat


def _decoded(text: str, wanted: object, called: str) -> object:
    try:
        return msgspec.json.decode(text, type=wanted)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        message = f"must be {called}"
        raise ValueError(message) from None


def read_option(value: object) -> Secret:
    """Return a field that an upstream declared; which of them are secret is not known here."""
    secret = Secret.read(value)
    if not secret.reveal().isprintable():
        message = "must be one line of text without control characters"
        raise ValueError(message)
    return secret


def split_url(text: str) -> SplitResult:
    """Return the parts of a URL; ValueError if it has none."""
    if not text.isprintable() or any(sign.isspace() for sign in text):
        message = "must not hold spaces or control characters"
        raise ValueError(message)
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        message = "must be a URL with a valid host and port"
        raise ValueError(message) from None
    return parts


def check_web_url(text: str) -> str:
    """Return an http(s) URL without its last slash; credentials in it are refused."""
    if not text:
        return text
    parts = split_url(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        message = 'must be a URL that starts with "http://" or "https://"'
        raise ValueError(message)
    if "@" in parts.netloc or parts.query or parts.fragment:
        message = "must be a plain URL: no user, no password, nothing after ? or #"
        raise ValueError(message)
    return text.rstrip("/")


def check_page_url(text: str) -> str:
    """Return the http(s) URL of a page; what stands behind a `?` belongs to it."""
    if not text:
        return text
    parts = split_url(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc:
        message = 'must be a URL that starts with "http://" or "https://", without a password'
        raise ValueError(message)
    return text


def read_hook_url(value: object) -> Address:
    """Return the http(s) URL of a webhook; it may hold a password, and is shown without it."""
    text = Address.read(value).reveal().strip()
    if text:
        parts = split_url(text)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            message = 'must be a URL that starts with "http://" or "https://"'
            raise ValueError(message)
    return Address(text)


def check_base_url(text: str) -> str:
    """Return an upstream's URL; unlike the public URL it cannot be empty."""
    if not text:
        message = "is empty; give the upstream's URL, or remove the setting"
        raise ValueError(message)
    return check_web_url(text)


def read_store_url(value: object) -> Address:
    """Return the database URL, with the driver's name filled in."""
    text = Address.read(value).reveal()
    scheme, separator, rest = text.partition("://")
    driver = _DATABASES.get(scheme.lower())
    if not separator or driver is None:
        message = 'must start with "sqlite+aiosqlite:///" or "postgresql+asyncpg://"'
        raise ValueError(message)
    if driver.startswith("sqlite"):
        if rest and not rest.startswith("/"):
            message = 'needs three slashes before a file name: "sqlite+aiosqlite:///groxy.db"'
            raise ValueError(message)
    elif not split_url(text).hostname:
        message = "must name a host: postgresql+asyncpg://user:password@host/database"
        raise ValueError(message)
    return Address(f"{driver}://{rest}")


def read_state_url(value: object) -> Address:
    """Return the address of the shared state; Valkey's schemes become those of Redis."""
    text = Address.read(value).reveal()
    if text in {"memory://", "memory"}:
        return Address("memory://")
    scheme, separator, rest = text.partition("://")
    known = _STATES.get(scheme.lower())
    if not separator or known is None:
        message = 'must be "memory://", or start with "redis://", "rediss://" or "valkey://"'
        raise ValueError(message)
    if not split_url(text).hostname:
        message = "must name a host: redis://host:6379/0"
        raise ValueError(message)
    return Address(f"{known}://{rest}")


def read_media_url(value: object) -> Address:
    """Return the address of the object store; empty for the folder in the data folder."""
    text = Address.read(value).reveal().strip()
    if not text:
        return Address("")
    if text in {"memory://", "memory", "memory:///"}:
        return Address("memory://")
    parts = split_url(text)
    if parts.scheme == "file" and not parts.netloc and parts.path.startswith("/"):
        return Address(text)
    if parts.scheme not in _BUCKETS or not parts.hostname:
        message = (
            'must be "s3://bucket/path", "gs://bucket/path", "az://container/path", '
            '"file:///folder" or "memory://"'
        )
        raise ValueError(message)
    if "@" in parts.netloc or parts.query or parts.fragment:
        message = (
            "must be a plain URL: no user, no password, nothing after ? or #; credentials come "
            "from the environment"
        )
        raise ValueError(message)
    return Address(text)


def read_image_format(value: object) -> object:
    """Return how pictures are shown; the contract's names become ours."""
    return _IMAGE_FORMATS.get(value, value) if isinstance(value, str) else value


def read_video_format(value: object) -> object:
    """Return how films are shown; the contract's names become ours."""
    return _VIDEO_FORMATS.get(value, value) if isinstance(value, str) else value


def read_proxy_url(value: object) -> Address:
    """Return the address of a proxy; it may hold a user and a password."""
    text = Address.read(value).reveal()
    parts = split_url(text)
    if parts.scheme not in _PROXIES or not parts.hostname:
        message = "must be a URL of http, https, socks5, socks5h or socks4: socks5://host:1080"
        raise ValueError(message)
    if parts.path.strip("/") or parts.query or parts.fragment:
        message = "must end after the port: nothing after a slash, ? or #"
        raise ValueError(message)
    if parts.scheme.startswith("socks") and not parts.port:
        message = "must name the SOCKS proxy's port, which has no default: socks5://host:1080"
        raise ValueError(message)
    return Address(text.rstrip("/"))


def check_host(text: str) -> str:
    """Return an address to listen on; brackets around IPv6 are taken off."""
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        ipaddress.ip_address(bare)
    except ValueError:
        if not _HOST_NAME.fullmatch(text):
            message = (
                "must be an address or a host name without scheme and port, such as "
                '"127.0.0.1"; use "0.0.0.0" or "::" for all addresses'
            )
            raise ValueError(message) from None
    return bare


def is_loopback(host: str) -> bool:
    """Say whether only this machine can reach `host`; a name other than localhost counts as no."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def check_refresh(seconds: float) -> float:
    """Return the seconds between two refreshes; a tiny number would flood upstreams."""
    if 0 < seconds < 10:
        message = "must be 0 (only on demand) or at least 10 seconds"
        raise ValueError(message)
    return seconds


def check_percentile(percentile: float) -> float:
    """Return the percentile after which a request is hedged; a low one would double the work."""
    if 0 < percentile < 50:
        message = "must be 0 (off) or 50 to 99.9"
        raise ValueError(message)
    return percentile


def check_variable_name(text: str) -> str:
    """Return the name of an environment variable. The value is not repeated: it may be a key."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", text):
        message = "must be the name of an environment variable, not the key itself"
        raise ValueError(message)
    return text


def check_not_empty(text: str) -> str:
    """Return a text that is not blank."""
    if not text.strip():
        message = "is empty; give it a value"
        raise ValueError(message)
    return text


def check_account_name(text: str) -> str:
    """Return a name that can stand in a URL, a metric label and a log line."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", text):
        message = (
            'must be 1 to 64 letters, digits, ".", "_" or "-", and start with none of the signs'
        )
        raise ValueError(message)
    return text


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
Host = Annotated[str, AfterValidator(check_host), Shown("an address or a host name")]
WebUrl = Annotated[str, AfterValidator(check_web_url), Shown("an http(s) URL")]
PageUrl = Annotated[str, AfterValidator(check_page_url), Shown("an http(s) URL")]
HookUrl = Annotated[Address, BeforeValidator(read_hook_url), Shown("an http(s) URL", secret=True)]
BaseUrl = Annotated[str, AfterValidator(check_base_url)]
Key = Annotated[Secret, BeforeValidator(read_key)]
Keys = Annotated[tuple[Secret, ...], BeforeValidator(read_keys)]
Option = Annotated[Secret, BeforeValidator(read_option)]
StoreUrl = Annotated[Address, BeforeValidator(read_store_url), Shown("a database URL")]
StateUrl = Annotated[Address, BeforeValidator(read_state_url), Shown("a URL")]
MediaUrl = Annotated[Address, BeforeValidator(read_media_url), Shown("a URL")]
Megabytes = Annotated[int, Field(ge=0, le=1_000_000_000)]
MediaBytes = Annotated[int, Field(ge=1024, le=2**40)]
UploadBytes = Annotated[int, Field(ge=1024, le=2**31 - 1)]
ImageFormat = Annotated[Literal["url", "markdown", "base64"], BeforeValidator(read_image_format)]
VideoFormat = Annotated[Literal["url", "html", "markdown"], BeforeValidator(read_video_format)]
VariableName = Annotated[str, AfterValidator(check_variable_name)]
FileName = Annotated[str, AfterValidator(check_not_empty)]
AccountName = Annotated[str, AfterValidator(check_account_name), Shown("a short name")]
UpstreamName = Annotated[str, AfterValidator(check_not_empty), Shown("an upstream's name")]
RefreshSeconds = Annotated[float, Field(ge=0, le=604_800), AfterValidator(check_refresh)]
HedgePercentile = Annotated[float, Field(ge=0, le=99.9), AfterValidator(check_percentile)]
InFlight = Annotated[int, Field(ge=0, le=1_000_000)]
SecretKey = Annotated[Secret, BeforeValidator(read_secret_key)]
ProxyUrl = Annotated[Address, BeforeValidator(read_proxy_url)]
Words = Annotated[tuple[str, ...], BeforeValidator(read_words), Shown("an array of text")]
Statuses = Annotated[
    tuple[int, ...], BeforeValidator(read_statuses), Shown("an array of statuses from 400 to 599")
]
Level = Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)]
Pool = Literal["basic", "super", "heavy"]

"""What `groxy serve` prints: the address, the new keys (once), who serves, and two snippets."""

from typing import NamedTuple

from groxy.settings import Loaded, Settings

_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared with, not bound to


class NewKeys(NamedTuple):
    """Keys that were just made; None where there was one already."""

    caller: str | None
    operator: str | None


def banner(loaded: Loaded, new_keys: NewKeys, serving: list[str]) -> str:
    """Return the text, ready to print."""
    settings = loaded.settings
    url = base_url(settings)
    key = new_keys.caller or _key_in_settings(settings)
    lines = ["", "Groxy is running.", "", f"  base URL    {url}/v1"]
    lines.append(f"  API key     {_key_line(settings, new_keys.caller)}")
    lines.append(f"  admin key   {_admin_line(settings, new_keys.operator)}")
    lines.append(f"  serving     {_serving(serving)}")
    lines.append(f"  data folder {settings.data_dir}")
    lines += [f"  note        {note}" for note in loaded.notes]
    if new_keys.caller or new_keys.operator:
        lines += ["", "New keys are shown this once and stored as digests. Keep them."]
    return "\n".join([*lines, "", *_snippets(url, key), ""])


def base_url(settings: Settings) -> str:
    """Return the address that a client on this machine uses."""
    host = loopback_of(settings.server.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.server.port}"


def loopback_of(host: str) -> str:
    """Return the address under which this machine reaches a server that listens on `host`."""
    return _ANYWHERE.get(host, host)


def _key_in_settings(settings: Settings) -> str:
    if settings.app.is_open:
        return "anything"
    return "YOUR_API_KEY"


def _key_line(settings: Settings, new_key: str | None) -> str:
    if settings.app.is_open:
        return "none: open mode, every request is served"
    if new_key:
        return new_key
    return "as set in app.api_key" if settings.app.api_key else "made before (`groxy key create`)"


def _admin_line(settings: Settings, new_key: str | None) -> str:
    if new_key:
        return new_key
    return "as set in app.app_key" if settings.app.app_key else "made before"


def _serving(serving: list[str]) -> str:
    shown = ", ".join(serving[:8])
    more = f" and {len(serving) - 8} more" if len(serving) > 8 else ""
    if serving == ["sandbox"]:
        return "sandbox (built in, no credentials needed; answers are made up)"
    return shown + more


def _snippets(url: str, key: str) -> list[str]:
    curl = (
        f"curl {url}/v1/chat/completions -H 'Authorization: Bearer {key}' "
        "-H 'Content-Type: application/json' "
        '-d \'{"model": "grok-4", "messages": [{"role": "user", "content": "Hello!"}]}\''
    )
    return [
        "Try it:",
        "",
        curl,
        "",
        "from openai import OpenAI",
        f'client = OpenAI(base_url="{url}/v1", api_key="{key}")',
        'messages = [{"role": "user", "content": "Hello!"}]',
        'reply = client.chat.completions.create(model="grok-4", messages=messages)',
        "print(reply.choices[0].message.content)",
    ]

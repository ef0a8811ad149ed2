"""Sources and sealed thoughts in chat replies: read leniently, written as clients expect them.

Citations: xAI has a list of URLs beside the choices (its OpenAPI document, 2026-08), OpenAI and
OpenRouter `annotations` in the message. Sealed thoughts: OpenRouter's `reasoning_details`.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from groxy.core.events import Cited
from groxy.wire.json import UNREADABLE, decode_any


def cited_urls(raw: msgspec.Raw) -> list[str]:
    """Return the URLs of a `citations` list; what is no URL's text is passed over."""
    return [url for url in _list_in(raw) if url and isinstance(url, str)]


def cited_in(raw: msgspec.Raw, choice: int) -> Iterator[Cited]:
    """Yield the sources in a message's `annotations`."""
    for note in _list_in(raw):
        place = note.get("url_citation", note) if isinstance(note, dict) else None
        url = place.get("url") if isinstance(place, dict) else None
        if isinstance(place, dict) and url and isinstance(url, str):
            title = place.get("title")
            yield Cited(
                url=url,
                title=title if isinstance(title, str) else "",
                start=_position(place.get("start_index")),
                end=_position(place.get("end_index")),
                choice=choice,
            )


def _position(value: object) -> int:
    return value if type(value) is int and 0 <= value < 2**31 else 0


def sealed_in(raw: msgspec.Raw) -> Iterator[tuple[str, str]]:
    """Yield the sealed thoughts in `reasoning_details`, each with the id of its item."""
    for detail in _list_in(raw):
        if isinstance(detail, dict) and detail.get("type") == "reasoning.encrypted":
            sealed, item_id = detail.get("data"), detail.get("id")
            if sealed and isinstance(sealed, str):
                yield sealed, item_id if isinstance(item_id, str) else ""


def _list_in(raw: msgspec.Raw) -> list[object]:
    if not raw:
        return []
    try:
        value = decode_any(raw)
    except UNREADABLE:
        return []
    return value if isinstance(value, list) else []


def written_sources(sources: Sequence[Cited]) -> list[dict[str, Any]]:
    """Return sources as the `annotations` of a message."""
    return [
        {
            "type": "url_citation",
            "url_citation": {
                "url": source.url,
                "title": source.title,
                "start_index": source.start,
                "end_index": source.end,
            },
        }
        for source in sources
    ]

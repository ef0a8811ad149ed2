"""xAI's live search, which chat callers still ask for, as the tools that took its place.

Live search answers 410 since January 2026 (vercel/ai#15713); `web_search` and `x_search` on
Responses do the same. In: `search_parameters` or a `live_search` tool. Out: server tools.
"""

import msgspec

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.request import ServerTool
from groxy.dialects.chat.shapes import SearchParameters, Source
from groxy.wire.json import UNREADABLE, encode

_MAX_DOMAINS = 5
_MAX_HANDLES = 10
"""xAI's OpenAPI document, 2026-08."""
_WEB = ("web", "news")

_decode = msgspec.json.Decoder(SearchParameters | None).decode


def is_on(search: SearchParameters | None) -> bool:
    """True when something is to be searched: xAI's default is to let the model decide."""
    return search is not None and search.mode != "off"


def searches(raw: msgspec.Raw | None) -> int:
    """Return how many tools may search for `search_parameters` as it came: the web's and X's."""
    if raw is None:
        return 0
    try:
        return 2 if is_on(_decode(raw)) else 0
    except UNREADABLE:
        return 0


def search_tools(search: SearchParameters) -> tuple[list[ServerTool], list[str]]:
    """Return the tools that search as asked, and what of the search they cannot be told.

    Raises UNSUPPORTED for feeds, BAD_REQUEST for sources of no kind and lists too long.
    """
    sources = search.sources or [Source(type="web"), Source(type="x")]
    for index, source in enumerate(sources):
        _check_kind(source, f"search_parameters.sources.{index}.type")
    web = [source for source in sources if source.type in _WEB]
    tools, lost = [], []
    if web:
        tools.append(ServerTool(kind="web_search", settings=encode(_web_settings(web))))
        dates = {"from_date": search.from_date, "to_date": search.to_date}
        lost += [f"search_parameters.{name}" for name, date in dates.items() if date]
    if len(web) < len(sources):
        on_x = [source for source in sources if source.type == "x"]
        tools.append(ServerTool(kind="x_search", settings=encode(_x_settings(on_x, search))))
    if search.max_search_results is not None:
        lost.append("search_parameters.max_search_results")
    return tools, lost


def _check_kind(source: Source, param: str) -> None:
    if source.type == "rss":
        message = "Feeds cannot be searched any more. Leave the rss source out, or ask for web."
        raise GroxyError(ErrorKind.UNSUPPORTED, message, param=param)
    if source.type not in (*_WEB, "x"):
        message = f"`{param}` must be one of web, news, x."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param=param)


def _web_settings(sources: list[Source]) -> dict[str, list[str]]:
    allowed = _merged([source.allowed_websites for source in sources], "allowed", _MAX_DOMAINS)
    if allowed:
        # Only one of the lists may be there, and this one says more.
        return {"allowed_domains": allowed}
    excluded = _merged([source.excluded_websites for source in sources], "excluded", _MAX_DOMAINS)
    return {"excluded_domains": excluded} if excluded else {}


def _x_settings(sources: list[Source], search: SearchParameters) -> dict[str, list[str] | str]:
    settings: dict[str, list[str] | str] = {}
    included = [source.included_x_handles or source.x_handles for source in sources]
    excluded = [source.excluded_x_handles for source in sources]
    if handles := _merged(included, "included", _MAX_HANDLES):
        settings["allowed_x_handles"] = handles
    elif handles := _merged(excluded, "excluded", _MAX_HANDLES):
        settings["excluded_x_handles"] = handles
    if search.from_date:
        settings["from_date"] = search.from_date
    if search.to_date:
        settings["to_date"] = search.to_date
    return settings


def _merged(lists: list[list[str] | None], word: str, most: int) -> list[str]:
    names = list(dict.fromkeys(name for names in lists for name in names or ()))
    if len(names) > most:
        message = f"`search_parameters.sources` may name {most} {word} places at most."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param="search_parameters.sources")
    return names

"""Content blocks of requests: checked, and turned into parts.

In: blocks as a caller sends them. Out: parts for the canonical form, or an error that names the
block's field. Blocks that only the upstream itself can have made (its searches and their results)
are dropped; a user's block of a type nobody here knows is refused, as leaving out what a user said
would change the question. Must not look at anything but blocks.
"""

import msgspec

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.parts import File, Image, Part, Reasoning, Text, ToolCall, ToolResult
from groxy.dialects.messages.sealing import opened_token
from groxy.dialects.messages.shapes import Block, Content, Source
from groxy.wire.json import UNREADABLE

_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_MAX_PADDING = 2
_REQUIRED = {
    "text": ("text",),
    "tool_use": ("id", "name"),
    "tool_result": ("tool_use_id",),
    "thinking": ("thinking",),
    "redacted_thinking": ("data",),
}
_NEEDED_OF_SOURCE = {
    "base64": ("media_type", "data"),
    "text": ("data",),
    "url": ("url",),
    "file": ("file_id",),
    "content": (),
}
_SOURCES = {
    "image": ("base64", "url", "file"),
    "document": ("base64", "text", "url", "file", "content"),
}

_content_decoder = msgspec.json.Decoder(Content)
_source_decoder = msgspec.json.Decoder(Source)
_text_decoder = msgspec.json.Decoder(str)


def invalid(param: str, what: str) -> GroxyError:
    """Return the error that tells a caller which field is wrong, and how."""
    return GroxyError(ErrorKind.BAD_REQUEST, f"`{param}` {what}.", param=param)


def blocks_of(content: Content) -> list[Block]:
    """Return content as blocks."""
    return [Block(type="text", text=content)] if isinstance(content, str) else content


# ------------------------------------------------------------------------------------- checking


def check_block(block: Block, where: str) -> None:
    """Raise BAD_REQUEST for a block that lacks what its type needs; `where` is its path."""
    for name in _REQUIRED.get(block.type, ()):
        value = getattr(block, name)
        if value is None or (value == "" and name in ("id", "name", "tool_use_id")):
            raise invalid(f"{where}.{name}", f"is required on a {block.type} block")
    if block.type in ("image", "document"):
        _check_source(block, where)
    elif block.type == "tool_use" and not bytes(block.input).startswith(b"{"):
        raise invalid(f"{where}.input", "must be an object")
    elif block.type == "tool_result":
        for index, inner in enumerate(blocks_of(_inner(block, where))):
            check_block(inner, f"{where}.content.{index}")


def _check_source(block: Block, where: str) -> None:
    source, where = _source(block, where), f"{where}.source"
    known = _SOURCES[block.type]
    if source.type not in known:
        raise invalid(f"{where}.type", f"must be one of {', '.join(known)}")
    for name in _NEEDED_OF_SOURCE[source.type]:
        if not getattr(source, name):
            raise invalid(f"{where}.{name}", f"is required on a {source.type} source")
    if source.type == "base64" and not _is_base64(source.data or ""):
        raise invalid(f"{where}.data", "is not valid base64: send it padded and without line ends")
    if source.type == "content":
        for index, inner in enumerate(blocks_of(_content(source.content, f"{where}.content"))):
            check_block(inner, f"{where}.content.{index}")


def _is_base64(text: str) -> bool:
    digits = text.rstrip("=")
    padding = len(text) - len(digits)
    # Deleting the alphabet is several times faster than decoding a picture only to throw it away.
    return (
        len(text) % 4 == 0
        and padding <= _MAX_PADDING
        and not digits.encode(errors="replace").translate(None, _BASE64)
    )


def _source(block: Block, where: str) -> Source:
    if not block.source:
        raise invalid(f"{where}.source", f"is required on a {block.type} block")
    try:
        return _source_decoder.decode(block.source)
    except UNREADABLE:
        raise invalid(f"{where}.source", "must be an object with a type") from None


def _inner(block: Block, where: str) -> Content:
    return _content(block.content, f"{where}.content")


def _content(raw: msgspec.Raw, where: str) -> Content:
    if bytes(raw) in (b"", b"null"):
        return []
    try:
        content: Content = _content_decoder.decode(raw)
    except UNREADABLE:
        raise invalid(where, "must be text or a list of content blocks") from None
    return content


# ---------------------------------------------------------------------------------- into parts


def assistant_parts(content: Content) -> list[Part]:
    """Return the parts of an assistant's turn."""
    parts: list[Part] = []
    for block in blocks_of(content):
        match block.type:
            case "text":
                parts.append(Text(text=block.text or ""))
            case "thinking" | "redacted_thinking":
                parts.extend(_thoughts(block))
            case "tool_use":
                parts.append(
                    ToolCall(
                        call_id=block.id or "",
                        name=block.name or "",
                        arguments=bytes(block.input).decode(),
                    )
                )
            case _:
                pass  # What the upstream did on its own, such as a search: no other one knows it.
    return parts


def _thoughts(block: Block) -> list[Part]:
    opened = opened_token(block.signature if block.type == "thinking" else block.data)
    if opened is not None:
        encrypted, item_id = opened
        return [Reasoning(text=block.thinking or "", encrypted=encrypted, item_id=item_id)]
    return [Reasoning(text=block.thinking)] if block.thinking else []


def user_parts(content: Content, where: str) -> tuple[list[ToolResult], list[Part]]:
    """Return the tool results of a user's turn, and what else it says; `where` is its path."""
    results: list[ToolResult] = []
    parts: list[Part] = []
    for index, block in enumerate(blocks_of(content)):
        path = f"{where}.content.{index}"
        if block.type == "tool_result":
            result, others = _tool_result(block, path)
            results.append(result)
            parts.extend(others)
        else:
            parts.extend(_said(block, path))
    return results, parts


def system_texts(content: Content, where: str) -> list[str]:
    """Return the texts of a system's turn; `where` is its path.

    Raises UNSUPPORTED, naming the block, for what is no text: elsewhere a system says nothing else.
    """
    texts: list[str] = []
    for index, block in enumerate(blocks_of(content)):
        path = f"{where}.content.{index}"
        for part in _said(block, path):
            if not isinstance(part, Text):
                raise _not_carried(block, path, " in a system turn: send it in a user's")
            texts.append(part.text)
    return texts


def _tool_result(block: Block, where: str) -> tuple[ToolResult, list[Part]]:
    """Return a result, and the documents in it, which a result of another dialect cannot hold."""
    texts: list[str] = []
    images: list[Image] = []
    others: list[Part] = []
    for index, inner in enumerate(blocks_of(_inner(block, where))):
        if inner.type == "tool_reference":
            continue
        for part in _said(inner, f"{where}.content.{index}"):
            match part:
                case Text():
                    texts.append(part.text)
                case Image():
                    images.append(part)
                case _:
                    others.append(part)
    result = ToolResult(
        call_id=block.tool_use_id or "",
        text="\n".join(texts),
        images=tuple(images),
        is_error=bool(block.is_error),
    )
    return result, others


def _said(block: Block, where: str) -> list[Part]:
    match block.type:
        case "text":
            return [Text(text=block.text or "")]
        case "image":
            return [_image(_source(block, where))]
        case "document":
            return _document(block, where)
        case "search_result":
            return [_search_result(block, where)]
        case _:
            raise _not_carried(block, where)


def _not_carried(block: Block, where: str, why: str = "") -> GroxyError:
    message = f"`{where}.type` {block.type[:64]!r} cannot be carried to any account here{why}."
    return GroxyError(ErrorKind.UNSUPPORTED, message, param=f"{where}.type")


def _image(source: Source) -> Part:
    if source.type == "base64":
        return Image(url=_data_uri(source))
    return File(file_id=source.file_id) if source.file_id else Image(url=source.url or "")


def _document(block: Block, where: str) -> list[Part]:
    """Return a document: as text where it is text, which every upstream can read; else a file."""
    source, name = _source(block, where), block.title or ""
    if source.type == "text":
        return [_titled(block, source.data or "")]
    if source.type == "content":
        parts = [
            part
            for inner in blocks_of(_content(source.content, f"{where}.source.content"))
            for part in _said(inner, f"{where}.source.content")
        ]
        text = "\n".join(part.text for part in parts if isinstance(part, Text))
        return [_titled(block, text), *(part for part in parts if not isinstance(part, Text))]
    context: list[Part] = [Text(text=block.context)] if block.context else []
    if source.type == "base64":
        return [*context, File(url=_data_uri(source), name=name)]
    return [*context, File(file_id=source.file_id or "", url=source.url or "", name=name)]


def _titled(block: Block, text: str) -> Text:
    lines = [f"Document: {block.title}"] if block.title else []
    lines += [f"Context: {block.context}"] if block.context else []
    return Text(text="\n".join([*lines, text]))


def _search_result(block: Block, where: str) -> Text:
    try:
        source = _text_decoder.decode(block.source) if block.source else ""
    except UNREADABLE:
        raise invalid(f"{where}.source", "must be text") from None
    inner = blocks_of(_inner(block, where))
    lines = [f"Search result: {block.title or ''} ({source})", *(one.text or "" for one in inner)]
    return Text(text="\n".join(lines))


def _data_uri(source: Source) -> str:
    return f"data:{source.media_type};base64,{source.data}"

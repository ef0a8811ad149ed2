"""POST /v1/images/generations, /v1/images/generate and /v1/images/edits.

In: JSON, or for edits a form with files too. Out: `{"created", "data": [{"url"} | {"b64_json"}]}`,
with `refused` and `refusals` where fewer pictures came of it than were asked for. Nothing leaves
before all pictures are there and the books have them. What a file is, its content says.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from groxy.api.addresses import base_url_of
from groxy.api.forms import Form, FormFile, is_form, read_form
from groxy.api.text import call_of, identify
from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.media import ImageRequest
from groxy.dialects.images import (
    DIALECT,
    MAX_REFERENCES,
    ImagesAsked,
    ShownPicture,
    encode_reply,
    form_body,
    read_images,
)
from groxy.gateway.making import Made, Maker, Order
from groxy.gateway.references import References
from groxy.media.links import Links
from groxy.policy.keys import Keyring
from groxy.wire.asgi import AsgiClient, Headers, Receive, Scope, Send, read_body

_MAX_FORM_BYTES = 64 * 1024 * 1024
_MAX_FIELDS = 100
_PICTURES = ("image", "image[]", "images", "images[]")
_PLACE = "data:,"
"""Stands among the fields for a file, whose content need not be written out for that."""


class ImagesEndpoint:
    """Makes pictures, or changes them."""

    def __init__(
        self,
        maker: Maker,
        references: References,
        links: Links,
        keyring: Keyring,
        *,
        is_edit: bool,
        max_body_bytes: int,
    ) -> None:
        self._maker = maker
        self._references = references
        self._links = links
        self._keyring = keyring
        self._is_edit = is_edit
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request: who asks comes first, so that strangers cannot make us read much."""
        caller = identify(self._keyring, scope)
        form = Form()
        if is_form(scope):
            form = await self._form(scope, receive)
            body = form_body(_with_places(form))
        else:
            body = await read_body(scope, receive, limit=self._max_body_bytes)
        base_url = base_url_of(scope)
        asked = ImagesAsked(request=ImageRequest(model="", prompt=""))

        async def read() -> Order:
            nonlocal asked
            asked = read_images(body, is_edit=self._is_edit)
            request = await self._resolved(asked, form, caller.key_id, base_url)
            return Order(request=request, keeps=not asked.wants_content)

        making = self._maker.begin(call_of(scope, DIALECT, caller, body))
        try:
            made = await making.make(read, AsgiClient(receive, send))
        except GroxyError as error:
            await send_error(send, error, attempts=making.attempts)
            return
        written = encode_reply(
            self._shown(made, asked, base_url),
            created=made.created,
            refusals=made.refusals,
            cost_ticks=made.cost_ticks if made.is_priced else None,
        )
        headers = [(b"x-groxy-attempts", b"%d" % making.attempts)]
        if adjusted := ", ".join((*asked.ignored, *made.adjusted)):
            headers.append((b"x-groxy-adjusted", adjusted.encode()))
        await _send(send, 200, headers, written)

    async def _form(self, scope: Scope, receive: Receive) -> Form:
        return await read_form(
            scope,
            receive,
            max_files=MAX_REFERENCES + 1,
            max_file_bytes=self._references.max_image_bytes,
            max_fields=_MAX_FIELDS,
            max_total_bytes=_MAX_FORM_BYTES,
        )

    async def _resolved(
        self, asked: ImagesAsked, form: Form, owner: str, base_url: str
    ) -> ImageRequest:
        """Return the request with its pictures as checked data URIs."""
        pictures, masks = form.files_of(*_PICTURES), form.files_of("mask")

        async def read(reference: str, param: str, files: list[FormFile]) -> str:
            if reference == _PLACE and files:
                return await self._references.checked(files.pop(0).content, param=param)
            return await self._references.read(
                reference, param=param, owner=owner, base_url=base_url
            )

        request = asked.request
        images = [
            await read(image, param, pictures)
            for image, param in zip(request.images, asked.params, strict=True)
        ]
        mask = await read(request.mask, "mask", masks) if request.mask else ""
        return replace(request, images=tuple(images), mask=mask)

    def _shown(self, made: Made, asked: ImagesAsked, base_url: str) -> Sequence[ShownPicture]:
        return [
            ShownPicture(
                url=self._links.of(one.stored, base_url) if one.stored else "",
                b64_json=one.content if asked.wants_content else b"",
                mime_type=one.content_type,
                revised_prompt=one.revised_prompt,
            )
            for one in made.pictures
        ]


def _with_places(form: Form) -> dict[str, list[str]]:
    """Return the fields of a form with a place in them for each of its files."""
    # A file input that was left empty is sent like this by browsers.
    form.files = [file for file in form.files if file.name or file.content]
    fields = {name: list(values) for name, values in form.fields.items()}
    for file in form.files:
        if file.field in _PICTURES:
            fields.setdefault("image", []).append(_PLACE)
        elif file.field == "mask":
            fields["mask"] = [_PLACE]
        else:
            message = f"`{file.field}` is no field for a file here; `image` and `mask` are."
            raise GroxyError(ErrorKind.BAD_REQUEST, message, param=file.field)
    return fields


async def send_error(send: Send, error: GroxyError, *, attempts: int) -> None:
    """Answer with an error; official SDKs need not retry what was tried more than once already."""
    if error.kind is ErrorKind.CANCELLED:
        return
    headers = [(b"x-groxy-attempts", b"%d" % attempts)]
    if error.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % max(round(error.retry_after_s + 0.499), 1)))
    if attempts > 1:
        headers.append((b"x-should-retry", b"false"))
    await _send(send, error.facts.status, headers, DIALECT.encode_error(error))


async def _send(send: Send, status: int, headers: Headers, body: bytes) -> None:
    head = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": head + headers})
    await send({"type": "http.response.body", "body": body})

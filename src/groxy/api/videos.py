"""POST, GET and DELETE /v1/videos: films as jobs; and /v1/videos/generations in xAI's words.

In: JSON, or a form with files. Out: the job at once, then how far it is, then its film. A job that
was ordered in xAI's words is told of in them. What a file is, its content says. Facts: OpenAI's API
reference and openai-python 3.52, xAI's OpenAPI document, 2026.
"""

from msgspec.structs import replace

from groxy.api.addresses import base_url_of
from groxy.api.forms import Form, is_form, read_form
from groxy.api.stored import FOR_OWNER, send_stored
from groxy.api.text import call_of, identify
from groxy.core.errors import ErrorKind, GroxyError
from groxy.dialects.chat import DIALECT as CHAT
from groxy.dialects.videos import (
    MAX_REFERENCES,
    FilmAsked,
    FilmShown,
    Form as Words,
    check_count,
    encode_deleted,
    encode_job,
    encode_jobs,
    encode_receipt,
    encode_state,
    form_body,
    read_film,
)
from groxy.gateway.film_jobs import FilmJobs
from groxy.gateway.reel import read_reel
from groxy.gateway.references import References
from groxy.media.links import Links
from groxy.policy.keys import Keyring
from groxy.store.jobs import Job
from groxy.wire.asgi import AsgiApp, Receive, Scope, Send, query_of, read_body, respond

_MAX_FORM_BYTES = 64 * 1024 * 1024
_MAX_FIELDS = 100
_PICTURES = ("input_reference", "input_reference[]", "image", "image[]", "reference_images[]")
_USUALLY_LISTED, _MOST_LISTED = 20, 100
_POLL_AFTER_MS = 1_000
"""How often OpenAI's SDKs look at a job (`openai-poll-after-ms`, openai-python 3.52)."""
_NO_VARIANTS = ("thumbnail", "spritesheet")


class Videos:
    """All endpoints of film jobs."""

    def __init__(
        self,
        films: FilmJobs,
        references: References,
        links: Links,
        keyring: Keyring,
        *,
        max_body_bytes: int,
    ) -> None:
        self._films = films
        self._references = references
        self._links = links
        self._keyring = keyring
        self._max_body_bytes = max_body_bytes

    def ordering(self, words: Words) -> AsgiApp:
        """Return what takes orders in OpenAI's words, or in xAI's."""

        async def order(scope: Scope, receive: Receive, send: Send) -> None:
            await self._order(scope, receive, send, words)

        return order

    async def _order(self, scope: Scope, receive: Receive, send: Send, words: Words) -> None:
        """Take an order. Who asks comes first, so that strangers cannot make us read much."""
        caller = identify(self._keyring, scope)
        form = Form()
        if is_form(scope):
            form = await self._form(scope, receive)
            body = form_body(form.fields)
        else:
            body = await read_body(scope, receive, limit=self._max_body_bytes)
        base_url = base_url_of(scope)

        async def read() -> FilmAsked:
            asked = read_film(body, form=words)
            return await self._resolved(asked, form, caller.key_id, base_url)

        # Films do not pass through the pipeline of text, so the dialect of the call says nothing.
        job = await self._films.order(call_of(scope, CHAT, caller, b""), read)
        if words == "xai":
            await respond(send, 200, encode_receipt(job.id))
        else:
            await _respond(send, 200, encode_job(await self._shown(job, base_url)))

    async def _form(self, scope: Scope, receive: Receive) -> Form:
        form = await read_form(
            scope,
            receive,
            max_files=MAX_REFERENCES,
            max_file_bytes=self._references.max_image_bytes,
            max_fields=_MAX_FIELDS,
            max_total_bytes=_MAX_FORM_BYTES,
        )
        # A file input that was left empty is sent like this by browsers.
        form.files = [file for file in form.files if file.name or file.content]
        for file in form.files:
            if file.field not in _PICTURES:
                message = f"`{file.field}` is no field for a file here; `input_reference` is."
                raise GroxyError(ErrorKind.BAD_REQUEST, message, param=file.field)
        return form

    async def _resolved(self, asked: FilmAsked, form: Form, owner: str, base_url: str) -> FilmAsked:
        """Return an order with its pictures as checked data URIs; files come first."""
        check_count(len(form.files) + len(asked.request.images))
        images = [
            await self._references.checked(file.content, param=file.field.removesuffix("[]"))
            for file in form.files
        ]
        for image, param in zip(asked.request.images, asked.params, strict=True):
            images.append(
                await self._references.read(image, param=param, owner=owner, base_url=base_url)
            )
        request = replace(asked.request, images=tuple(images))
        return replace(asked, request=request)

    async def list(self, scope: Scope, receive: Receive, send: Send) -> None:
        """List the caller's jobs, a page at a time."""
        del receive
        owner = identify(self._keyring, scope).key_id
        query = query_of(scope)
        order = query.get("order", "desc")
        if order not in ("asc", "desc"):
            message = "`order` must be asc or desc."
            raise GroxyError(ErrorKind.BAD_REQUEST, message, param="order")
        jobs, has_more = await self._films.listed(
            owner,
            after=query.get("after", ""),
            limit=_limit(query.get("limit")),
            newest_first=order == "desc",
        )
        base_url, shown = base_url_of(scope), list[FilmShown]()
        for job in jobs:
            try:
                shown.append(await self._shown(job, base_url))
            except GroxyError as error:
                if error.kind is not ErrorKind.NOT_FOUND:  # It was deleted just now.
                    raise
        await respond(send, 200, encode_jobs(shown, has_more=has_more))

    async def one(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Tell how far a job is."""
        del receive
        owner = identify(self._keyring, scope).key_id
        job = await self._films.find(_id_in(scope), owner)
        shown = await self._shown(job, base_url_of(scope))
        if read_reel(job.state).form == "xai":
            status, body = encode_state(shown)
            await respond(send, status, body)
        else:
            await _respond(send, 200, encode_job(shown))

    async def content(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the film of a job."""
        owner = identify(self._keyring, scope).key_id
        variant = query_of(scope).get("variant", "video")
        if variant in _NO_VARIANTS:
            message = f"There is no {variant} of films here. Leave `variant` out for the film."
            raise GroxyError(ErrorKind.BAD_REQUEST, message, param="variant")
        stored = await self._films.content(_id_in(scope), owner)
        await send_stored(
            scope,
            receive,
            send,
            shelf=self._films.shelf,
            stored=stored,
            caching=FOR_OWNER,
            as_attachment=True,
        )

    async def delete(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Cancel a job that is under way, or remove one that has ended with its film."""
        del receive
        owner = identify(self._keyring, scope).key_id
        job_id = _id_in(scope)
        await self._films.remove(job_id, owner)
        await respond(send, 200, encode_deleted(job_id))

    async def _shown(self, job: Job, base_url: str) -> FilmShown:
        return await self._films.shown(job, lambda stored: self._links.of(stored, base_url))


async def _respond(send: Send, status: int, body: bytes) -> None:
    """Answer with a job, and say when it is worth looking again."""
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"openai-poll-after-ms", b"%d" % _POLL_AFTER_MS),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _id_in(scope: Scope) -> str:
    found: str = scope["path_params"]["id"]
    return found[:64]


def _limit(text: str | None) -> int:
    if text is None:
        return _USUALLY_LISTED
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text[:6]) <= _MOST_LISTED:
        message = f"`limit` must be a number from 1 to {_MOST_LISTED}."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param="limit")
    return int(text)

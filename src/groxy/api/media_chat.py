"""Pictures and film through chat and Responses, for clients that know nothing else.

In: a request of one of these dialects whose model makes pictures or film. Out: an answer of the
same dialect, whole or streamed, with what was made in its text. A stream opens when something is
made or when making takes its time, so that a request that is refused at once is answered with its
status. Must not make anything itself.
"""

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import cast

import msgspec
from msgspec.structs import replace

from groxy.api.addresses import base_url_of
from groxy.api.media_replies import (
    ChatMediaReply,
    MediaReply,
    ResponsesMediaReply,
    Shown,
    Told,
    film_text,
    pictures_text,
)
from groxy.api.media_wishes import ImageWish, image_wish, param_of, video_wish
from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.media import ImageRequest
from groxy.core.request import Request
from groxy.dialects._base import Asked, CallersEnd, Frame
from groxy.gateway.films import Film, Filmer, FilmProgress
from groxy.gateway.making import Made, Maker, OnSilence, Order
from groxy.gateway.means import Call, Means
from groxy.gateway.references import References
from groxy.gateway.vigil import Deadlines, Vigil
from groxy.media.links import Links
from groxy.routing.catalog import Capability, Catalog
from groxy.routing.suffixes import read_suffixes
from groxy.wire.asgi import AsgiClient, Headers, Receive, Scope, Send

_MEDIA = frozenset({Capability.IMAGE, Capability.IMAGE_EDIT, Capability.VIDEO})
_TELL_EVERY_S = 5.0
_FILM_MOST_S = 3600.0
"""For a film that a request waits for; upstreams give up long before."""
_OWN_NAMES = {"prompt": "", "image": "", "mask": "", "n": "image_config.n"}
"""Fields of the endpoints for pictures, as they are called here; empty: the conversation."""
_JSON = (b"content-type", b"application/json")
_STREAM: Headers = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
]


class Forms(msgspec.Struct, frozen=True, kw_only=True):
    """How what was made is shown in a text."""

    image: str = "markdown"
    """url, markdown or base64."""
    video: str = "markdown"
    """url, markdown or html."""


class MediaChat:
    """Answers requests for models that make pictures or film."""

    def __init__(
        self,
        maker: Maker,
        references: References,
        links: Links,
        catalog: Catalog,
        forms: Callable[[], Forms],
        filmer: Filmer | None = None,
    ) -> None:
        self.maker = maker
        self.references = references
        self.links = links
        self.forms = forms
        """Asked at each request: settings may change."""
        self.filmer = filmer
        self.tell_every_s = _TELL_EVERY_S
        self._catalog = catalog

    def is_media(self, model: str) -> Capability | None:
        """Return what a model makes, if that is pictures or film; None for all others."""
        catalog = self._catalog
        found = catalog.find(catalog.resolve(model))
        if found is None:
            found = catalog.find(catalog.resolve(read_suffixes(model).base))
        return found.capability if found is not None and found.capability in _MEDIA else None

    async def answer(
        self, capability: Capability, call: Call, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Answer a request for a model of this capability."""
        turn = _Turn(self, call, AsgiClient(receive, send), base_url_of(scope))
        if capability is Capability.VIDEO:
            await turn.answer_with_film()
        else:
            await turn.answer_with_pictures(is_edit=capability is Capability.IMAGE_EDIT)


class _Turn:
    """One request."""

    def __init__(self, chat: MediaChat, call: Call, client: AsgiClient, base_url: str) -> None:
        self._chat = chat
        self._call = call
        self._client = client
        self._base_url = base_url
        self._dialect = cast("CallersEnd", call.dialect)
        self._param = param_of(call.dialect.name)
        self._reply_id = call.request_id.removeprefix("req_")
        self._began = time.monotonic()
        self._is_stream = False
        self._has_started = False
        self._reply: MediaReply | None = None
        self._wants_cost = False
        self._opening = ""

    @property
    def _means(self) -> Means:
        return self._chat.maker.means

    # ------------------------------------------------------------------------------- pictures

    async def answer_with_pictures(self, *, is_edit: bool) -> None:
        """Make pictures and show them."""
        wish = ImageWish(request=ImageRequest(model="", prompt=""))
        is_responses = self._call.dialect.name == "responses"

        async def read() -> Order:
            nonlocal wish
            asked, request = await self._read()
            wish = image_wish(asked, request, param=self._param, is_edit=is_edit)
            count = wish.request.count
            what = "1 picture" if count == 1 else f"{count} pictures"
            verb = "Changing" if wish.request.images else "Making"
            self._opening = f"{verb} {what} with {asked.model}."
            resolved = replace(wish.request, images=await self._resolved(wish.request.images))
            # Responses has the content in the reply, and a link to it in the text.
            keeps = self._form_of(wish) != "base64"
            return Order(request=resolved, keeps=keeps, is_stream=self._is_stream)

        making = self._chat.maker.begin(self._call, reply_id=self._reply_name())
        silence = OnSilence(tell=self._tell, after_s=self._chat.tell_every_s)
        try:
            made = await making.make(read, self._client, on_silence=silence)
        except GroxyError as error:
            await self._fail(error, attempts=making.attempts)
            return
        told = self._told(made, self._form_of(wish), with_items=is_responses)
        headers = [(b"x-groxy-attempts", b"%d" % making.attempts)]
        if made.adjusted:
            headers.append((b"x-groxy-adjusted", ", ".join(made.adjusted).encode()))
        await self._finish(told, headers)

    def _form_of(self, wish: ImageWish) -> str:
        """Return how pictures are shown: as the request says, else as the settings do."""
        usual = self._chat.forms().image
        if wish.form == "url":
            return "markdown" if usual == "base64" else usual
        return wish.form or usual

    def _told(self, made: Made, form: str, *, with_items: bool) -> Told:
        pictures = [
            Shown(
                link=self._chat.links.of(one.stored, self._base_url) if one.stored else "",
                content=one.content,
                content_type=one.content_type,
                revised_prompt=one.revised_prompt,
            )
            for one in made.pictures
        ]
        return Told(
            text=pictures_text(pictures, made.refusals, form),
            pictures=pictures if with_items else (),
            cost_ticks=made.cost_ticks if made.is_priced else None,
        )

    # ----------------------------------------------------------------------------------- film

    async def answer_with_film(self) -> None:
        """Make a film and show it. It is its maker who enters it in the books."""
        deadlines = self._means.limits.deadlines
        patient = Deadlines(
            first_event_s=_FILM_MOST_S,
            idle_s=_FILM_MOST_S,
            total_s=_FILM_MOST_S,
            keepalive_s=min(deadlines.keepalive_s, self._chat.tell_every_s),
        )
        try:
            async with Vigil(self._client, patient, self._break_silence) as vigil:
                film = await vigil.attempt(self._film(vigil))
                await vigil.sending()
        except GroxyError as error:
            await self._fail(error, attempts=0)
            return
        link = self._chat.links.of(film.stored, self._base_url)
        told = Told(text=film_text(link, self._chat.forms().video), cost_ticks=film.cost_ticks)
        await self._finish(told, [])

    async def _film(self, vigil: Vigil) -> Film:
        asked, request = await self._read()
        wish = video_wish(asked, request, param=self._param)
        wish = replace(wish, images=await self._resolved(wish.images))
        filmer = self._chat.filmer
        if filmer is None:
            message = f"The model `{wish.model[:128]}` makes film, and this gateway makes none."
            raise GroxyError(ErrorKind.UNSUPPORTED, message, param="model")
        self._opening = f"Making a film of {wish.duration_s} s with {asked.model}."
        steps = filmer.film(self._call, wish, has_left=lambda: vigil.has_client_left)
        return await self._followed(steps)

    async def _followed(self, film: AsyncGenerator[FilmProgress | Film]) -> Film:
        """Return the film; tell meanwhile how far it is."""
        percent = 0
        # Closed at once when the client leaves, so that its maker knows.
        async with aclosing(film) as steps:
            async for step in steps:
                if isinstance(step, Film):
                    return step
                if step.percent > percent:
                    percent = step.percent
                    await self._say(f"{percent} %")
        raise GroxyError(ErrorKind.INTERNAL, "The film was lost. Ask again.")

    # ------------------------------------------------------------------------------ the request

    async def _read(self) -> tuple[Asked, Request]:
        """Read the request with its history; from here on it is known how to answer."""
        call = self._call
        asked = call.asked or call.dialect.decode_request(call.body)
        usual = self._means.limits.streams_by_default
        self._is_stream = usual if asked.stream is None else asked.stream
        frame = Frame(
            reply_id=self._reply_id,
            created=time.time_ns() // 1_000_000_000,
            count_input=lambda: 0,
            counting=self._means.limits.counting,
        )
        is_responses = self._call.dialect.name == "responses"
        self._reply = (
            ResponsesMediaReply(asked, frame) if is_responses else ChatMediaReply(asked, frame)
        )
        if asked.continues:
            owner = self._call.caller.key_id
            asked, _ = await self._means.memory.recall(self._call.dialect, asked, owner)
        canonical = self._dialect.canonical(asked)
        asked.decoded = None
        if call.asked is not None:
            call.asked.decoded = None
        return asked, canonical

    async def _resolved(self, images: tuple[str, ...]) -> tuple[str, ...]:
        owner = self._call.caller.key_id
        return tuple(
            [
                await self._chat.references.read(
                    image, param=self._param, owner=owner, base_url=self._base_url
                )
                for image in images
            ]
        )

    def _reply_name(self) -> str:
        prefix = "resp_" if self._call.dialect.name == "responses" else "chatcmpl-"
        return prefix + self._reply_id

    # -------------------------------------------------------------------------------- the reply

    async def _tell(self) -> None:
        """Say that pictures are still on their way, and for how long."""
        await self._say(f"{time.monotonic() - self._began:.0f} s")

    async def _break_silence(self) -> None:
        """Keep the client's connection alive."""
        if self._has_started:
            await self._client.send(self._call.dialect.keepalive, is_last=False)
        else:
            await self._say("")

    async def _say(self, line: str) -> None:
        """Send a line of progress, if the reply is a stream."""
        if not self._is_stream or self._reply is None:
            return
        written = b""
        if not self._has_started:
            await self._start(200, _STREAM)
            written = self._opened()
        if line:
            written += self._reply.progress(line)
        await self._client.send(written, is_last=False)

    def _opened(self) -> bytes:
        return self._reply.progress(self._opening) if self._reply and self._opening else b""

    async def _finish(self, told: Told, headers: Headers) -> None:
        reply = self._reply
        assert reply is not None  # noqa: S101 - something was made, so it was read
        if not self._is_stream:
            await self._whole(200, reply.whole(told), headers)
            return
        written = b""
        if not self._has_started:
            await self._start(200, _STREAM + headers)
            written = self._opened()
        await self._client.send(written + reply.finish(told), is_last=True)

    async def _fail(self, error: GroxyError, *, attempts: int) -> None:
        if error.kind is ErrorKind.CANCELLED:
            return
        if error.param in _OWN_NAMES:
            error.param = _OWN_NAMES[error.param] or self._param
        if self._has_started and self._reply is not None:
            await self._client.send(self._reply.fail(error), is_last=True)
            return
        headers: Headers = [(b"x-groxy-attempts", b"%d" % attempts)]
        if error.retry_after_s is not None:
            headers.append((b"retry-after", b"%d" % max(round(error.retry_after_s + 0.499), 1)))
        if attempts > 1:
            headers.append((b"x-should-retry", b"false"))
        await self._whole(error.facts.status, self._call.dialect.encode_error(error), headers)

    async def _whole(self, status: int, body: bytes, headers: Headers) -> None:
        length = (b"content-length", b"%d" % len(body))
        await self._start(status, [_JSON, length, *headers])
        await self._client.send(body, is_last=True)

    async def _start(self, status: int, headers: Headers) -> None:
        self._has_started = True
        await self._client.start(status, headers)

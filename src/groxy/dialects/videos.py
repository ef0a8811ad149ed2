"""Films as OpenAI and xAI ask for them: the caller's end of film jobs.

In: a JSON body, or the fields of a form. Out: what is asked for as values, and how far a job is, as
bytes in the form that its caller knows: OpenAI's job object, or xAI's state of a request. Facts:
OpenAI's API reference and xAI's OpenAPI document, as of August 2026. What goes upstream is written
by each upstream. Must not look into references, fetch them or know who makes films.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.media import VideoRequest
from groxy.core.shapes import FILM_SHAPES
from groxy.core.sizes import film_size_for
from groxy.dialects._bounds import read_max_cost
from groxy.wire.json import decode_request as decode_json, encode

CARRIERS = ("videos",)
USUAL_SECONDS = 6
USUAL_SIZE = "720x1280"
SECONDS = (6, 10, 12, 16, 20)
"""Lengths that the contract names; an upstream may make others."""
MAX_SECONDS = 20
MAX_REFERENCES = 7
"""Pictures to start from (grok2api, its video endpoint)."""
MAX_PROMPT_CHARS = 100_000
PRESETS = ("fun", "normal", "spicy", "custom")
_MAX_REFERENCE_CHARS = 64 * 1024 * 1024
_FORMS = "a data URI, an http(s) URL or the id of an uploaded file"
_IMAGE_FIELDS = ("input_reference", "image", "images", "reference_images", "input_references")

_Text = Annotated[str, Meta(max_length=_MAX_REFERENCE_CHARS)]
Form = Literal["openai", "xai"]
"""Whose words a job is told in."""
Status = Literal["queued", "in_progress", "completed", "failed"]


class _Url(msgspec.Struct):
    url: _Text


class _Reference(msgspec.Struct):
    """A picture to start from; which field says so depends on the vendor."""

    url: _Text | None = None
    image_url: _Text | _Url | None = None
    file_id: _Text | None = None


_Given = _Text | _Reference


class _Body(msgspec.Struct):
    model: Annotated[str, Meta(min_length=1, max_length=256)]
    prompt: Annotated[str, Meta(max_length=MAX_PROMPT_CHARS)]
    seconds: int | float | str | None = None
    duration: int | float | str | None = None
    size: str | None = None
    aspect_ratio: str | None = None
    resolution: str | None = None
    resolution_name: str | None = None
    preset: str | None = None
    user: Annotated[str, Meta(max_length=1024)] | None = None
    input_reference: _Given | list[_Given] | None = None
    input_references: list[_Given] | None = None
    image: _Given | list[_Given] | None = None
    images: list[_Given] | None = None
    reference_images: list[_Given] | None = None
    max_cost: Raw = Raw(b"null")


_decoder = msgspec.json.Decoder(_Body)


class FilmAsked(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller asks for. The request's pictures are references still, as the caller wrote."""

    request: VideoRequest
    size: str
    """As the job tells it; empty where the upstream chooses."""
    params: tuple[str, ...] = ()
    """The field that each of the request's pictures stands in."""
    form: Form = "openai"


class FilmShown(msgspec.Struct, frozen=True, kw_only=True):
    """A job as a caller is told of it; whoever owns it may know all of this."""

    id: str
    model: str
    status: Status
    progress: int
    prompt: str
    seconds: int
    size: str
    created_s: int
    completed_s: int | None = None
    expires_s: int | None = None
    url: str = ""
    """Where the film is, once it is done."""
    cost_ticks: int | None = None
    error_code: str = ""
    error: str = ""


# ------------------------------------------------------------------------------------- requests


def read_film(body: bytes, *, form: Form = "openai") -> FilmAsked:
    """Check a JSON body; raise `GroxyError` (a 400) that names the field at fault."""
    wire = decode_json(body, _decoder)
    if not wire.prompt.strip():
        raise _bad("prompt", "is empty; say what the film is to show")
    references = _references(wire)
    is_plain = form == "openai" and not wire.aspect_ratio
    size = wire.size or (USUAL_SIZE if is_plain else "")
    ratio, resolution = FILM_SHAPES.read(
        size, wire.aspect_ratio, wire.resolution_name or wire.resolution
    )
    return FilmAsked(
        request=VideoRequest(
            model=wire.model,
            prompt=wire.prompt,
            duration_s=_seconds(wire),
            aspect_ratio=ratio,
            resolution=resolution,
            preset=preset_of(wire.preset),
            images=tuple(reference for _, reference in references),
            user=wire.user or "",
            max_cost_ticks=read_max_cost(wire.max_cost),
        ),
        size=size or film_size_for(ratio, resolution),
        params=tuple(param for param, _ in references),
        form=form,
    )


def form_body(fields: Mapping[str, Sequence[str]]) -> bytes:
    """Return the fields of a form as the JSON body that says the same, for `read_film`.

    Of a field that is repeated the last counts, but references, which may be there several times.
    `input_reference[file_id]` and the like are how OpenAI's SDKs write an object into a form.
    """
    body: dict[str, Any] = {}
    for name, values in fields.items():
        plain, _, part = name.removesuffix("[]").partition("[")
        if plain not in _IMAGE_FIELDS:
            body[plain] = values[-1]
        elif part:
            body.setdefault(plain, []).extend({part.removesuffix("]"): one} for one in values)
        else:
            body.setdefault(plain, []).extend(values)
    return encode(body)


def preset_of(preset: str | None, *, where: str = "") -> str:
    """Return the preset, or nothing where none was named."""
    if not preset:
        return ""
    if preset not in PRESETS:
        raise _bad(f"{where}preset", f"must be one of {', '.join(PRESETS)}")
    return preset


def seconds_of(value: float | str | None, *, param: str = "seconds") -> int:
    """Return a length that comes as a number or as its text; the usual one for None."""
    if value is None:
        return USUAL_SECONDS
    try:
        number = float(value)
    except ValueError:
        number = 0.0
    if not 1 <= number <= MAX_SECONDS or number != int(number):
        usual = ", ".join(map(str, SECONDS))
        said = f"must be a whole number from 1 to {MAX_SECONDS}; usual lengths are {usual}"
        raise _bad(param, said)
    return int(number)


def _seconds(wire: _Body) -> int:
    if wire.seconds is None and wire.duration is not None:
        return seconds_of(wire.duration, param="duration")
    return seconds_of(wire.seconds)


def _references(wire: _Body) -> list[tuple[str, str]]:
    """Return the pictures to start from, each with the field that it stands in."""
    found: list[tuple[str, str]] = []
    for name in _IMAGE_FIELDS:
        given: _Given | list[_Given] | None = getattr(wire, name)
        if isinstance(given, list):
            params = [name] if len(given) == 1 else [f"{name}.{at}" for at in range(len(given))]
            found += [
                (param, _reference(one, param)) for param, one in zip(params, given, strict=True)
            ]
        elif given is not None:
            found.append((name, _reference(given, name)))
    check_count(len(found))
    return found


def check_count(references: int) -> None:
    """Raise BAD_REQUEST for more references than a film can have."""
    if references > MAX_REFERENCES:
        said = f"has {references} pictures; send at most {MAX_REFERENCES}"
        raise _bad("input_reference", said)


def _reference(given: str | _Reference, param: str) -> str:
    if isinstance(given, str):
        found: str | None = given
    else:
        link = given.image_url
        found = given.url or (link.url if isinstance(link, _Url) else link) or given.file_id
    if not found:
        raise _bad(param, f"is empty; send {_FORMS}")
    if not found.startswith(("data:", "http://", "https://", "file-", "file_")):
        raise _bad(param, f"must be {_FORMS}")
    return found


def _bad(param: str, what: str) -> GroxyError:
    return GroxyError(ErrorKind.BAD_REQUEST, f"`{param}` {what}.", param=param)


# -------------------------------------------------------------------------------------- replies


class _Fault(msgspec.Struct, frozen=True):
    code: str
    message: str


class _Job(msgspec.Struct, frozen=True, kw_only=True):
    """OpenAI's job object, with the link that the seed contract adds."""

    id: str
    object: str = "video"
    model: str
    status: Status
    progress: int
    prompt: str
    seconds: str
    size: str
    quality: str = "standard"
    created_at: int
    completed_at: int | UnsetType = UNSET
    expires_at: int | UnsetType = UNSET
    video_url: str | UnsetType = UNSET
    error: _Fault | UnsetType = UNSET
    remixed_from_video_id: None = None


class _List(msgspec.Struct, frozen=True, kw_only=True):
    object: str = "list"
    data: Sequence[_Job]
    first_id: str | None
    last_id: str | None
    has_more: bool


def encode_job(shown: FilmShown) -> bytes:
    """Return a job as OpenAI tells it; `seconds` is a text there."""
    return encode(_job(shown))


def encode_jobs(shown: Sequence[FilmShown], *, has_more: bool) -> bytes:
    """Return a page of jobs."""
    page = [_job(one) for one in shown]
    first, last = (page[0].id, page[-1].id) if page else (None, None)
    return encode(_List(data=page, first_id=first, last_id=last, has_more=has_more))


def encode_deleted(job_id: str) -> bytes:
    """Return that a job is gone."""
    return encode({"id": job_id, "object": "video.deleted", "deleted": True})


def _job(shown: FilmShown) -> _Job:
    return _Job(
        id=shown.id,
        model=shown.model,
        status=shown.status,
        progress=shown.progress,
        prompt=shown.prompt,
        seconds=str(shown.seconds),
        size=shown.size or "auto",
        created_at=shown.created_s,
        completed_at=UNSET if shown.completed_s is None else shown.completed_s,
        expires_at=UNSET if shown.expires_s is None else shown.expires_s,
        video_url=shown.url or UNSET,
        error=_Fault(shown.error_code, shown.error) if shown.error else UNSET,
    )


def encode_receipt(job_id: str) -> bytes:
    """Return what xAI answers to a request for a film."""
    return encode({"request_id": job_id})


def encode_state(shown: FilmShown) -> tuple[int, bytes]:
    """Return the HTTP status and the body in which xAI tells how far a film is."""
    state: dict[str, Any] = {
        "status": {"completed": "done", "failed": "failed"}.get(shown.status, "pending"),
        "progress": shown.progress,
        "model": shown.model,
    }
    if shown.status == "completed":
        state["video"] = {
            "url": shown.url,
            "duration": shown.seconds,
            "respect_moderation": True,
        }
        if shown.cost_ticks is not None:
            state["usage"] = {"cost_in_usd_ticks": shown.cost_ticks}
    if shown.status == "failed":
        # The codes that it has (xAI's OpenAPI document, 2026-08).
        is_refused = shown.error_code == ErrorKind.REFUSED.value
        code = "permission_denied" if is_refused else "internal_error"
        state["error"] = {"code": code, "message": shown.error}
    return (202 if state["status"] == "pending" else 200), encode(state)

"""Films in OpenAI's form: a job is begun with POST /videos, asked for, fetched and deleted.

In: a `VideoRequest`, an id, or the body of a good reply. Out: a `MediaCall`, an id, or a
`FilmState`. Replies are read in xAI's and OpenRouter's forms too: their words do not contradict
each other. Must not fetch a film.
"""

import math
import re

import msgspec

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.media import FilmState, FilmStatus, MediaCall, VideoRequest
from groxy.core.sizes import film_size_for, read_film_size
from groxy.dialects._base import UsageRules
from groxy.upstreams._errors import is_refusal
from groxy.upstreams._files import path_of_file
from groxy.upstreams._multipart import file_of, write_form
from groxy.upstreams._pictures import bill_in, fault_in
from groxy.wire.json import UNREADABLE

VIDEOS_PATH = "/videos"
_PENDING = frozenset({"queued", "pending", "in_progress", "processing", "running", "not_start"})
_DONE = frozenset({"completed", "done", "succeeded", "success"})
_REFUSED_CODES = frozenset(
    {"content_policy_violation", "moderation_blocked", "content_moderated", "refusal"}
)
_ID = re.compile(r"[\x21-\x7e]{1,500}", re.ASCII)
_FAILED = "The upstream could not make the film and did not say why."
_EXPIRED = "The upstream gave the film up before it was done. Ask for it again."
_CANCELLED = "The film was cancelled at the upstream."
_MODERATED = "The film was held back by the model's usage policy."
_EMPTY = "The upstream says that the film is done, but not where it is."
_NOTHING = msgspec.Raw(b"")
_Number = int | float | str | None


class _Film(msgspec.Struct):
    url: str | None = None
    duration: _Number = None
    respect_moderation: bool | None = None


class _Job(msgspec.Struct):
    id: str | None = None
    request_id: str | None = None
    status: str | None = None
    progress: _Number = None
    video: _Film | None = None
    url: str | None = None
    video_url: str | None = None
    unsigned_urls: list[str] | None = None
    seconds: _Number = None
    error: msgspec.Raw = _NOTHING
    usage: msgspec.Raw = _NOTHING


class _Code(msgspec.Struct):
    code: str = ""


_job_decoder = msgspec.json.Decoder(_Job)
_code_decoder = msgspec.json.Decoder(_Code)


def video_call(request: VideoRequest, model_sent: str) -> MediaCall:
    """Return the request that begins a film, as a form: older servers take no JSON here.

    Raises UNSUPPORTED for more than one reference, which the form has no place for.
    """
    if len(request.images) > 1:
        message = "This upstream takes one reference for a film. Send a single `input_reference`."
        raise GroxyError(ErrorKind.UNSUPPORTED, message, param="input_reference")
    size = film_size_for(request.aspect_ratio, request.resolution)
    fields = {
        "model": model_sent,
        "prompt": request.prompt,
        "seconds": str(request.duration_s),
        "size": size,
    }
    files = [file_of("input_reference", "reference", uri) for uri in request.images]
    form, content_type = write_form([each for each in fields.items() if each[1]], files)
    return MediaCall(
        path=VIDEOS_PATH,
        body=form,
        content_type=content_type,
        adjusted=(*preset_dropped(request), *_size_words(request, size)),
    )


def preset_dropped(request: VideoRequest) -> tuple[str, ...]:
    """Return the word for a preset that is left out; `normal` and `custom` change nothing."""
    return ("preset dropped",) if request.preset in ("fun", "spicy") else ()


def state_call(upstream_id: str) -> MediaCall:
    """Return the request for how far a film is; raise NOT_FOUND for what can be no id."""
    path = path_of_file(VIDEOS_PATH, upstream_id)
    return MediaCall(path=path, method="GET", content_type="")


def cancel_call(upstream_id: str) -> MediaCall:
    """Return the request that deletes a film; raise NOT_FOUND for what can be no id."""
    path = path_of_file(VIDEOS_PATH, upstream_id)
    return MediaCall(path=path, method="DELETE", content_type="")


def read_video_id(body: bytes) -> str | None:
    """Return the id of a film that was begun; None where there is none."""
    try:
        job = _job_decoder.decode(body)
    except UNREADABLE:
        return None
    found = job.request_id or job.id or ""
    return found if _ID.fullmatch(found) and found.strip(".") else None


def read_film(body: bytes, rules: UsageRules) -> FilmState | None:
    """Return how far a film is; None for a body that tells nothing of one."""
    try:
        job = _job_decoder.decode(body)
    except UNREADABLE:
        return None
    status = (job.status or "").lower()
    if not status:
        # xAI's first replies had no status once the film was there (docs.x.ai, 2026-01).
        status = "done" if job.video and job.video.url else ""
    if status in _PENDING:
        return FilmState(status=FilmStatus.PENDING, progress=_percent(job.progress))
    if status in _DONE:
        return _done(job, rules)
    return _failed(job, status) if status else None


def _done(job: _Job, rules: UsageRules) -> FilmState:
    film = job.video or _Film()
    cost_ticks = bill_in(job.usage, rules)
    if film.respect_moderation is False:
        error, is_refused = _MODERATED, True
    else:
        error, is_refused = "", False
        url = film.url or job.url or job.video_url or next(iter(job.unsigned_urls or ()), "")
        url = url or _content_path(job.id or "")
        if url:
            return FilmState(
                status=FilmStatus.DONE,
                progress=100,
                url=url,
                duration_s=_seconds(film.duration if job.seconds is None else job.seconds),
                cost_ticks=cost_ticks,
            )
    return FilmState(
        status=FilmStatus.FAILED,
        error=error or _EMPTY,
        is_refused=is_refused,
        cost_ticks=cost_ticks,
    )


def _failed(job: _Job, status: str) -> FilmState:
    usual = {"expired": _EXPIRED, "cancelled": _CANCELLED, "canceled": _CANCELLED}
    said = fault_in(job.error)
    is_moderated = job.video is not None and job.video.respect_moderation is False
    return FilmState(
        status=FilmStatus.FAILED,
        progress=min(_percent(job.progress), 99),
        error=said or usual.get(status, _FAILED),
        is_refused=is_moderated or _code_in(job.error) in _REFUSED_CODES or is_refusal(said),
    )


def _code_in(raw: msgspec.Raw) -> str:
    try:
        return _code_decoder.decode(raw).code
    except UNREADABLE:
        return ""


def _content_path(film_id: str) -> str:
    if not _ID.fullmatch(film_id) or not film_id.strip("."):
        return ""
    return f"{path_of_file(VIDEOS_PATH, film_id)}/content"


def _size_words(request: VideoRequest, size: str) -> tuple[str, ...]:
    if not size:
        return ()
    ratio, resolution = read_film_size(size)
    asked = request.aspect_ratio not in ("", "auto")
    is_exact = (not asked or ratio == request.aspect_ratio) and request.resolution in (
        "",
        resolution,
    )
    return () if is_exact else (f"aspect_ratio sent as size {size}",)


def _percent(value: _Number) -> int:
    return int(min(max(_number(value), 0.0), 100.0))


def _seconds(value: _Number) -> float:
    return min(max(_number(value), 0.0), 36_000.0)


def _number(value: _Number) -> float:
    """Return a number that may come as a text; 0 for what is none."""
    try:
        number = float(value or 0)
    except (ValueError, OverflowError):
        return 0.0
    return number if math.isfinite(number) else 0.0

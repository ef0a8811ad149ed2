"""Pictures and films in xAI's form, also where another passes its API on.

In: an `ImageRequest` or a `VideoRequest`. Out: a `MediaCall`. Facts: xAI's OpenAPI document,
2026-08, and docs.x.ai/developers/model-capabilities (images and video), 2026. Replies are near
enough to OpenAI's to be read in `_pictures` and `_videos`.
"""

from typing import Any

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.media import ImageRequest, MediaCall, VideoRequest
from groxy.upstreams._pictures import EDIT_PATH, MAKE_PATH
from groxy.upstreams._videos import VIDEOS_PATH, preset_dropped
from groxy.wire.json import encode

XAI_MEDIA_HOSTS = ("imgen.x.ai", "vidgen.x.ai")
"""Where results lie for a few minutes (LiteLLM and withone.ai's copies of docs.x.ai, 2026)."""
BEGIN_PATH = f"{VIDEOS_PATH}/generations"
EXTEND_PATH = f"{VIDEOS_PATH}/extensions"
LONGEST_S = 15
"""`duration` is 1 to 15."""


def xai_image_call(request: ImageRequest, model_sent: str) -> MediaCall:
    """Return a request for pictures; raise UNSUPPORTED for a mask, which xAI has none of.

    Pictures are asked for inline: the host of the URLs refuses clients that are no browsers, and
    forgets within minutes.
    """
    if request.mask:
        message = "xAI edits whole pictures. Leave `mask` out and say in the prompt what to change."
        raise GroxyError(ErrorKind.UNSUPPORTED, message, param="mask")
    body: dict[str, Any] = {
        "model": model_sent,
        "prompt": request.prompt,
        "n": request.count,
        "response_format": "b64_json",
    }
    tuning = {
        "aspect_ratio": request.aspect_ratio,
        "resolution": request.resolution,
        # Chooses the price of grok-imagine-image-2.0; the other models pass over it.
        "quality": request.quality,
        "user": request.user,
    }
    adjusted: tuple[str, ...] = ()
    if len(request.images) == 1:
        body["image"] = {"url": request.images[0]}
        # An edit of one picture keeps its shape.
        if tuning.pop("aspect_ratio") not in ("", "auto"):
            adjusted = ("aspect_ratio dropped",)
    elif request.images:
        body["images"] = [{"url": uri} for uri in request.images]
    body |= {name: value for name, value in tuning.items() if value}
    path = EDIT_PATH if request.is_edit else MAKE_PATH
    return MediaCall(path=path, body=encode(body), adjusted=adjusted)


def xai_video_call(request: VideoRequest, model_sent: str, longest_s: int = LONGEST_S) -> MediaCall:
    """Return the request that begins a film; raise UNSUPPORTED for one that is too long.

    One picture becomes the first frame; several are references, because there is but one first
    frame.
    """
    if not 1 <= request.duration_s <= longest_s:
        message = f"xAI makes films of 1 to {longest_s} seconds. Ask for `seconds` within that."
        raise GroxyError(ErrorKind.UNSUPPORTED, message, param="seconds")
    body: dict[str, Any] = {
        "model": model_sent,
        "prompt": request.prompt,
        "duration": request.duration_s,
    }
    tuning = {
        "aspect_ratio": "" if request.aspect_ratio == "auto" else request.aspect_ratio,
        "resolution": request.resolution,
        "user": request.user,
    }
    if len(request.images) == 1:
        body["image"] = {"url": request.images[0]}
    elif request.images:
        body["reference_images"] = [{"url": uri} for uri in request.images]
    body |= {name: value for name, value in tuning.items() if value}
    return MediaCall(path=BEGIN_PATH, body=encode(body), adjusted=preset_dropped(request))


def xai_extension_call(request: VideoRequest, url: str, model_sent: str) -> MediaCall:
    """Return the request that adds `request.duration_s` (2 to 10) to the film at `url`.

    The result is one film. Shape and resolution are those of the film that is there
    (docs.x.ai/developers/model-capabilities/video/extension, 2026).
    """
    body: dict[str, Any] = {
        "model": model_sent,
        "prompt": request.prompt,
        "video": {"url": url},
        "duration": request.duration_s,
    }
    return MediaCall(path=EXTEND_PATH, body=encode(body))

"""Pictures and films in OpenRouter's form: POST /images and POST /videos, both JSON.

In: an `ImageRequest` or a `VideoRequest`. Out: a `MediaCall`. Facts: OpenRouterTeam/docs,
guides/overview/multimodal/{image,video}-generation.mdx, 2026-08. Replies are near enough to
OpenAI's to be read in `_pictures` and `_videos`.
"""

from typing import Any

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.media import ImageRequest, MediaCall, VideoRequest
from groxy.upstreams._videos import VIDEOS_PATH, preset_dropped
from groxy.wire.json import encode

_IMAGES_PATH = "/images"


def openrouter_image_call(request: ImageRequest, model_sent: str) -> MediaCall:
    """Return a request for pictures, with references for an edit; raise UNSUPPORTED for a mask."""
    if request.mask:
        message = "OpenRouter takes no mask. Leave `mask` out and say in the prompt what to change."
        raise GroxyError(ErrorKind.UNSUPPORTED, message, param="mask")
    body: dict[str, Any] = {"model": model_sent, "prompt": request.prompt}
    if request.count > 1:
        body["n"] = request.count  # Not every provider takes it, and one is the default.
    tuning = {
        "aspect_ratio": request.aspect_ratio,
        "resolution": request.resolution.upper(),
        "quality": request.quality,
        "input_references": [_reference(uri) for uri in request.images],
    }
    body |= {name: value for name, value in tuning.items() if value}
    return MediaCall(path=_IMAGES_PATH, body=encode(body))


def openrouter_video_call(request: VideoRequest, model_sent: str) -> MediaCall:
    """Return the request that begins a film; one picture is its first frame, several guide it."""
    frames = [_reference(uri) for uri in request.images]
    tuning = {
        "aspect_ratio": "" if request.aspect_ratio == "auto" else request.aspect_ratio,
        "resolution": request.resolution,
        "frame_images": [one | {"frame_type": "first_frame"} for one in frames[:1]],
        "input_references": frames,
    }
    del tuning["frame_images" if len(frames) > 1 else "input_references"]
    body: dict[str, Any] = {
        "model": model_sent,
        "prompt": request.prompt,
        "duration": request.duration_s,
    }
    body |= {name: value for name, value in tuning.items() if value}
    return MediaCall(path=VIDEOS_PATH, body=encode(body), adjusted=preset_dropped(request))


def _reference(uri: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": uri}}

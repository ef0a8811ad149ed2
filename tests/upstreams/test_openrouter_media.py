"""Pictures and films in OpenRouter's form."""

import json

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.media import ImageRequest, VideoRequest
from groxy.upstreams._openrouter_media import openrouter_image_call, openrouter_video_call

PNG = "data:image/png;base64,iVBORw0KGgo="
LINK = {"type": "image_url", "image_url": {"url": PNG}}


def _picture(**values):
    return openrouter_image_call(ImageRequest(**({"model": "m", "prompt": "p"} | values)), "x-ai/g")


def _film(**values):
    return openrouter_video_call(VideoRequest(**({"model": "m", "prompt": "p"} | values)), "x-ai/g")


def test_pictures_have_a_path_of_their_own():
    call = _picture(count=2, aspect_ratio="16:9", resolution="2k", quality="low", images=(PNG,))
    assert (call.method, call.path) == ("POST", "/images")
    assert json.loads(call.body) == {
        "model": "x-ai/g",
        "prompt": "p",
        "n": 2,
        "aspect_ratio": "16:9",
        "resolution": "2K",
        "quality": "low",
        "input_references": [LINK],
    }
    assert json.loads(_picture().body) == {"model": "x-ai/g", "prompt": "p"}


def test_a_mask_is_refused():
    with pytest.raises(GroxyError) as caught:
        _picture(images=(PNG,), mask=PNG)
    assert (caught.value.kind, caught.value.param) == (ErrorKind.UNSUPPORTED, "mask")


def test_one_reference_of_a_film_is_its_first_frame():
    call = _film(duration_s=6, resolution="720p", images=(PNG,))
    assert (call.method, call.path) == ("POST", "/videos")
    assert json.loads(call.body) == {
        "model": "x-ai/g",
        "prompt": "p",
        "duration": 6,
        "resolution": "720p",
        "frame_images": [LINK | {"frame_type": "first_frame"}],
    }


def test_several_references_of_a_film_guide_it():
    sent = json.loads(_film(images=(PNG, PNG), aspect_ratio="16:9").body)
    assert sent["input_references"] == [LINK, LINK]
    assert "frame_images" not in sent
    assert json.loads(_film().body).keys() == {"model", "prompt", "duration"}

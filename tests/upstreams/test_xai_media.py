"""Pictures and films in xAI's form."""

import json

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.media import ImageRequest, VideoRequest
from groxy.upstreams._xai_media import xai_extension_call, xai_image_call, xai_video_call

PNG = "data:image/png;base64,iVBORw0KGgo="


def _picture(**values):
    return xai_image_call(ImageRequest(**({"model": "m", "prompt": "p"} | values)), "grok")


def _film(**values):
    return xai_video_call(VideoRequest(**({"model": "m", "prompt": "p"} | values)), "grok")


def test_pictures_are_asked_for_inline_with_shape_and_resolution():
    call = _picture(count=2, aspect_ratio="16:9", resolution="2k", quality="low", user="u")
    assert (call.method, call.path, call.adjusted) == ("POST", "/images/generations", ())
    assert json.loads(call.body) == {
        "model": "grok",
        "prompt": "p",
        "n": 2,
        "response_format": "b64_json",
        "aspect_ratio": "16:9",
        "resolution": "2k",
        "quality": "low",
        "user": "u",
    }


def test_an_edit_of_one_picture_keeps_its_shape():
    call = _picture(images=(PNG,), aspect_ratio="16:9")
    assert call.path == "/images/edits"
    assert call.content_type == "application/json"
    sent = json.loads(call.body)
    assert sent["image"] == {"url": PNG}
    assert not sent.keys() & {"images", "aspect_ratio"}
    assert call.adjusted == ("aspect_ratio dropped",)
    assert _picture(images=(PNG,)).adjusted == ()


def test_an_edit_of_several_pictures_has_a_shape():
    call = _picture(images=(PNG, PNG), aspect_ratio="16:9")
    sent = json.loads(call.body)
    assert sent["images"] == [{"url": PNG}, {"url": PNG}]
    assert sent["aspect_ratio"] == "16:9"
    assert "image" not in sent
    assert call.adjusted == ()


def test_a_mask_is_refused():
    with pytest.raises(GroxyError) as caught:
        _picture(images=(PNG,), mask=PNG)
    assert (caught.value.kind, caught.value.param) == (ErrorKind.UNSUPPORTED, "mask")


def test_a_film_has_a_duration_and_a_first_frame():
    call = _film(
        duration_s=15, aspect_ratio="9:16", resolution="1080p", images=(PNG,), preset="fun"
    )
    assert (call.method, call.path) == ("POST", "/videos/generations")
    assert json.loads(call.body) == {
        "model": "grok",
        "prompt": "p",
        "duration": 15,
        "aspect_ratio": "9:16",
        "resolution": "1080p",
        "image": {"url": PNG},
    }
    assert call.adjusted == ("preset dropped",)


def test_several_references_of_a_film_guide_it():
    sent = json.loads(_film(images=(PNG, PNG), aspect_ratio="auto").body)
    assert sent["reference_images"] == [{"url": PNG}, {"url": PNG}]
    assert not sent.keys() & {"image", "aspect_ratio"}


@pytest.mark.parametrize("seconds", [0, 16, 20])
def test_a_film_of_another_length_is_for_another_upstream(seconds):
    with pytest.raises(GroxyError) as caught:
        _film(duration_s=seconds)
    assert (caught.value.kind, caught.value.param) == (ErrorKind.UNSUPPORTED, "seconds")


def test_a_film_is_made_longer_by_its_address():
    request = VideoRequest(model="m", prompt="on it goes", duration_s=6, aspect_ratio="1:1")
    call = xai_extension_call(request, "https://vidgen.x.ai/a.mp4", "grok-imagine-video")
    assert call.path == "/videos/extensions"
    assert json.loads(call.body) == {
        "model": "grok-imagine-video",
        "prompt": "on it goes",
        "video": {"url": "https://vidgen.x.ai/a.mp4"},
        "duration": 6,
    }

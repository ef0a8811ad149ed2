"""What a conversation asks of a model that makes pictures or film."""

import json

import pytest

from groxy.api.media_wishes import image_wish, param_of, video_wish
from groxy.core.errors import ErrorKind, GroxyError
from groxy.dialects.chat import DIALECT as CHAT
from groxy.dialects.responses import DIALECT as RESPONSES

URI = "data:image/png;base64,AAAA"
LINK = "http://a/v1/files/image?id=" + "0" * 32


def user(content):
    return {"role": "user", "content": content}


def pictured(text, *urls):
    images = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return user([{"type": "text", "text": text}, *images])


def asked(*messages, **fields):
    body = {"model": "grok-imagine-image", "messages": messages or [user("a cat")]}
    return CHAT.decode_request(json.dumps(body | fields).encode())


def wish(*messages, is_edit=False, **fields):
    request = asked(*messages, **fields)
    return image_wish(request, CHAT.canonical(request), param="messages", is_edit=is_edit)


def film(*messages, **fields):
    request = asked(*messages, **fields)
    return video_wish(request, CHAT.canonical(request), param="messages")


def error_of(ask, *messages, **fields):
    with pytest.raises(GroxyError) as caught:
        ask(*messages, **fields)
    return caught.value


def test_the_last_message_of_the_user_is_the_prompt():
    found = wish(
        {"role": "system", "content": "Be brief."},
        user("a dog"),
        {"role": "assistant", "content": "Here."},
        user("a cat"),
    )
    assert found.request.prompt == "a cat"
    assert (found.request.count, found.request.images, found.form) == (1, (), "")


def test_parts_are_put_together_and_pictures_are_references():
    found = wish(user("older"), pictured("make it", URI, LINK))
    assert found.request.prompt == "make it"
    assert found.request.images == (URI, LINK)


def test_the_config_says_how_pictures_are_to_be():
    config = {"n": 3, "size": "1792x1024", "quality": "low", "response_format": "b64_json"}
    found = wish(image_config=config)
    request = found.request
    assert (request.count, request.aspect_ratio, request.quality) == (3, "16:9", "low")
    assert found.form == "base64"


def test_the_words_of_openrouter_are_understood():
    request = wish(image_config={"aspect_ratio": "2:3", "image_size": "2K"}).request
    assert (request.aspect_ratio, request.resolution) == ("2:3", "2k")


@pytest.mark.parametrize("config", [None, {}])
def test_a_config_of_nothing_is_none(config):
    assert wish(image_config=config).request.count == 1


@pytest.mark.parametrize(
    ("config", "param"),
    [
        ({"n": 0}, "image_config.n"),
        ({"n": 11}, "image_config.n"),
        ({"n": "1"}, "image_config.n"),
        ({"size": "5x5"}, "image_config.size"),
        ({"aspect_ratio": "x"}, "image_config.aspect_ratio"),
        ({"resolution": "9k"}, "image_config.resolution"),
        ({"quality": "best"}, "image_config.quality"),
        ({"response_format": "tiff"}, "image_config.response_format"),
        ("large", "image_config"),
    ],
)
def test_a_wrong_config_is_named(config, param):
    error = error_of(wish, image_config=config)
    assert (error.kind, error.param) == (ErrorKind.BAD_REQUEST, param)
    assert "`$" not in error.message


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "system", "content": "x"}],
        [user("")],
        [user(" \n ")],
        [user([{"type": "image_url", "image_url": {"url": URI}}])],
        [pictured("many", *[URI] * 17)],
    ],
)
def test_a_conversation_without_a_prompt_is_refused(messages):
    error = error_of(wish, *messages)
    assert (error.kind, error.param) == (ErrorKind.BAD_REQUEST, "messages")


def test_a_model_that_changes_pictures_takes_the_newest_of_the_conversation():
    shown = {"role": "assistant", "content": f"Here:\n\n![image]({LINK})\n\n![image]({URI})"}
    found = wish(pictured("start", URI), shown, user("bluer"), is_edit=True)
    assert found.request.images == (LINK, URI)
    older = wish(pictured("start", URI), user("bluer"), is_edit=True)
    assert older.request.images == (URI,)


def test_a_model_that_makes_pictures_begins_anew():
    shown = {"role": "assistant", "content": f"![image]({LINK})"}
    assert wish(user("a dog"), shown, user("a cat")).request.images == ()


def test_a_model_that_changes_pictures_needs_one():
    assert error_of(wish, user("bluer"), is_edit=True).param == "messages"


def test_links_in_text_of_the_user_are_not_pictures():
    assert error_of(wish, user(f"see ![image]({LINK})"), is_edit=True).param == "messages"


def test_a_film_is_as_its_config_says():
    config = {"seconds": "10", "size": "1792x1024", "resolution_name": "480p", "preset": "fun"}
    found = film(pictured("a cat runs", URI), video_config=config)
    assert (found.prompt, found.duration_s, found.preset) == ("a cat runs", 10, "fun")
    assert (found.aspect_ratio, found.resolution, found.images) == ("16:9", "480p", (URI,))
    plain = film()
    assert (plain.duration_s, plain.aspect_ratio, plain.resolution) == (6, "", "")


@pytest.mark.parametrize(
    ("config", "param"),
    [
        ({"seconds": 0}, "video_config.seconds"),
        ({"seconds": "soon"}, "video_config.seconds"),
        ({"seconds": [6]}, "video_config.seconds"),
        ({"size": "5x5"}, "video_config.size"),
        ({"aspect_ratio": "x"}, "video_config.aspect_ratio"),
        ({"resolution_name": "9k"}, "video_config.resolution_name"),
        ({"preset": "grim"}, "video_config.preset"),
    ],
)
def test_a_wrong_config_of_a_film_is_named(config, param):
    assert error_of(film, video_config=config).param == param


def test_responses_says_the_same_in_its_own_words():
    content = [
        {"type": "input_text", "text": "make it blue"},
        {"type": "input_image", "image_url": URI},
    ]
    body = {"model": "m", "input": [{"role": "user", "content": content}], "image_config": {"n": 2}}
    request = RESPONSES.decode_request(json.dumps(body).encode())
    found = image_wish(request, RESPONSES.canonical(request), param="input", is_edit=True)
    assert (found.request.prompt, found.request.count) == ("make it blue", 2)
    assert found.request.images == (URI,)


def test_a_conversation_is_called_by_its_dialect():
    assert (param_of("responses"), param_of("chat")) == ("input", "messages")

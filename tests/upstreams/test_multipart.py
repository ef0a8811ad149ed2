"""Forms with files."""

from base64 import b64encode

import pytest
from hypothesis import given, strategies as st
from python_multipart import parse_form

from groxy.core.errors import ErrorKind, GroxyError
from groxy.upstreams._multipart import FormFile, file_of, read_data_uri, write_form


def _text(raw: bytes | None) -> str:
    return (raw or b"").decode()


def _uri(content, content_type="image/png"):
    return f"data:{content_type};base64,{b64encode(content).decode()}"


def _parsed(body, content_type):
    from io import BytesIO

    fields, files = [], []
    headers = {"Content-Type": content_type.encode()}

    def on_file(part):
        part.file_object.seek(0)
        files.append(
            (
                (part.field_name or b"").decode(),
                (part.file_name or b"").decode(),
                part.file_object.read(),
            )
        )
        part.close()

    parse_form(
        headers,
        BytesIO(body),
        lambda part: fields.append(
            ((part.field_name or b"").decode(), (part.value or b"").decode())
        ),
        on_file,
    )
    return fields, files


@given(
    st.text(st.characters(codec="utf-8"), max_size=200),
    st.lists(st.binary(max_size=300), max_size=3),
)
def test_a_form_is_read_as_it_was_written(text, contents):
    files = [
        FormFile(field="image[]", name=f"{at}.png", content_type="image/png", content=content)
        for at, content in enumerate(contents)
    ]
    form = write_form([("prompt", text), ("n", "2")], files)
    fields, found = _parsed(*form)
    assert fields == [("prompt", text), ("n", "2")]
    assert found == [("image[]", f"{at}.png", content) for at, content in enumerate(contents)]


def test_no_two_forms_have_the_same_boundary():
    assert write_form([], [])[1] != write_form([], [])[1]


@pytest.mark.parametrize(
    ("content_type", "name"),
    [("image/png", "a.png"), ("image/jpeg", "a.jpg"), ("image/webp", "a.webp"), ("x/y", "a.bin")],
)
def test_a_file_has_a_name_that_fits_its_type(content_type, name):
    file = file_of("image", "a", _uri(b"abc", content_type))
    assert (file.field, file.name, file.content_type) == ("image", name, content_type)
    assert file.content == b"abc"


def test_parameters_of_a_type_are_left_out():
    assert read_data_uri("data:Image/PNG;charset=x;base64,YWJj", "image") == ("image/png", b"abc")


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "data:",
        "data:image/png,abc",
        "data:image/png;base64",
        "data:image/png;base64,%%%",
        "data:image/png;base64,abc",
        "https://example.com/a.png",
        "data:;base64,YWJj",
        "data:image/png\r\nX: y;base64,YWJj",
    ],
)
def test_what_is_no_data_uri_is_refused_by_the_name_of_its_field(uri):
    with pytest.raises(GroxyError) as caught:
        file_of("image", "a", uri)
    assert caught.value.kind is ErrorKind.BAD_REQUEST
    assert caught.value.param == "image"

"""The files of an account: pages of OpenAI's and xAI's form, and what is none."""

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.upstreams._files import (
    FileList,
    RemoteFile,
    list_query,
    path_of_file,
    read_file_list,
    read_token_list,
    token_query,
)
from groxy.wire.json import encode


def page(count=1, **fields):
    files = [
        {"id": f"file_{number}", "object": "file", "bytes": 5, "created_at": 1_790_000_000,
         "expires_at": None, "filename": "a.txt", "purpose": ""}
        for number in range(count)
    ]  # fmt: skip
    return encode({"data": files, **fields})


def test_a_file_has_its_name_size_and_time():
    assert read_token_list(page(pagination_token="t")) == FileList(
        files=(RemoteFile(id="file_0", name="a.txt", size_bytes=5, created_at=1_790_000_000.0),)
    )


@pytest.mark.parametrize("name", ["content_type", "mime_type"])
def test_the_type_is_read_where_it_is_told(name):
    (file,) = read_file_list(encode({"data": [{"id": "f", name: "text/plain"}]})).files
    assert file == RemoteFile(id="f", content_type="text/plain")


@pytest.mark.parametrize(
    ("told", "size_bytes"),
    [(5, 5), ("5", 5), (5.0, 5), (None, 0), ("", 0), ("many", 0), (-5, 0), (1e300, 0), ("nan", 0),
     ("inf", 0), (10**400, 0)],
)  # fmt: skip
def test_a_size_that_makes_no_sense_is_none(told, size_bytes):
    body = b'{"data":[{"id":"f","bytes":' + encode(str(told) if told == 10**400 else told) + b"}]}"
    assert read_file_list(body).files[0].size_bytes == size_bytes


def test_xai_goes_on_while_pages_are_full():
    assert read_token_list(page(100, pagination_token="t")).next == "t"
    assert read_token_list(page(99, pagination_token="t")).next == ""
    assert read_token_list(page(100)).next == ""
    assert read_token_list(page(0, pagination_token="t")) == FileList()


def test_openai_goes_on_while_it_says_so():
    assert read_file_list(page(2, has_more=True, last_id="file_9")).next == "file_9"
    assert read_file_list(page(2, has_more=True)).next == "file_1"
    assert read_file_list(page(100, has_more=False, last_id="file_9")).next == ""
    assert read_file_list(page(0, has_more=True)).next == ""


def test_a_cursor_is_encoded():
    assert list_query("") == token_query("") == "?limit=100"
    assert list_query("a&b=/c") == "?limit=100&after=a%26b%3D%2Fc"
    assert token_query("a+b") == "?limit=100&pagination_token=a%2Bb"


@pytest.mark.parametrize("read", [read_file_list, read_token_list])
@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"[]", b"null", b'{"data":null}', b'{"data":[1]}', b'{"data":[{}]}', b"<html>",
     b'{"data":[{"id":null}]}', b"\xff", b"[" * 200_000, b'{"data":[{"id":"f","filename":7}]}'],
)  # fmt: skip
def test_what_is_no_list_is_a_bad_reply(read, body):
    with pytest.raises(GroxyError) as raised:
        read(body)
    assert raised.value.kind is ErrorKind.BAD_REPLY


def test_an_id_is_one_segment_of_the_path():
    assert path_of_file("/files", "file_1") == "/files/file_1"
    assert path_of_file("/files", "a/../b?c#d%e é") == "/files/a%2F..%2Fb%3Fc%23d%25e%20%C3%A9"


@pytest.mark.parametrize("file_id", ["", ".", "..", "..."])
def test_an_id_that_would_leave_the_folder_is_no_file(file_id):
    with pytest.raises(GroxyError) as raised:
        path_of_file("/files", file_id)
    assert raised.value.kind is ErrorKind.NOT_FOUND

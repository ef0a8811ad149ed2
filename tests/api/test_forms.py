"""Forms are read in any portions, and no further than their bounds."""

import tracemalloc

import pytest

from groxy.api.forms import is_form, read_form
from groxy.core.errors import ErrorKind, GroxyError

BOUNDARY = "groxy-test"
BOUNDS = {"max_files": 2, "max_file_bytes": 1000, "max_fields": 3, "max_total_bytes": 10_000}
KIB, MIB = 1024, 1024 * 1024


def part(name, content, filename=None, more=""):
    """One part of a form."""
    disposition = f'form-data; name="{name}"'
    if filename is not None:
        disposition += f'; filename="{filename}"'
    head = f"--{BOUNDARY}\r\nContent-Disposition: {disposition}\r\n{more}\r\n"
    return head.encode() + content + b"\r\n"


END = f"--{BOUNDARY}--\r\n".encode()


def scope_of(**headers):
    given = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"} | headers
    return {"headers": [(name.encode(), value.encode()) for name, value in given.items()]}


async def read(*pieces, scope=None, **bounds):
    """Read a form that comes in these pieces; return it and how many were taken."""
    left = list(pieces)

    async def receive():
        body = left.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(left)}

    return await read_form(scope or scope_of(), receive, **(BOUNDS | bounds))


async def error_of(*pieces, **more):
    with pytest.raises(GroxyError) as caught:
        await read(*pieces, **more)
    return caught.value


async def test_fields_and_files_are_told_apart():
    body = part("prompt", "Grüße".encode()) + part("image", b"\x89PNG\r\n", "a.png") + END
    form = await read(body)
    assert form.value("prompt") == "Grüße"
    assert form.value("nothing") is None
    (file,) = form.files
    assert (file.field, file.name, file.content) == ("image", "a.png", b"\x89PNG\r\n")


async def test_what_is_repeated_keeps_its_order():
    body = part("image[]", b"1", "a") + part("n", b"1") + part("n", b"2")
    form = await read(body + part("image", b"2", "b") + END)
    assert form.fields == {"n": ["1", "2"]}
    assert form.value("n") == "2"
    assert [one.content for one in form.files_of("image", "image[]")] == [b"1", b"2"]
    assert form.files_of("mask") == []


async def test_portions_do_not_matter():
    body = part("a", b"--groxy-tes\r\n--groxy") + part("f", b"\r\n--\r\n", "x") + END
    whole = await read(body)
    for size in (1, 2, 3, 7, 64):
        pieces = [body[at : at + size] for at in range(0, len(body), size)]
        assert await read(*pieces) == whole
    assert whole.value("a") == "--groxy-tes\r\n--groxy"


async def test_a_file_of_no_bytes_is_a_file():
    form = await read(part("image", b"", "a.png") + END)
    assert form.files[0].content == b""


@pytest.mark.parametrize(
    ("scope", "body"),
    [
        (scope_of(**{"content-type": "multipart/form-data"}), b"x"),
        (scope_of(**{"content-type": f"multipart/form-data; boundary={'b' * 400}"}), b"x"),
        (None, b""),
        (None, b"nonsense"),
        (None, part("a", b"1")),
        (None, part("a", b"1") + END[:-5]),
        (None, f"--{BOUNDARY}\r\n\r\nx\r\n".encode() + END),
        (None, f"--{BOUNDARY}\r\nContent-Disposition: form-data\r\n\r\nx\r\n".encode() + END),
        (None, f"--{BOUNDARY}\r\nno header at all\r\n\r\nx\r\n".encode() + END),
        (None, part("a", b"1", more="X-Long: " + "y" * 9000 + "\r\n")),
        (None, part("a", b"1", more="X-Long: y\r\n" * 3000)),
    ],
)
async def test_what_is_no_form_is_refused(scope, body):
    error = await error_of(body, scope=scope, max_total_bytes=MIB)
    assert (error.kind, error.param) == (ErrorKind.BAD_REQUEST, None)
    assert "form" in error.message


async def test_text_that_is_none_names_its_field():
    error = await error_of(part("prompt", b"\xff\xfe") + END)
    assert (error.kind, error.param) == (ErrorKind.BAD_REQUEST, "prompt")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (part("image[]", b"x", "a") * 3, "image"),
        (part("n", b"1") * 4, "n"),
    ],
)
async def test_too_many_parts_are_refused(body, param):
    error = await error_of(body + END)
    assert (error.kind, error.param) == (ErrorKind.BAD_REQUEST, param)


async def test_a_file_that_is_too_large_names_its_field():
    error = await error_of(part("image[]", b"x" * 1001, "a.png") + END)
    assert (error.kind, error.param) == (ErrorKind.TOO_LARGE, "image")


async def test_a_field_that_is_too_large_names_itself():
    error = await error_of(part("prompt", b"x" * (MIB + 1)) + END, max_total_bytes=2 * MIB)
    assert (error.kind, error.param) == (ErrorKind.TOO_LARGE, "prompt")


async def test_a_form_that_says_it_is_too_large_is_not_read():
    error = await error_of(scope=scope_of(**{"content-length": "10001"}))
    assert error.kind is ErrorKind.TOO_LARGE


async def test_a_packed_form_is_refused():
    error = await error_of(scope=scope_of(**{"content-encoding": "gzip"}))
    assert error.param == "content-encoding"


async def test_a_client_that_leaves_is_no_form():
    async def receive():
        return {"type": "http.disconnect"}

    with pytest.raises(GroxyError) as caught:
        await read_form(scope_of(), receive, **BOUNDS)
    assert caught.value.kind is ErrorKind.CANCELLED


HOSTILE = {
    "10^5 parts": lambda: part("n", b"") * 100_000,
    "10^5 files": lambda: part("image", b"", "a") * 100_000,
    "60 MB in one file": lambda: part("image", b"x" * 60 * MIB, "a.png") + END,
    "a header without an end": lambda: part("n", b"")[:-4] + b"x" * 60 * MIB,
    "a boundary that never comes": lambda: b"\r\n" * 30 * MIB,
    "nearly boundaries": lambda: part("f", b"", "a")[:-2] + b"\r\n--groxy-tes" * 5 * MIB,
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_forms_are_refused_within_bounded_memory(name):
    body = HOSTILE[name]()
    portion = 64 * KIB
    taken = 0

    async def receive():
        nonlocal taken
        piece = body[taken : taken + portion]
        taken += len(piece)
        return {"type": "http.request", "body": piece, "more_body": taken < len(body)}

    bounds = {"max_files": 17, "max_file_bytes": 4 * MIB, "max_fields": 100}
    tracemalloc.start()
    try:
        with pytest.raises(GroxyError) as caught:
            await read_form(scope_of(), receive, max_total_bytes=8 * MIB, **bounds)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert caught.value.facts.status in (400, 413)
    assert taken <= 9 * MIB
    assert peak < 12 * MIB


def test_only_multipart_is_a_form():
    assert is_form(scope_of())
    assert is_form(scope_of(**{"content-type": "Multipart/Form-Data; boundary=x"}))
    assert not is_form(scope_of(**{"content-type": "application/json"}))
    assert not is_form({"headers": []})

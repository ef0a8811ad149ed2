import msgspec
import pytest

from groxy.api.bodies import MAX_BYTES, Shape
from groxy.core.errors import ErrorKind, GroxyError


class Order(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    dish: str = "soup"
    count: int = 1


SHAPE = Shape(Order)


async def read(body, **more):
    pieces = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive():
        return pieces.pop()

    return await SHAPE.read({"headers": []}, receive, **more)


async def refusal(body):
    with pytest.raises(GroxyError) as caught:
        await read(body)
    return caught.value


async def test_a_body_of_the_shape_is_read():
    assert await read(b'{"dish": "pie", "count": 2}') == Order(dish="pie", count=2)


async def test_an_empty_body_is_taken_where_it_may_be():
    assert await read(b"", may_be_empty=True) == Order()
    assert (await refusal(b"")).kind is ErrorKind.BAD_JSON


@pytest.mark.parametrize(
    ("name", "hint"), [("dihs", "Did you mean `dish`?"), ("role", "There are: dish, count.")]
)
async def test_an_unknown_field_is_named_with_what_was_probably_meant(name, hint):
    error = await refusal(f'{{"{name}": 1}}'.encode())

    assert (error.kind, error.param) == (ErrorKind.BAD_REQUEST, name)
    assert hint in error.message


async def test_a_long_name_is_not_repeated_whole():
    error = await refusal(b'{"' + b"x" * 10_000 + b'": 1}')

    assert len(error.message) < 200


@pytest.mark.parametrize(
    "body", [b"[]", b"1", b"null", b'"x"', b"{", b'{"dish": 1}', b'{"dish": "\xff"}', b"[" * 9_999]
)
async def test_any_other_body_is_refused(body):
    assert (await refusal(body)).kind in (ErrorKind.BAD_REQUEST, ErrorKind.BAD_JSON)


async def test_of_a_field_that_is_there_twice_both_must_be_known():
    assert (await read(b'{"dish": "a", "dish": "b"}')).dish == "b"
    assert (await refusal(b'{"dish": "a", "role": 1, "role": 2}')).param == "role"


async def test_a_large_body_is_refused():
    assert (await refusal(b" " * (MAX_BYTES + 1))).kind is ErrorKind.TOO_LARGE

import asyncio
import time

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.store import passwords
from groxy.store.passwords import MAX_CHARS, fits, hash_password, is_outdated

PASSWORD = "correct horse battery"
pytestmark = pytest.mark.usefixtures("slow_passwords")


async def test_a_password_fits_its_hash_and_no_other_does():
    hashed = await hash_password(PASSWORD)

    assert await fits(PASSWORD, hashed)
    for other in (PASSWORD + " ", PASSWORD[:-1], PASSWORD.title(), "", hashed, "x" * 100_000):
        assert not await fits(other, hashed)


async def test_a_hash_is_salted_and_says_how_it_was_made():
    first, second = [await hash_password(PASSWORD) for _ in range(2)]

    assert first != second
    assert first.startswith("$argon2id$v=19$m=32768,t=3,p=1$")
    assert not is_outdated(first)


async def test_signs_that_are_composed_otherwise_are_the_same():
    hashed = await hash_password("gro\u00dfes M\u00e4dchen")

    assert await fits("gro\u00dfes Ma\u0308dchen", hashed)


@pytest.mark.parametrize("hashed", ["", "nonsense", "$argon2id$v=19$m=8,t=1,p=1$x$y", PASSWORD])
async def test_nothing_fits_what_is_no_hash(hashed):
    for password in ("", "nobody", PASSWORD, "\0"):
        assert not await fits(password, hashed)


@pytest.mark.parametrize("password", ["", "1234567", "x" * (MAX_CHARS + 1), "\ud800" * 9])
async def test_what_cannot_be_a_password_is_not_hashed(password):
    with pytest.raises(GroxyError) as caught:
        await hash_password(password, "new_password")

    assert (caught.value.kind, caught.value.param) == (ErrorKind.BAD_REQUEST, "new_password")
    assert not await fits(password, await hash_password(PASSWORD))


async def test_the_longest_and_the_oddest_passwords_fit():
    for password in ("x" * MAX_CHARS, "\0\n\t     ", "\U0001f40e" * 8):
        assert await fits(password, await hash_password(password))


async def test_hashing_stops_nobody_else(database):
    ticks = 0

    async def tick():
        nonlocal ticks
        while True:
            await asyncio.sleep(0.001)
            ticks += 1

    ticking = asyncio.ensure_future(tick())
    began = time.perf_counter()
    await asyncio.gather(*(passwords.hash_password(PASSWORD) for _ in range(3)))
    took_s = time.perf_counter() - began
    ticking.cancel()

    assert ticks > 3
    assert took_s < 10

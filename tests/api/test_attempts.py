from typing import Any

import pytest

from groxy.api.attempts import OF_ADDRESS, OF_EMAIL, OF_KEYS, claim_attempt, claim_change
from groxy.api.owners import Registry
from groxy.core.errors import ErrorKind, GroxyError
from groxy.policy.keys import Keyring
from groxy.state._redis_server import RedisServer
from groxy.state.gate_memory import MemoryGate
from groxy.state.gate_redis import RedisGate
from groxy.state.gates import Claim
from groxy.store.secrets import InstallationSecret

SECRET = InstallationSecret(b"s" * 32)


class Door:
    """What attempts come to, with a clock of its own."""

    def __init__(self, gate: Any = None):
        self.now_s = 100.0
        self.gate = MemoryGate(lambda: self.now_s) if gate is None else gate
        self.claims: list[Claim] = []
        nothing: Any = None  # nobody reads it here
        self.registry = Registry(
            keyring=Keyring(SECRET.digest),
            database=nothing,
            secret=SECRET,
            ask=self._ask,
            app_url=lambda: "",
        )

    async def _ask(self, claim):
        self.claims.append(claim)
        return await self.gate.claim(claim)

    async def attempt(self, email="ada@example.com", client=("1.2.3.4", 5), headers=()):
        await claim_attempt(self.registry, {"client": client, "headers": list(headers)}, email)


async def refused(door, **attempt):
    with pytest.raises(GroxyError) as caught:
        await door.attempt(**attempt)
    assert caught.value.kind is ErrorKind.RATE_LIMITED
    return caught.value.retry_after_s


async def test_an_address_is_tried_ten_times_a_minute_in_whatever_case_and_from_anywhere():
    door = Door()
    for number in range(OF_EMAIL):
        await door.attempt(" ADA@example.com" if number % 2 else "ada@EXAMPLE.com ", ("1.1.1.1", 1))

    wait_s = await refused(door, client=("2.2.2.2", 2))
    await door.attempt("bob@example.com")
    door.now_s += wait_s
    await door.attempt()

    assert 59 < wait_s <= 61


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("1.2.3.4", "::ffff:1.2.3.4"),
        ("2001:db8::1", "2001:db8::ffff:2"),
        ("fe80::1%eth0", "fe80::2%eth1"),
    ],
)
async def test_one_place_tries_thirty_times_a_minute(first, second):
    door = Door()
    for number in range(OF_ADDRESS):
        await door.attempt(f"user{number}@example.com", ((first, second)[number % 2], 1))

    await refused(door, email="new@example.com", client=(second, 9))
    await door.attempt("new@example.com", ("2001:db9::1", 9))


async def test_what_a_stranger_says_of_where_they_are_is_not_believed():
    door = Door()
    for number in range(OF_ADDRESS):
        said = (b"x-forwarded-for", b"9.9.9.%d" % number)
        await door.attempt(f"user{number}@example.com", headers=[said])

    await refused(door, email="new@example.com", headers=[(b"x-forwarded-for", b"8.8.8.8")])


@pytest.mark.parametrize("client", [None, ("", 0), ("/run/groxy.sock", 0)])
async def test_without_an_address_all_are_one_place(client):
    door = Door()
    for number in range(OF_ADDRESS):
        await door.attempt(f"user{number}@example.com", client)

    await refused(door, email="new@example.com", client=client)


async def test_no_address_of_anybody_is_in_the_name_of_what_is_counted():
    door = Door()
    await door.attempt("ada@example.com")

    assert "ada" not in repr(door.claims)


async def test_a_users_keys_change_so_often_a_minute_and_those_of_others_too():
    door = Door()
    for _ in range(OF_KEYS):
        await claim_change(door.registry, "usr_1")

    with pytest.raises(GroxyError) as caught:
        await claim_change(door.registry, "usr_1")
    await claim_change(door.registry, "usr_2")
    await claim_change(door.registry, "")

    assert caught.value.kind is ErrorKind.RATE_LIMITED


@pytest.mark.redis
async def test_attempts_are_counted_over_all_processes(redis):
    gates = [RedisGate(RedisServer.connect(redis.url), f"login-{name}") for name in "ab"]
    doors = [Door(gate) for gate in gates]
    for number in range(OF_EMAIL):
        await doors[number % 2].attempt("all-over@example.com", ("2001:db8:7::1", 1))

    waits = [await refused(door, email="all-over@example.com") for door in doors]
    for gate in gates:
        await gate.leave()
        await gate.close()

    assert all(0 < wait_s <= 61 for wait_s in waits)

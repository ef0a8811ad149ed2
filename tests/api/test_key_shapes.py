from dataclasses import replace

import pytest

from groxy.api.key_shapes import KeyChange, NewKey, read_expiry, read_grant, told_key
from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.grants import Caps, KeyGrant, Rates
from groxy.core.money import TICKS_PER_USD
from groxy.policy.outlays import Outlay
from groxy.store.keys import KeyRole, StoredKey
from groxy.store.spending import Spent
from groxy.wire.json import decode_any, decoder, encode

NEW, CHANGE = decoder(NewKey), decoder(KeyChange)
KEY = StoredKey(
    id="key_1",
    name="one",
    role=KeyRole.CALLER,
    digest=b"",
    hint="abcd",
    created_ms=0,
    revoked_ms=None,
)
BEFORE = KeyGrant(
    models=("grok-4",), caps=Caps(day=1, total=TICKS_PER_USD), rates=Rates(requests=3), tags=("a",)
)


def test_what_is_left_out_stays_as_it_is():
    assert read_grant(CHANGE.decode(b"{}"), BEFORE, Rates(requests=1)) == BEFORE
    emptied = read_grant(CHANGE.decode(b'{"models": [], "tags": ["b"]}'), BEFORE, Rates())
    assert emptied == KeyGrant(caps=BEFORE.caps, rates=BEFORE.rates, tags=("b",))


@pytest.mark.parametrize(
    ("body", "caps"),
    [
        (b'{"limit": 2}', Caps(day=2 * TICKS_PER_USD)),
        (b'{"limit": "2.5", "limit_reset": "weekly"}', Caps(week=5 * TICKS_PER_USD // 2)),
        (b'{"limit_reset": null}', Caps(total=1)),
        (b'{"limit": null}', Caps()),
        (b'{"limit": 0}', Caps(day=0)),
    ],
)
def test_one_limit_takes_the_place_of_all_caps(body, caps):
    assert read_grant(CHANGE.decode(body), BEFORE, Rates()).caps == caps


def test_a_reset_without_a_limit_is_no_cap():
    given = NEW.decode(b'{"name": "x", "limit": null, "limit_reset": "daily"}')

    assert read_grant(given, KeyGrant(), Rates()) == KeyGrant()


def test_rates_are_never_above_those_of_the_plan():
    plan = Rates(requests=10, tokens=100)
    less = read_grant(CHANGE.decode(b'{"rpm": 10, "concurrency": 4}'), KeyGrant(), plan)
    none = read_grant(CHANGE.decode(b'{"rpm": null, "tpm": 0}'), BEFORE, plan)

    assert less.rates == Rates(requests=10, tokens=100, concurrency=4)
    assert none.rates == Rates()
    with pytest.raises(GroxyError) as caught:
        read_grant(CHANGE.decode(b'{"tpm": 101}'), KeyGrant(), plan)
    assert (caught.value.kind, caught.value.param) == (ErrorKind.FORBIDDEN, "tpm")


def test_an_end_must_be_in_the_future():
    assert read_expiry(None, 5) is None
    assert read_expiry("1970-01-01T00:00:00.006Z", 5) == 6
    with pytest.raises(GroxyError):
        read_expiry("1970-01-01T00:00:00.005Z", 5)


def test_amounts_are_written_to_the_last_tick():
    key = replace(KEY, grant=KeyGrant(caps=Caps(month=3)), expires_ms=0, disabled_ms=1)
    outlay = Outlay(spent=Spent(month=1, total=TICKS_PER_USD + 1), left=Caps(month=2))

    body = encode(told_key(key, outlay))
    told = decode_any(body)

    assert b'"limit":0.0000000003,"limit_remaining":0.0000000002,"limit_reset":"monthly"' in body
    assert b'"usage":1.0000000001,"usage_daily":0,' in body
    assert (told["disabled"], told["label"]) == (True, "sk-grok-...abcd")
    assert (told["expires_at"], told["rpm"]) == ("1970-01-01T00:00:00.000Z", None)

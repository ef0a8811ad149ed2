import copy
import logging
import pickle

import pytest
from pydantic import BaseModel, ConfigDict

from groxy.settings.secret import Address, Secret, mask_address


class Holder(BaseModel):
    model_config = ConfigDict(strict=True)
    key: Secret | None = None
    keys: tuple[Secret, ...] = ()
    url: Address = Address("memory://")


def test_a_secret_prints_as_stars_everywhere(caplog):
    secret = Secret("sk-hidden")
    logging.getLogger("t").warning("key %s %r", secret, [secret])
    shown = f"{secret} {secret!r} {secret:>9} {[secret]} {caplog.text}"
    assert "sk-hidden" not in shown
    assert str(secret) == repr(secret) == "*****"


def test_a_secret_prints_as_stars_in_every_dump():
    holder = Holder(key=Secret("sk-a"), keys=(Secret("sk-b"),), url=Address("redis://u:sk-c@h"))
    shown = f"{holder!r} {holder} {holder.model_dump()} {holder.model_dump_json()}"
    assert "sk-" not in shown
    assert holder.model_dump()["key"] == "*****"
    assert holder.model_dump()["url"] == "redis://*****@h"


def test_reveal_gives_the_text_back_also_after_copy_and_pickle():
    secret = Secret("sk-a")
    assert secret.reveal() == "sk-a"
    assert copy.deepcopy(secret).reveal() == "sk-a"
    assert pickle.loads(pickle.dumps(secret)) == secret


def test_a_hint_shows_the_ends_of_a_long_key_only():
    assert Secret("sk-groxy-01234567").hint() == "sk-g…4567"
    assert Secret("sk-groxy-0123456").hint() == "…"
    assert Secret("").hint() == "…"


def test_secrets_compare_by_their_text():
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a"), Secret("ü")}) == 2


def test_a_value_that_is_no_text_is_refused_without_being_repeated():
    with pytest.raises(ValueError, match="key") as caught:
        Holder.model_validate({"key": 987654321})
    assert "must be text in quotes" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("memory://", "memory://"),
        ("sqlite+aiosqlite:///groxy.db", "sqlite+aiosqlite:///groxy.db"),
        ("redis://:pw@h:6379/0", "redis://*****@h:6379/0"),
        ("redis://h/0?password=pw&db=1", "redis://h/0?password=*****&db=*****"),
        ("postgresql+asyncpg://u:p@w/x?y@h/db", "postgresql+asyncpg://*****@h/db"),
        ("redis:pw@h", "*****@h"),
    ],
)
def test_an_address_prints_without_what_may_be_a_password(text, shown):
    assert mask_address(text) == shown
    assert str(Address(text)) == shown

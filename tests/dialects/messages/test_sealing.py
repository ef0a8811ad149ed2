"""Our tokens: what goes in comes out, and nobody else's is taken for ours."""

import pytest
from hypothesis import given, strategies as st

from groxy.dialects.messages.sealing import opened_token, sealed_token
from tests.dialects.messages.streams import FOREIGN_SIGNATURE


@given(encrypted=st.text(min_size=1), item_id=st.text())
def test_what_was_sealed_is_opened_unchanged(encrypted, item_id):
    assert opened_token(sealed_token(encrypted, item_id)) == (encrypted, item_id)


def test_a_token_tells_whose_it_is():
    assert sealed_token("abc=", "rs_1") == "groxy1.rs_1.abc="


@pytest.mark.parametrize(
    "token", [None, "", FOREIGN_SIGNATURE, "groxy1.", "groxy1.rs_1", "groxy1.rs_1.", "groxy2.a.b"]
)
def test_a_token_that_is_not_ours_stays_shut(token):
    assert opened_token(token) is None

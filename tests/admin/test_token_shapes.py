import pytest
from pydantic import ValidationError

from groxy.admin.token_shapes import AddTokens, CoolToken, PatchToken, ReplacePool, TokenDraft
from groxy.core.errors import GroxyError


@pytest.mark.parametrize("pool", ["sup", "", "Basic", "basic ", 1, ["basic"], {}])
@pytest.mark.parametrize("body", [AddTokens, ReplacePool])
def test_a_pool_has_exactly_one_of_three_names(pool, body):
    with pytest.raises(GroxyError) as caught:
        body(tokens=[], pool=pool)

    assert (caught.value.code, caught.value.param) == ("invalid_pool", "pool")


@pytest.mark.parametrize("pool", ["basic", "super", "heavy", None])
def test_the_pools_there_are(pool):
    assert PatchToken(pool=pool).pool == pool


def test_auto_is_a_pool_to_add_to_and_no_pool_to_move_to():
    assert TokenDraft.model_validate({"pool": "auto"}).pool == "heavy"
    with pytest.raises(GroxyError):
        PatchToken.model_validate({"pool": "auto"})


@pytest.mark.parametrize(
    ("tags", "code"), [(["t"] * 11, "too_many_tags"), (["t" * 65], "tag_too_long")]
)
def test_tags_have_bounds(tags, code):
    with pytest.raises(GroxyError) as caught:
        TokenDraft(tags=tags)

    assert (caught.value.code, caught.value.param) == (code, "tags")


def test_as_many_tags_as_there_may_be():
    assert TokenDraft(tags=["t" * 64] * 10).tags == ["t" * 64] * 10


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), 31 * 86_400 + 1])
def test_a_rest_has_bounds(seconds):
    with pytest.raises(ValidationError):
        CoolToken(seconds=seconds)

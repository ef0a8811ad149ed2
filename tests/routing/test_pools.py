import pytest

from groxy.routing.pools import Pool, pools_for

BASIC, SUPER, HEAVY = Pool.BASIC, Pool.SUPER, Pool.HEAVY


@pytest.mark.parametrize(
    ("tier", "pools"),
    [(BASIC, (BASIC, SUPER, HEAVY)), (SUPER, (SUPER, HEAVY)), (HEAVY, (HEAVY,))],
)
def test_a_larger_pool_stands_in_for_a_smaller_one(tier, pools):
    assert pools_for(tier, prefer_best=False) == pools


@pytest.mark.parametrize(
    ("tier", "pools"),
    [(BASIC, (HEAVY, SUPER, BASIC)), (SUPER, (HEAVY, SUPER)), (HEAVY, (HEAVY,))],
)
def test_prefer_best_turns_the_order(tier, pools):
    assert pools_for(tier, prefer_best=True) == pools


@pytest.mark.parametrize("prefer_best", [False, True])
@pytest.mark.parametrize("tier", list(Pool))
def test_the_pool_of_the_tier_itself_is_always_among_them(tier, prefer_best):
    pools = pools_for(tier, prefer_best=prefer_best)

    assert tier in pools
    assert len(set(pools)) == len(pools)


def test_pools_have_the_names_that_the_admin_api_uses():
    assert [pool.value for pool in Pool] == ["basic", "super", "heavy"]

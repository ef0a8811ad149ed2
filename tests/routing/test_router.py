import random
import time
import timeit
from collections import Counter

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.routing import router as module
from groxy.routing.catalog import Catalog
from groxy.routing.router import Router
from groxy.upstreams._base import Credentials, ModelFacts, Upstream
from tests.routing.fleet import BASIC, HEAVY, SUPER, Clock, account, directory_of

CATALOG = Catalog.load(
    {
        f"{tier}-{'best' if is_best else 'plain'}": {
            "sends": "grok-4.3",
            "tier": tier,
            "prefer_best": is_best,
        }
        for tier in ("basic", "super", "heavy")
        for is_best in (False, True)
    }
)
AUTH, LIMITED = ErrorKind.UPSTREAM_AUTH, ErrorKind.UPSTREAM_LIMITED
QUOTA, DOWN = ErrorKind.UPSTREAM_QUOTA, ErrorKind.UPSTREAM_DOWN


def router_of(*accounts, most=3, clock=None):
    return Router(CATALOG, directory_of(*accounts, clock=clock), max_candidates=most)


def ids(plan):
    return [candidate.account.id for candidate in plan.candidates]


def sent(plan):
    return [candidate.model_sent for candidate in plan.candidates]


def refusal(router, asked, dialect="chat"):
    with pytest.raises(GroxyError) as caught:
        router.plan(asked, dialect)
    return caught.value


def rest(one, seconds, reason, clock=None):
    one.rest_until = (clock or Clock()).at + seconds
    one.rest_reason = reason
    return one


def listing(*names):
    return {"models": frozenset(names)}


# ----------------------------------------------------------------------------- tiers and pools


@pytest.mark.parametrize(
    ("asked", "order"),
    [
        ("basic-plain", ["basic", "super", "heavy"]),
        ("super-plain", ["super", "heavy"]),
        ("heavy-plain", ["heavy"]),
        ("basic-best", ["heavy", "super", "basic"]),
        ("super-best", ["heavy", "super"]),
        ("heavy-best", ["heavy"]),
        ("grok-4.20-fast", ["heavy", "super", "basic"]),
        ("grok-4.20-0309-non-reasoning", ["basic", "super", "heavy"]),
    ],
)
def test_pools_are_tried_in_the_order_of_the_models_tier(asked, order):
    router = router_of(
        account("super", pool=SUPER), account("heavy", pool=HEAVY), account("basic", pool=BASIC)
    )

    assert ids(router.plan(asked, "chat")) == order


@pytest.mark.parametrize(
    ("asked", "pool"), [("super-plain", BASIC), ("heavy-plain", BASIC), ("heavy-best", SUPER)]
)
def test_a_smaller_pool_never_serves_a_larger_model(asked, pool):
    error = refusal(router_of(account(pool=pool)), asked)

    assert (error.kind, error.param) == (ErrorKind.UNKNOWN_MODEL, "model")
    assert "not served by any account" in error.message


def test_a_model_that_the_catalog_lacks_may_come_from_any_pool():
    accounts = [account(pool.value, pool=pool, **listing("own")) for pool in (BASIC, SUPER, HEAVY)]

    assert set(ids(router_of(*accounts).plan("own", "chat"))) == {"basic", "super", "heavy"}


@pytest.mark.parametrize("most", [1, 2, 3, 5, 20])
def test_there_are_never_more_candidates_than_attempts(most):
    accounts = [
        account(f"{pool.value}-{number}", pool=pool)
        for pool in (BASIC, SUPER, HEAVY)
        for number in range(4)
    ]

    plan = router_of(*accounts, most=most).plan("basic-plain", "chat")

    assert len(plan.candidates) == min(most, 12)
    assert len(set(ids(plan))) == len(plan.candidates)


# ------------------------------------------------------------------------- which id is sent


@pytest.mark.parametrize(
    ("upstream", "asked", "id_sent"),
    [
        ("xai", "grok-4.3", "grok-4.3"),
        ("xai", "x-ai/grok-4.3", "grok-4.3"),
        ("xai", "grok-4.3-high", "grok-4.3"),
        ("xai", "grok-3", "grok-4.3"),
        ("openrouter", "grok-4.3", "x-ai/grok-4.3"),
        ("openrouter", "grok-4.20-0309-reasoning", "x-ai/grok-4.20"),
        ("sandbox", "grok-4.3", "grok-4.3"),
        ("openai_compatible", "grok-4.3-high", "grok-4.3-high"),
        ("openai_compatible", "llama-3", "llama-3"),
    ],
)
def test_an_upstream_whose_list_is_not_known_gets_its_usual_id(upstream, asked, id_sent):
    assert sent(router_of(account(upstream=upstream)).plan(asked, "chat")) == [id_sent]


@pytest.mark.parametrize(
    ("upstream", "listed", "asked", "id_sent"),
    [
        ("xai", ["grok-4.3"], "grok-4.3-high", "grok-4.3"),
        ("xai", ["grok-3", "grok-4.3"], "grok-3", "grok-3"),
        ("openrouter", ["x-ai/grok-4.3"], "grok-4.3", "x-ai/grok-4.3"),
        ("openrouter", ["x-ai/grok-4.3"], "x-ai/grok-4.3", "x-ai/grok-4.3"),
        ("openrouter", ["grok-4.3"], "grok-4.3", "grok-4.3"),
        ("openrouter", ["anthropic/claude"], "anthropic/claude", "anthropic/claude"),
        ("openai_compatible", ["grok-4.3"], "x-ai/grok-4.3", "grok-4.3"),
        ("openai_compatible", ["llama-3"], "llama-3", "llama-3"),
    ],
)
def test_an_upstream_with_a_list_gets_an_id_of_its_list(upstream, listed, asked, id_sent):
    one = account(upstream=upstream, **listing(*listed))

    assert sent(router_of(one).plan(asked, "chat")) == [id_sent]


@pytest.mark.parametrize(
    ("upstream", "listed", "asked"),
    [
        ("xai", ["grok-4.3"], "grok-4.20-fast"),
        ("xai", [], "grok-4.3"),
        ("openrouter", ["anthropic/claude"], "grok-4.3"),
        ("openai_compatible", ["llama-3"], "grok-4.3"),
        ("openai_compatible", ["llama-3"], "llama-3.1"),
        ("openai_compatible", ["llama-3"], "LLAMA-3"),
    ],
)
def test_what_an_upstreams_list_lacks_it_is_not_asked_for(upstream, listed, asked):
    error = refusal(router_of(account(upstream=upstream, **listing(*listed))), asked)

    assert error.kind is ErrorKind.UNKNOWN_MODEL


def test_only_a_plain_server_may_have_a_model_that_nobody_knows():
    accounts = [account("official", "xai"), account("plain", "openai_compatible")]

    assert ids(router_of(*accounts).plan("llama-3", "chat")) == ["plain"]


def test_accounts_at_several_upstreams_each_get_their_own_id():
    accounts = [account("a", "xai", pool=BASIC), account("b", "openrouter", pool=SUPER)]

    plan = router_of(*accounts).plan("grok-4.3", "chat")

    assert list(zip(ids(plan), sent(plan), strict=True)) == [
        ("a", "grok-4.3"),
        ("b", "x-ai/grok-4.3"),
    ]


def test_a_plan_knows_what_the_model_takes_and_the_effort_that_its_name_fixes():
    model = CATALOG.find("grok-4.3-high")
    assert model is not None

    plan = router_of(account()).plan("grok-4.3-high", "chat")

    assert (plan.model, plan.effort) == (model, "high")
    assert plan.facts == ModelFacts(rejects=model.rejects, efforts=model.efforts, reasons=True)


def test_a_plan_for_a_model_that_nobody_knows_claims_nothing():
    plan = router_of(account(upstream="openai_compatible")).plan("llama-3", "chat")

    assert (plan.model, plan.effort, plan.facts) == (None, None, ModelFacts())


# ------------------------------------------------------------------------------------ dialects


class Server(Upstream):
    """An upstream that speaks a dialect of its own."""

    name = "server"
    serves_catalog = True
    dialects = ("chat", "odd")


class Translator(Server):
    name = "translator"
    translates_dialects = True


def test_an_upstream_is_not_asked_in_a_dialect_that_it_does_not_speak():
    listed = listing("grok-4.3", "x-ai/grok-4.3")
    accounts = [account("xai"), account("or", "openrouter"), account("b", "xai", **listed)]

    router = router_of(*accounts, account("odd", Translator()))

    assert ids(router.plan("grok-4.3", "odd")) == ["odd"]


def test_an_upstream_that_translates_serves_a_model_in_any_of_its_dialects():
    assert refusal(router_of(account(upstream=Server())), "grok-4.3", "odd").kind is (
        ErrorKind.UNKNOWN_MODEL
    )
    assert router_of(account(upstream=Translator())).plan("grok-4.3", "odd").candidates


def test_a_plan_for_one_dialect_is_not_taken_for_another():
    router = router_of(account("both", Translator()), account("chat only", "xai", pool=BASIC))

    sizes = [
        len(router.plan("grok-4.3", dialect).candidates) for dialect in ("chat", "odd", "chat")
    ]

    assert sizes == [2, 1, 2]


# ---------------------------------------------------------------------------------- no way


@pytest.mark.parametrize(
    "asked", ["gpt-4o", "grok", "GROK-4.3", " grok-4.3", "grok-4.3 ", "x-ai/", "/", "\0", "größe"]
)
def test_a_model_that_does_not_exist_is_told_from_one_that_nobody_serves(asked):
    error = refusal(router_of(account()), asked)

    assert (error.kind, error.param) == (ErrorKind.UNKNOWN_MODEL, "model")
    assert "does not exist" in error.message
    assert "GET /v1/models" in error.message


def test_without_any_account_no_model_is_served():
    assert "not served by any account" in refusal(router_of(), "grok-4.3").message


@pytest.mark.parametrize(
    ("asked", "makes"),
    [
        ("grok-imagine-image", "image"),
        ("grok-imagine-image-edit", "image_edit"),
        ("grok-imagine-video", "video"),
    ],
)
def test_a_model_that_makes_no_text_is_refused_on_a_text_dialect(asked, makes):
    error = refusal(router_of(account(), account("b", "openai_compatible")), asked)

    assert (error.kind, error.param) == (ErrorKind.BAD_REQUEST, "model")
    assert makes in error.message


@pytest.mark.parametrize("length", [1000, 1_000_000])
def test_a_name_of_any_length_leads_to_a_short_message(length):
    assert len(refusal(router_of(account()), "g" * length).message) < 300


# ------------------------------------------------------------------------- resting and doubtful


@pytest.mark.parametrize("reason", [AUTH, QUOTA, LIMITED])
def test_a_resting_account_is_left_out(reason):
    router = router_of(rest(account("tired"), 60, reason), account("fit"))

    assert ids(router.plan("grok-4.3", "chat")) == ["fit"]


@pytest.mark.parametrize("reason", [AUTH, QUOTA, LIMITED])
def test_an_account_whose_rest_is_over_serves_again(reason):
    clock = Clock()
    router = router_of(rest(account("tired"), 60, reason), clock=clock)
    clock.turn(60)

    assert ids(router.plan("grok-4.3", "chat")) == ["tired"]


def test_when_a_whole_pool_rests_the_next_one_serves():
    basic = [rest(account(f"basic-{number}", pool=BASIC), 60, LIMITED) for number in range(5)]

    assert ids(router_of(*basic, account("heavy")).plan("basic-plain", "chat")) == ["heavy"]


def test_a_doubtful_account_comes_last_in_its_pool_however_idle_it_is():
    accounts = [
        rest(account("doubtful"), 5, DOWN),
        account("busy", in_flight=50),
        account("busier", in_flight=60),
    ]

    assert ids(router_of(*accounts).plan("grok-4.3", "chat")) == ["busy", "busier", "doubtful"]


def test_a_doubtful_account_comes_behind_the_healthy_ones_of_all_pools():
    accounts = [
        rest(account("basic", pool=BASIC), 5, DOWN),
        account("super", pool=SUPER),
        account("heavy", pool=HEAVY),
    ]

    assert ids(router_of(*accounts).plan("basic-plain", "chat")) == ["super", "heavy", "basic"]


def test_a_crowd_of_doubtful_accounts_does_not_hide_a_healthy_one():
    doubtful = [rest(account(f"basic-{number}", pool=BASIC), 5, DOWN) for number in range(10)]

    plan = router_of(*doubtful, account("heavy")).plan("basic-plain", "chat")

    assert ids(plan)[0] == "heavy"
    assert len(plan.candidates) == 3


def test_when_all_are_doubtful_they_serve():
    doubtful = [rest(account(f"{number}"), 5, DOWN) for number in range(2)]

    assert len(router_of(*doubtful).plan("grok-4.3", "chat").candidates) == 2


def test_of_doubtful_accounts_the_least_busy_comes_first():
    doubtful = [rest(account(f"{busy}", in_flight=busy), 5, DOWN) for busy in (7, 2, 5)]

    assert ids(router_of(*doubtful).plan("grok-4.3", "chat")) == ["2", "5", "7"]


def test_when_all_are_at_their_rate_limit_the_answer_says_when_to_come_back():
    accounts = [rest(account(f"{left}"), left, LIMITED) for left in (40.0, 17.2, 90.0)]

    error = refusal(router_of(*accounts), "grok-4.3")

    assert (error.kind, error.facts.status) == (ErrorKind.RATE_LIMITED, 429)
    assert error.retry_after_s == 18
    assert "18 s" in error.message


def test_waiting_helps_as_soon_as_one_account_is_only_limited():
    accounts = [rest(account("a"), 300, AUTH), rest(account("b"), 10, LIMITED)]

    error = refusal(router_of(*accounts), "grok-4.3")

    assert (error.kind, error.retry_after_s) == (ErrorKind.RATE_LIMITED, 10)


@pytest.mark.parametrize(("left", "told"), [(900.0, 60), (59.5, 60), (7.0, 7), (0.001, 1)])
@pytest.mark.parametrize("reason", [AUTH, QUOTA])
def test_when_no_account_can_pay_or_log_in_it_is_our_fault_and_not_the_callers(reason, left, told):
    error = refusal(router_of(rest(account(), left, reason)), "grok-4.3")

    assert (error.kind, error.facts.status) == (ErrorKind.NO_ACCOUNT, 503)
    assert error.retry_after_s == told


def test_accounts_of_other_models_do_not_matter():
    accounts = [rest(account("a", **listing("own")), 30, LIMITED), account("b")]

    assert refusal(router_of(*accounts), "own").retry_after_s == 30


# ------------------------------------------------------------------------------------- balance


@pytest.fixture
def dice():
    state = random.getstate()
    random.seed(20_260_718)
    yield
    random.setstate(state)


def test_the_least_busy_account_comes_first():
    accounts = [account(f"{busy}", in_flight=busy) for busy in (3, 0, 2, 1)]

    assert ids(router_of(*accounts, most=4).plan("grok-4.3", "chat")) == ["0", "1", "2", "3"]


def test_being_busy_counts_within_a_pool_only():
    accounts = [account("basic", pool=BASIC, in_flight=100), account("heavy")]

    assert ids(router_of(*accounts).plan("basic-plain", "chat")) == ["basic", "heavy"]


@pytest.mark.usefixtures("dice")
@pytest.mark.parametrize("size", [2, 5, 10])
def test_a_thousand_plans_spread_evenly_over_idle_accounts(size):
    router = router_of(*(account(f"{number}") for number in range(size)))

    firsts = Counter(ids(router.plan("grok-4.3", "chat"))[0] for _ in range(1000))

    fair = 1000 / size
    assert len(firsts) == size
    assert all(0.7 * fair < count < 1.3 * fair for count in firsts.values())


@pytest.mark.parametrize("size", [2, 7, 12])
def test_requests_that_stay_open_are_spread_to_the_last_one(size):
    accounts = [account(f"{number}") for number in range(size)]
    router = router_of(*accounts)

    for _ in range(1000):
        router.plan("grok-4.3", "chat").candidates[0].account.in_flight += 1

    loads = [one.in_flight for one in accounts]
    assert max(loads) - min(loads) <= 1


@pytest.mark.usefixtures("dice")
def test_requests_that_stay_open_spread_over_a_large_pool_nearly_as_well():
    accounts = [account(f"{number}") for number in range(500)]
    router = router_of(*accounts)

    for _ in range(10 * len(accounts)):
        router.plan("grok-4.3", "chat").candidates[0].account.in_flight += 1

    loads = [one.in_flight for one in accounts]
    assert sum(loads) == 5000
    assert max(loads) <= 13


# ------------------------------------------------------------------------------ ten thousand

MANY = 10_000


def many(**changes):
    return [account(f"{number}", **changes) for number in range(MANY)]


def seconds_of_a_plan(router):
    router.plan("grok-4.3", "chat")
    return min(timeit.repeat(lambda: router.plan("grok-4.3", "chat"), number=200, repeat=10)) / 200


def test_ten_thousand_accounts_plan_nearly_as_fast_as_a_hundred():
    hundred = seconds_of_a_plan(router_of(*(account(f"{number}") for number in range(100))))

    assert seconds_of_a_plan(router_of(*many())) < 5 * hundred


def test_the_only_fit_one_of_ten_thousand_accounts_is_found():
    accounts = [rest(one, 60, LIMITED) for one in many()]
    rest(accounts[4321], 0, None)
    router = router_of(*accounts)

    assert {tuple(ids(router.plan("grok-4.3", "chat"))) for _ in range(20)} == {("4321",)}


def test_the_few_fit_ones_of_ten_thousand_accounts_all_get_their_turn():
    accounts = [rest(one, 60, LIMITED) for one in many()]
    fit = {"17", "4321", "5000", "9999"}
    for one in accounts:
        if one.id in fit:
            rest(one, 0, None)
    router = router_of(*accounts)

    plans = [ids(router.plan("grok-4.3", "chat")) for _ in range(60)]

    assert {len(plan) for plan in plans} == {3}
    assert {name for plan in plans for name in plan} == fit


def test_the_healthy_one_of_ten_thousand_accounts_comes_before_the_doubtful_ones():
    accounts = [rest(one, 5, DOWN) for one in many()]
    rest(accounts[4321], 0, None)
    router = router_of(*accounts)

    plans = [ids(router.plan("grok-4.3", "chat")) for _ in range(20)]

    assert {plan[0] for plan in plans} == {"4321"}
    assert {len(plan) for plan in plans} == {3}


def test_ten_thousand_doubtful_accounts_still_serve():
    router = router_of(*(rest(one, 5, DOWN) for one in many()))

    assert len(router.plan("grok-4.3", "chat").candidates) == 3


def test_ten_thousand_resting_accounts_are_an_answer_and_no_crash():
    router = router_of(*(rest(one, 30, LIMITED) for one in many()))

    assert refusal(router, "grok-4.3").retry_after_s == 30


def test_the_models_of_ten_thousand_accounts_are_listed_in_no_time():
    own = {f"own-{number}" for number in range(200)}
    router = router_of(*many(**listing("grok-4.3", *own)))
    began = time.perf_counter()

    found = names(router)

    assert own < set(found)
    assert time.perf_counter() - began < 0.5


# -------------------------------------------------------------------------------------- memory


def test_names_that_callers_make_up_do_not_fill_the_memory():
    router = router_of(account(), account("b", "openai_compatible"))

    for number in range(3 * module._MAX_NAMES):
        router.plan(f"made-up-{number}", "chat")

    assert len(router._able) <= module._MAX_NAMES + 1


def test_names_that_nobody_serves_do_not_fill_the_memory():
    router = router_of(account())

    for number in range(3 * module._MAX_NAMES):
        refusal(router, f"made-up-{number}")

    assert len(router._able) <= module._MAX_NAMES + 1


def test_a_long_name_is_served_but_not_remembered():
    router = router_of(account(upstream="openai_compatible"))
    name = "m" * 100_000

    assert sent(router.plan(name, "chat")) == [name]
    assert name not in "".join(router._able)


def test_many_names_at_many_accounts_do_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr(module, "_MAX_REMEMBERED", 1000)
    router = router_of(*(account(f"{number}", "openai_compatible") for number in range(100)))

    most = 0
    for number in range(100):
        router.plan(f"made-up-{number}", "chat")
        most = max(most, sum(able.count for able in router._able.values()))

    assert 900 < most <= 1100


def test_what_is_remembered_is_used(monkeypatch):
    router = router_of(account())
    router.plan("grok-4.3", "chat")
    monkeypatch.setattr(router, "_find_able", None)

    assert ids(router.plan("grok-4.3", "chat")) == ["acc_1"]


def test_new_accounts_are_seen_at_once():
    directory = directory_of()
    router = Router(CATALOG, directory, max_candidates=3)
    refusal(router, "grok-4.3")
    directory.replace([account()])

    assert ids(router.plan("grok-4.3", "chat")) == ["acc_1"]


def test_a_new_list_is_seen_at_once():
    one = account()
    directory = directory_of(one)
    router = Router(CATALOG, directory, max_candidates=3)
    router.plan("grok-4.3", "chat")
    directory.set_models(one, frozenset({"own"}))

    assert refusal(router, "grok-4.3").kind is ErrorKind.UNKNOWN_MODEL
    assert sent(router.plan("own", "chat")) == ["own"]


# ---------------------------------------------------------------------------- what can be used


def names(router):
    return [model if isinstance(model, str) else model.id for model in router.models("chat")]


def test_every_model_that_is_listed_can_be_asked_for_and_no_other():
    accounts = [
        account("a", pool=SUPER, **listing("grok-4.3", "grok-4.20-0309-reasoning")),
        account("b", "openai_compatible", pool=BASIC, **listing("llama-3", "grok-4.3-high")),
    ]
    router = router_of(*accounts)

    can_be_asked_for = []
    for name in [*(model.id for model in CATALOG.models()), "llama-3", "llama-4"]:
        try:
            router.plan(name, "chat")
        except GroxyError:
            continue
        can_be_asked_for.append(name)

    assert sorted(names(router)) == sorted(can_be_asked_for)
    assert {"grok-4.3", "llama-3"} < set(can_be_asked_for)


def test_one_model_is_found_exactly_if_it_is_in_the_list():
    router = router_of(account("a", pool=SUPER, **listing("grok-4.3", "own")))
    everything = [*(model.id for model in CATALOG.models()), "own", "other"]

    found = [name for name in everything if router.model(name, "chat") is not None]

    assert sorted(found) == sorted(names(router))


def test_with_an_account_for_everything_all_text_models_are_listed_in_the_catalogs_order():
    texts = [model.id for model in CATALOG.models() if model.capability.value == "chat"]

    assert names(router_of(account(upstream="sandbox"))) == texts


def test_names_that_only_lists_have_come_last_and_sorted():
    accounts = [
        account("a", **listing("zeta", "grok-4.3", "alpha")),
        account("b", "openrouter", **listing("alpha", "x-ai/grok-4.3", "beta")),
    ]

    assert names(router_of(*accounts))[-3:] == ["alpha", "beta", "zeta"]


def test_no_model_is_listed_twice():
    listed = listing("grok-4.3", "own")
    found = names(router_of(account("a", **listed), account("b", "openai_compatible", **listed)))

    assert len(set(found)) == len(found)


def test_without_an_account_no_model_is_listed():
    assert names(router_of()) == []


def test_models_of_an_account_whose_key_was_rejected_are_neither_listed_nor_found():
    expired = rest(account("a", **listing("own")), 60, AUTH)
    router = router_of(expired, account("b", **listing("grok-4.3")))

    assert "own" not in names(router)
    assert router.model("own", "chat") is None
    assert router.model("grok-4.3", "chat") is CATALOG.find("grok-4.3")


@pytest.mark.parametrize("reason", [QUOTA, LIMITED, DOWN])
def test_models_of_an_account_that_only_rests_stay_in_the_list(reason):
    router = router_of(rest(account("a", **listing("own")), 60, reason))

    assert names(router) == ["own"]
    assert router.model("own", "chat") == "own"


def test_one_expired_account_does_not_hide_its_healthy_twin():
    listed = listing("own")

    assert names(router_of(rest(account("a", **listed), 60, AUTH), account("b", **listed))) == [
        "own"
    ]


def test_accounts_that_differ_only_in_their_options_are_not_taken_for_one_another():
    class Fussy(Upstream):
        name = "fussy"
        serves_catalog = True

        def model_id(self, official, account):
            return f"{official}@{account.options['region']}"

    fussy = Fussy()
    accounts = [
        account(
            region,
            fussy,
            credentials=Credentials(api_key="k", options={"region": region}),
            **listing("grok-4.3@east"),
        )
        for region in ("west", "east")
    ]

    assert "grok-4.3" in names(router_of(*accounts))


def test_a_model_is_found_by_each_of_its_names():
    router = router_of(account())

    assert router.model("x-ai/grok-4.3", "chat") is CATALOG.find("grok-4.3")
    assert router.model("grok-4.3-latest", "chat") is CATALOG.find("grok-4.3")


@pytest.mark.parametrize("asked", ["grok-imagine-image", "nonsense", ""])
def test_what_cannot_be_used_is_not_found(asked):
    assert router_of(account()).model(asked, "chat") is None

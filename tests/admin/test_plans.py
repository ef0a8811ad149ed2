import pytest

from groxy.core.grants import PlanGrant, Rates, Step
from groxy.core.money import TICKS_PER_USD
from groxy.store.plans import create_plan, find_plan
from groxy.store.users import create_user
from tests.admin.window import opened

NONE = {"requests": 0, "tokens": 0, "concurrency": 0}


@pytest.fixture
async def window(tmp_path):
    async with opened(tmp_path) as it:
        yield it


async def test_a_plan_is_made_shown_changed_and_deleted(window):
    made = await window.post(
        "/plans",
        {
            "name": "Pro",
            "user_rates": {"requests": 60, "tokens": 100_000},
            "key_rates": {"concurrency": 3},
            "models": ["grok-4*"],
            "markup_bp": -2_000,
            "basis": "list",
            "steps": [{"from_usd": 0, "percent": 50}, {"from_usd": "10.5", "percent": 100}],
        },
    )
    told, path = made.json, f"/plans/{made.json['id']}"

    assert made.status == 200
    assert told == {
        "id": told["id"],
        "name": "Pro",
        "is_default": False,
        "user_rates": {**NONE, "requests": 60, "tokens": 100_000},
        "key_rates": {**NONE, "concurrency": 3},
        "rates": NONE,
        "models": ["grok-4*"],
        "markup_bp": -2_000,
        "basis": "list",
        "steps": [{"from_usd": "0", "percent": 50}, {"from_usd": "10.5", "percent": 100}],
        "created_at": told["created_at"],
    }
    stored = await find_plan(window.desk.database, told["id"])
    assert stored.grant == PlanGrant(
        user_rates=Rates(requests=60, tokens=100_000),
        key_rates=Rates(concurrency=3),
        models=("grok-4*",),
        markup_bp=-2_000,
        basis="list",
        steps=(
            Step(from_ticks=0, percent=50),
            Step(from_ticks=105 * TICKS_PER_USD // 10, percent=100),
        ),
    )
    assert (await window.get(path)).json == told
    assert (await window.get("/plans")).json == {"plans": [told]}
    changed = await window.ask("PATCH", path, body={"name": "Plus", "steps": []})
    assert changed.json == {**told, "name": "Plus", "steps": []}
    assert (await window.ask("PATCH", path, body={})).json == changed.json
    assert (await window.ask("DELETE", path)).json == {"status": "success"}
    assert (await window.get(path)).status == 404
    actions = [line.action for line in await window.audit()]
    assert actions == ["plan.delete", "plan.change", "plan.add"]
    assert len(window.reloads) == 3


async def test_one_plan_is_the_default_one(window):
    first = await create_plan(window.desk.database, name="A", is_default=True)
    second = await create_plan(window.desk.database, name="B")

    answer = await window.post(f"/plans/{second.id}/default")
    told = {one["id"]: one["is_default"] for one in (await window.get("/plans")).json["plans"]}

    assert answer.json["is_default"] is True
    assert told == {first.id: False, second.id: True}
    (line,) = await window.audit()
    assert (line.before, line.after) == ({"default": [first.id]}, {"default": second.id})


async def test_a_plan_in_use_and_a_name_that_is_taken_are_conflicts(window):
    plan = await create_plan(window.desk.database, name="A")
    await create_user(window.desk.database, name="Ada", plan_id=plan.id)

    kept = await window.ask("DELETE", f"/plans/{plan.id}")
    taken = await window.post("/plans", {"name": "A"})

    assert (kept.status, kept.error["code"]) == (409, "plan_in_use")
    assert (taken.status, taken.error["code"]) == (409, "plan_name_taken")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"markup_bp": -10_001}, "markup_bp"),
        ({"markup_bp": 100_001}, "markup_bp"),
        ({"markup_bp": 12.5}, "markup_bp"),
        ({"markup_bp": True}, "markup_bp"),
        ({"markup_bp": "20"}, "markup_bp"),
        ({"markup_bp": 2**63}, "markup_bp"),
        ({"basis": "cost"}, "basis"),
        ({"user_rates": {"requests": -1}}, "user_rates.requests"),
        ({"user_rates": {"requests": 10**9 + 1}}, "user_rates.requests"),
        ({"key_rates": {"tokens": "60"}}, "key_rates.tokens"),
        ({"rates": {"concurrency": True}}, "rates.concurrency"),
        ({"rates": {"request": 1}}, "rates.request"),
        ({"steps": [{"from_usd": "-1", "percent": 50}]}, "steps.0.from_usd"),
        ({"steps": [{"from_usd": "1", "percent": 0}]}, "steps.0.percent"),
        ({"steps": [{"from_usd": "1", "percent": 1.5}]}, "steps.0.percent"),
        ({"steps": [{"from_usd": "1", "percent": 50}] * 2}, "steps"),
        ({"steps": [{"from_usd": "1", "percent": 50}] * 21}, "steps"),
        ({"models": ["a\0"]}, "models"),
        ({"models": "grok-4"}, "models"),
        ({"markup": 5}, "markup"),
        ({"id": "plan_1"}, "id"),
        ({"name": "a\0"}, "name"),
        ({"name": ""}, "name"),
        ({"name": "x" * 65}, "name"),
    ],
)
async def test_what_no_plan_can_have_is_refused_and_named(window, body, param):
    plan = await create_plan(window.desk.database, name="A")

    made = await window.post("/plans", {"name": "B", **body})
    changed = await window.ask("PATCH", f"/plans/{plan.id}", body=body)

    assert [(one.status, one.error["param"]) for one in (made, changed)] == [(400, param)] * 2
    assert await find_plan(window.desk.database, plan.id) == plan
    assert await window.audit() == []


async def test_a_plan_is_not_made_the_default_one_by_the_way(window):
    plan = await create_plan(window.desk.database, name="A")

    answer = await window.ask("PATCH", f"/plans/{plan.id}", body={"is_default": True})

    assert (answer.status, answer.error["param"]) == (400, "is_default")


@pytest.mark.parametrize(("method", "below"), [("GET", ""), ("DELETE", ""), ("POST", "/default")])
@pytest.mark.parametrize("plan_id", ["plan_none", "\0", "x" * 3_000])
async def test_what_is_not_there_is_not_found(window, method, below, plan_id):
    answer = await window.ask(method, f"/plans/{plan_id}{below}")

    assert (answer.status, answer.error["code"]) == (404, "plan_not_found")

from groxy.api.models import written_model
from groxy.routing.catalog import Catalog
from tests.inprocess import application, ask


async def test_the_list_has_openais_shape(tmp_path):
    async with application(tmp_path) as app:
        answer = await ask(app, "GET", "/v1/models")

    assert answer.json["object"] == "list"
    for model in answer.json["data"]:
        assert {"id", "object", "created", "owned_by"} <= model.keys()
        assert model["object"] == "model"


async def test_the_list_names_what_can_be_asked_for_and_nothing_else(tmp_path):
    async with application(tmp_path) as app:
        listed = {model["id"] for model in (await ask(app, "GET", "/v1/models")).json["data"]}
        body = {"messages": [{"role": "user", "content": "hi"}]}
        statuses = {
            name: (
                await ask(app, "POST", "/v1/chat/completions", body={"model": name, **body})
            ).status
            for name in sorted(listed)[:10]
        }

    assert "grok-4.20-0309" in listed
    assert "grok-imagine-image" not in listed
    assert set(statuses.values()) == {200}


async def test_the_list_asks_for_a_key(tmp_path):
    async with application(tmp_path) as app:
        assert (await ask(app, "GET", "/v1/models", key=None)).status == 401


async def test_a_model_is_found_by_an_id_with_a_slash(tmp_path):
    async with application(tmp_path) as app:
        answer = await ask(app, "GET", "/v1/models/x-ai/grok-4")

    assert (answer.status, answer.json["id"]) == (200, "x-ai/grok-4")


async def test_an_unknown_model_is_not_found_and_the_list_is_pointed_to(tmp_path):
    async with application(tmp_path) as app:
        answer = await ask(app, "GET", "/v1/models/nope")

    assert (answer.status, answer.error["param"]) == (404, "model")
    assert "/v1/models" in answer.error["message"]


def test_prices_are_in_dollars_a_token():
    model = Catalog.load().find("grok-4.7")

    assert model is not None
    assert written_model(model)["pricing"] == {
        "prompt": "0.000002",
        "completion": "0.000006",
        "input_cache_read": "0.0000005",
    }


def test_a_model_that_only_an_upstream_knows_has_the_required_fields():
    assert written_model("some-model").keys() == {"id", "object", "created", "owned_by"}


async def test_a_name_that_no_model_can_have_is_not_looked_up(tmp_path):
    async with application(tmp_path) as app:
        answer = await ask(app, "GET", "/v1/models/" + "x" * 10_000)

        assert answer.status == 404
        assert len(answer.body) < 1000
        assert not any("xxx" in name for name in app.router._able)

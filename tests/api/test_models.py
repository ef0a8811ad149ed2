import pytest

from groxy.api.models import written_model
from groxy.core.grants import KeyGrant
from groxy.routing.catalog import Catalog
from groxy.store.keys import KeyRole, create_key
from tests.inprocess import KEY, application, ask


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
    assert {"grok-imagine-image", "grok-imagine-video"} <= listed
    assert "nonsense" not in listed
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
        assert not any("xxx" in str(name) for name in app.router._able)


ANTHROPIC = {"anthropic-version": "2023-06-01"}


async def test_anthropics_clients_get_their_own_list_with_names_that_they_accept(tmp_path):
    async with application(tmp_path) as app:
        listed = (await ask(app, "GET", "/v1/models", headers=ANTHROPIC)).json
    assert listed.keys() == {"data", "has_more", "first_id", "last_id"}
    names = [model["id"] for model in listed["data"]]
    assert "claude-grok-4-7" in names
    assert "grok-4.7" in names
    assert names.index("claude-grok-4-7") < names.index("grok-4.7")
    assert {model["type"] for model in listed["data"]} == {"model"}
    assert listed["first_id"] == names[0]


@pytest.mark.parametrize("name", ["claude-grok-4-7", "grok-4.7"])
async def test_one_model_has_anthropics_shape_for_them(tmp_path, name):
    async with application(tmp_path) as app:
        model = (await ask(app, "GET", f"/v1/models/{name}", headers=ANTHROPIC)).json
    assert model == {
        "type": "model",
        "id": name,
        "display_name": "Grok 4.7",
        "created_at": "2026-09-21T00:00:00Z",
    }


async def test_xais_clients_find_language_models_with_prices_in_its_unit(tmp_path):
    async with application(tmp_path) as app:
        listed = (await ask(app, "GET", "/v1/language-models")).json["models"]
        one = (await ask(app, "GET", "/v1/language-models/grok-4.7")).json
    (found,) = [model for model in listed if model["id"] == "grok-4.7"]
    assert found == one
    # US cents for 100 million tokens: two dollars a million.
    assert found["prompt_text_token_price"] == 20_000


async def test_embedding_models_stand_in_a_list_of_their_own(tmp_path):
    async with application(tmp_path) as app:
        listed = (await ask(app, "GET", "/v1/embedding-models")).json["models"]
    assert [model["id"] for model in listed] == ["v1"]


async def test_anthropics_list_comes_in_pages_where_they_are_asked_for(tmp_path):
    async with application(tmp_path) as app:
        every = (await ask(app, "GET", "/v1/models", headers=ANTHROPIC)).json["data"]
        query = "limit=2"
        first = (await ask(app, "GET", "/v1/models", headers=ANTHROPIC, query=query)).json
        query = f"limit=1000&after_id={first['last_id']}"
        rest = (await ask(app, "GET", "/v1/models", headers=ANTHROPIC, query=query)).json
    assert first["has_more"]
    assert not rest["has_more"]
    assert first["data"] + rest["data"] == every


async def bound_key(app, *models):
    key, _ = await create_key(
        app.database,
        app.secret,
        name="bound",
        role=KeyRole.CALLER,
        grant=KeyGrant(models=models),
    )
    await app.load_changes()
    return key


async def ids(app, path, key, headers=None):
    listed = (await ask(app, "GET", path, key=key, headers=headers)).json
    return {model["id"] for model in listed.get("data", listed.get("models"))}


async def test_a_key_sees_the_models_that_it_may_use_and_no_other(tmp_path):
    async with application(tmp_path) as app:
        every = await ids(app, "/v1/models", KEY)
        key = await bound_key(app, "grok-4.7", "grok-imagine-*")
        seen = await ids(app, "/v1/models", key)
        languages = await ids(app, "/v1/language-models", key)
        embeddings = await ids(app, "/v1/embedding-models", key)
        anthropics = await ids(app, "/v1/models", key, ANTHROPIC)

    assert "grok-4.7" in seen
    assert seen == {
        name for name in every if name == "grok-4.7" or name.startswith("grok-imagine-")
    }
    assert len(seen) < len(every)
    assert languages == {"grok-4.7"}
    assert embeddings == set()
    assert {"grok-4.7", "claude-grok-4-7"} <= anthropics
    assert not any(name.startswith("claude-grok-3") for name in anthropics)


async def test_a_model_that_a_key_may_not_use_is_not_there_for_it(tmp_path):
    async with application(tmp_path) as app:
        key = await bound_key(app, "grok-4.7")
        for path in ("/v1/models/grok-3", "/v1/language-models/grok-3"):
            assert (await ask(app, "GET", path, key=key)).status == 404
            assert (await ask(app, "GET", path)).status == 200
        for path in ("/v1/models/grok-4.7", "/v1/language-models/grok-4.7"):
            assert (await ask(app, "GET", path, key=key)).status == 200


async def test_a_key_that_may_use_an_alias_alone_sees_the_alias(tmp_path):
    async with application(tmp_path) as app:
        (model, *_) = [
            model for model in app.router.models() if not isinstance(model, str) and model.aliases
        ]
        key = await bound_key(app, model.aliases[0])
        seen = await ids(app, "/v1/models", key)

    assert seen == {model.aliases[0]}

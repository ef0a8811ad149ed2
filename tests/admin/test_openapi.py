from typing import Any

import pytest

from groxy.admin.application import schema_of
from groxy.admin.openapi import as_3_0
from tests.admin.window import opened

STREAMED = {"get /admin/api/export", "get /admin/api/batch/{task_id}/stream"}


@pytest.fixture
async def document(tmp_path) -> Any:
    async with opened(tmp_path) as window:
        return schema_of(window.desk)


def operations(document):
    return [
        (f"{method} {path}", operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def parts_of(part):
    yield part
    for inner in part.values() if isinstance(part, dict) else part:
        if isinstance(inner, dict | list):
            yield from parts_of(inner)


def _shapes_of(operation):
    content = operation["responses"]["200"].get("content", {})
    return {str(one["schema"]) for one in content.values() if "schema" in one}


def test_every_endpoint_is_described_with_a_summary_a_tag_and_errors(document):
    found = operations(document)
    tags = {tag["name"] for tag in document["tags"]}

    assert len(found) >= 17
    for name, operation in found:
        assert operation["summary"], name
        assert set(operation["tags"]) <= tags, name
        assert {"400", "401", "503"} <= operation["responses"].keys(), name
        assert "422" not in operation["responses"], name


def test_every_answer_has_a_shape(document):
    shapeless = {
        name for name, operation in operations(document) if not _shapes_of(operation) - {"{}"}
    }

    assert shapeless <= STREAMED


def test_every_reference_leads_somewhere(document):
    schemas = document["components"]["schemas"]
    references = [
        part["$ref"] for part in parts_of(document) if isinstance(part, dict) and "$ref" in part
    ]

    assert "#/components/schemas/ErrorAnswer" in references
    assert all(one.removeprefix("#/components/schemas/") in schemas for one in references)


def test_paths_are_whole_and_say_how_the_key_is_sent(document):
    assert all(path.startswith("/admin/api/") for path in document["paths"])
    assert document["security"] == [{"bearer": []}, {"x-api-key": []}, {"app_key": []}]
    assert document["components"]["securitySchemes"].keys() == {"bearer", "x-api-key", "app_key"}
    assert document["servers"][0]["url"] == "./"


def test_the_document_is_of_version_3_0_all_through(document):
    assert document["openapi"] == "3.0.3"
    for part in parts_of(document):
        if isinstance(part, dict) and "type" in part:
            assert part["type"] != "null"
            assert not isinstance(part["type"], list)
        if isinstance(part, dict) and isinstance(part.get("anyOf"), list):
            assert {"type": "null"} not in part["anyOf"]


@pytest.mark.parametrize(
    ("newer", "older"),
    [
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, {"type": "string", "nullable": True}),
        (
            {"anyOf": [{"$ref": "#/x"}, {"type": "null"}]},
            {"anyOf": [{"$ref": "#/x"}], "nullable": True},
        ),
        (
            {"anyOf": [{"type": "string"}, {"type": "integer"}]},
            {"anyOf": [{"type": "string"}, {"type": "integer"}]},
        ),
        ({"const": "ok"}, {"enum": ["ok"]}),
        ({"examples": [1, 2]}, {"example": 1}),
        ({"examples": []}, {}),
        ({"examples": {"a": {"value": 1}}}, {"examples": {"a": {"value": 1}}}),
        ({"exclusiveMinimum": 0}, {"minimum": 0, "exclusiveMinimum": True}),
        ({"exclusiveMaximum": 9}, {"maximum": 9, "exclusiveMaximum": True}),
        (
            {"properties": {"const": {"const": 1}, "default": {"const": 2}}},
            {"properties": {"const": {"enum": [1]}, "default": {"enum": [2]}}},
        ),
        ({"default": {"const": 1}}, {"default": {"const": 1}}),
    ],
)
def test_what_3_1_says_is_said_in_3_0(newer, older):
    assert as_3_0(newer) == older

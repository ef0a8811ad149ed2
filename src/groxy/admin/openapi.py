"""The OpenAPI document of the admin API, as version 3.0.

In: the FastAPI application, which writes 3.1. Out: the same as 3.0.3, because the Swagger UI that
is to be had as a package (4.15.5) shows nothing newer; with the ways to send the key, and our own
errors in place of FastAPI's.
"""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from groxy.admin.shapes import ErrorAnswer

VERSION = "3.0.3"
_ERROR_REF = "#/components/schemas/ErrorAnswer"
_OF_FASTAPI = ("HTTPValidationError", "ValidationError")
_METHODS = frozenset({"get", "put", "post", "delete", "patch"})
_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "The operator's key."},
    "x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
    "app_key": {
        "type": "apiKey",
        "in": "query",
        "name": "app_key",
        "description": "Only if setting admin.query_key is on.",
    },
}
_TAGS = {
    "system": "How the gateway is.",
    "config": "Settings while it runs.",
    "tokens": "Accounts: which there are, and how they stand.",
    "transfer": "Accounts in and out, very many at once.",
    "batch": "Work on many accounts, waited for or followed.",
    "assets": "Files that accounts have at their upstreams.",
    "requests": "Why a request went where it went, and where one would go.",
    "usage": "What requests add up to.",
    "audit": "What operators did.",
    "cache": "Stored media.",
    "users": "Who owns keys and a balance.",
    "keys": "Keys of everybody.",
    "credits": "What users have, get and lose; codes that are worth some.",
    "plans": "Limits and mark-up that users share.",
    "prices": "What models cost, since when, and how bills differ from it.",
    "ledger": "What the books add up to, and whether they do.",
}


def described(app: FastAPI) -> dict[str, Any]:
    """Return the document."""
    document = get_openapi(title=app.title, version=app.version, routes=app.routes)
    document["openapi"] = VERSION
    document["info"]["description"] = (
        "For operators. What the API calls a token is an account: a credential at an upstream. "
        "Times are unix milliseconds, costs are ticks of 10^-10 US dollars."
    )
    document["servers"] = [{"url": "./", "description": "This gateway."}]
    document["security"] = [{name: []} for name in _SCHEMES]
    document["tags"] = [{"name": name, "description": text} for name, text in _TAGS.items()]
    components = document.setdefault("components", {})
    components["securitySchemes"] = _SCHEMES
    schemas = components.setdefault("schemas", {})
    for name in _OF_FASTAPI:
        schemas.pop(name, None)
    _add_error_shapes(schemas)
    for path in document["paths"].values():
        for method, operation in path.items():
            if method in _METHODS:
                _tell_errors(operation)
    older: dict[str, Any] = as_3_0(document)
    return older


def _add_error_shapes(schemas: dict[str, Any]) -> None:
    shape = ErrorAnswer.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(shape.pop("$defs", {}))
    schemas["ErrorAnswer"] = shape


def _tell_errors(operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    responses.pop("422", None)
    content = {"application/json": {"schema": {"$ref": _ERROR_REF}}}
    words = {
        "400": "Something about the request is wrong; `param` names it.",
        "401": "The key is missing or wrong.",
        "503": "The database or the shared state cannot be reached. Try again.",
    }
    for status, text in words.items():
        responses.setdefault(status, {"description": text, "content": content})


def as_3_0(part: Any) -> Any:  # noqa: ANN401 - any part of a JSON document
    """Return a part of a 3.1 document as version 3.0 says the same."""
    if isinstance(part, list):
        return [as_3_0(one) for one in part]
    if not isinstance(part, dict):
        return part
    older = {name: _kept(name, value) for name, value in part.items()}
    _say_nullable(older)
    if "const" in older:
        older["enum"] = [older.pop("const")]
    if isinstance(older.get("examples"), list):  # of a schema; a media type's are a mapping
        examples = older.pop("examples")
        if examples:
            older.setdefault("example", examples[0])
    for bound, name in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if isinstance(older.get(bound), int | float) and not isinstance(older[bound], bool):
            older[name], older[bound] = older[bound], True
    return older


def _kept(name: str, value: Any) -> Any:  # noqa: ANN401 - any part of a JSON document
    """Return a value converted, unless it is an example: that is no part of the document."""
    if name == "properties" and isinstance(value, dict):  # fields may be called like keywords
        return {field: as_3_0(schema) for field, schema in value.items()}
    return value if name in ("example", "examples", "default") else as_3_0(value)


def _say_nullable(schema: dict[str, Any]) -> None:
    """Say `nullable` where 3.1 has a type "null" among several."""
    for name in ("anyOf", "oneOf"):
        choices = schema.get(name)
        if not isinstance(choices, list) or {"type": "null"} not in choices:
            continue
        left = [one for one in choices if one != {"type": "null"}]
        schema["nullable"] = True
        if len(left) == 1 and "$ref" not in left[0]:
            del schema[name]
            schema.update({key: value for key, value in left[0].items() if key not in schema})
        else:
            schema[name] = left

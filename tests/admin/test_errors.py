from typing import Annotated, Literal

import pytest
from fastapi import FastAPI, Query
from pydantic import Field
from starlette.exceptions import HTTPException

from groxy.admin import errors
from groxy.admin.shapes import Given
from groxy.api.errors import ErrorBoundary
from groxy.core.errors import ErrorKind, GroxyError
from tests.admin.window import ask

SECRET = "xai-secret-secret-secret"


class Inner(Given):
    weight: int = 1


class Body(Given):
    pool: Literal["basic", "super", "heavy"]
    page_size: int = 1
    inner: list[Inner] = Field(default=[])
    tokens: list[str | Inner] = Field(default=[])


def application():
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    errors.install(app)

    @app.post("/body")
    async def body(body: Body) -> None: ...

    @app.get("/query")
    async def query(
        page_size: Annotated[int, Query(ge=1, le=1000)],
        pool: Literal["basic", "super", "heavy"] = "basic",
        other: int = 0,
    ) -> None: ...

    @app.get("/ours")
    async def ours() -> None:
        raise GroxyError(
            ErrorKind.STORE_DOWN, "It is down.", detail=SECRET, code="mine", retry_after_s=1.2
        )

    @app.get("/accident")
    async def accident() -> None:
        raise RuntimeError(SECRET)

    @app.get("/group")
    async def group(ours: bool) -> None:
        down = GroxyError(ErrorKind.STORE_DOWN, "It is down.")
        inner = ExceptionGroup("inner", [RuntimeError(SECRET), down if ours else ValueError("x")])
        raise ExceptionGroup("outer", [ValueError(SECRET), inner])

    @app.get("/odd")
    async def odd() -> None:
        raise HTTPException(418, SECRET)

    return ErrorBoundary(app)


async def refused(method, path, **more):
    answer = await ask(application(), method, path, **more)
    error = answer.error
    assert set(error) == {"message", "type", "code", "param", "status"}
    assert error["status"] == answer.status
    assert SECRET not in answer.body.decode()
    assert "x-request-id" in answer.headers
    return error


async def complaint(**body):
    return await refused("POST", "/body", body=body, headers=[("content-type", "application/json")])


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        ({}, "pool", "`pool` is required."),
        ({"pool": "sup"}, "pool", "'basic', 'super' or 'heavy'"),
        ({"pool": SECRET}, "pool", "`pool` is invalid"),
        ({"pool": "basic", "page_size": SECRET}, "page_size", "integer"),
        ({"pool": "basic", "poool": 1}, "poool", "Did you mean `pool`?"),
        ({"pool": "basic", "zzz": SECRET}, "zzz", "There are: inner, page_size, pool, tokens."),
        ({"pool": "basic", "inner": [{}, {"wait": 2}]}, "inner.1.wait", "Did you mean `weight`?"),
        ({"pool": "basic", "inner": [{"weight": "x"}]}, "inner.0.weight", "integer"),
        ({"pool": "basic", "tokens": [7]}, "tokens.0", "`tokens.0` is invalid"),
    ],
)
async def test_a_field_that_is_wrong_is_named(body, param, words):
    error = await complaint(**body)

    assert (error["status"], error["code"], error["type"]) == (
        400,
        "invalid_value",
        "validation_error",
    )
    assert error["param"] == param
    assert words in error["message"]


async def test_a_body_that_is_no_object_is_told():
    error = await refused("POST", "/body", body=[1], headers=[("content-type", "application/json")])

    assert error["message"].startswith("The request body is invalid")
    assert error["param"] is None


@pytest.mark.parametrize(
    ("query", "code", "param"),
    [
        ("page_size=0", "invalid_page_size", "page_size"),
        ("page_size=1001", "invalid_page_size", "page_size"),
        ("page_size=x", "invalid_page_size", "page_size"),
        ("page_size=1&pool=sup", "invalid_pool", "pool"),
        ("page_size=1&other=x", "invalid_value", "other"),
        ("", "invalid_value", "page_size"),
    ],
)
async def test_parameters_of_the_contract_have_codes_of_their_own(query, code, param):
    error = await refused("GET", "/query", query=query)

    assert (error["status"], error["code"], error["param"]) == (400, code, param)


async def test_an_error_of_ours_keeps_code_and_retry_after_and_not_its_detail():
    answer = await ask(application(), "GET", "/ours")

    assert (answer.status, answer.error["code"]) == (503, "mine")
    assert answer.headers["retry-after"] == "2"
    assert SECRET not in answer.body.decode()


async def test_an_accident_is_logged_and_tells_nothing(logged):
    error = await refused("GET", "/accident")

    assert (error["status"], error["code"]) == (500, "internal_error")
    assert [line["event"] for line in logged()] == ["endpoint crashed"]


async def test_of_several_errors_ours_is_told(logged):
    ours = await refused("GET", "/group", query="ours=true")
    others = await refused("GET", "/group", query="ours=false")

    assert (ours["status"], ours["code"]) == (503, "store_unavailable")
    assert (others["status"], others["code"]) == (500, "internal_error")
    assert [line["event"] for line in logged()] == ["endpoint crashed"]


async def test_an_unknown_path_or_method_is_told_in_the_same_form():
    path = await refused("GET", "/nowhere")
    answer = await ask(application(), "DELETE", "/body")
    odd = await refused("GET", "/odd")

    assert (path["status"], path["code"]) == (404, "not_found")
    assert (answer.status, answer.error["code"]) == (405, "method_not_allowed")
    assert answer.headers["allow"] == "POST"
    assert (odd["status"], odd["code"]) == (400, "invalid_value")

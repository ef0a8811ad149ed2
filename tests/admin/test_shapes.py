import pytest
from pydantic import Field, ValidationError

from groxy.admin.shapes import UNKNOWN_FIELD, ErrorAnswer, Given, Success


class Body(Given):
    pool: str = ""
    page_size: int = Field(default=1, alias="pageSize")


def finding(data):
    with pytest.raises(ValidationError) as caught:
        Body.model_validate(data)
    (found,) = caught.value.errors()
    return found


def test_a_field_that_nobody_knows_is_refused_with_the_nearest_name():
    found = finding({"pol": "basic"})

    assert (found["type"], found["ctx"]["field"]) == (UNKNOWN_FIELD, "pol")
    assert found["msg"] == "is not a field here. Did you mean `pool`?"


def test_a_field_that_is_near_to_none_is_refused_with_all_names():
    assert finding({"zzz": 1})["msg"] == "is not a field here. There are: pageSize, pool."


def test_a_field_is_known_by_its_alias():
    assert Body.model_validate({"pageSize": 3}).page_size == 3
    assert finding({"page_size": 3})["ctx"]["field"] == "page_size"


def test_a_long_name_is_cut():
    assert len(finding({"x" * 5000: 1})["ctx"]["field"]) == 64


def test_what_is_no_object_is_left_to_pydantic():
    assert finding([1])["type"] == "model_type"


def test_answers_have_the_contracts_shape():
    assert Success().model_dump() == {"status": "success"}
    assert list(ErrorAnswer.model_fields) == ["error"]

"""What all bodies of the admin API have in common, and the shape of its errors.

In: nothing. Out: base classes for pydantic models. `Given` is what a client sends: a field that
nobody knows is refused with the name that was probably meant, because a change that silently does
nothing is worse than an error. `Told` is what we answer.
"""

from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

UNKNOWN_FIELD = "unknown_field"
"""The type of the error that `Given` raises; its context has `field` and `hint`."""
_LONGEST_NAME = 64


class Given(BaseModel):
    """A body, or a part of one, that a client sends."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown(cls, data: Any) -> Any:  # noqa: ANN401 - whatever was sent
        if isinstance(data, dict):
            names = {field.alias or name for name, field in cls.model_fields.items()}
            for name in data:
                if name not in names:
                    shown = str(name)[:_LONGEST_NAME]
                    raise PydanticCustomError(
                        UNKNOWN_FIELD, "{hint}", {"field": shown, "hint": _hint(shown, names)}
                    )
        return data


class Told(BaseModel):
    """An answer, or a part of one."""

    model_config = ConfigDict(frozen=True)


def _hint(name: str, names: set[str]) -> str:
    close = get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"is not a field here. Did you mean `{close[0]}`?"
    return f"is not a field here. There are: {', '.join(sorted(names))}."


class ErrorTold(Told):
    """What went wrong."""

    message: str = Field(examples=["There is no such account."])
    type: str = Field(examples=["not_found_error"])
    code: str = Field(examples=["account_not_found"])
    param: str | None = Field(examples=["token"])
    status: int = Field(examples=[404])


class ErrorAnswer(Told):
    """Every error of the gateway has this shape."""

    error: ErrorTold


class Success(Told):
    """It was done."""

    status: str = Field(default="success", examples=["success"])

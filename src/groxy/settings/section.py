"""What all tables of the settings file have in common.

In comes a table as it was read, out goes a frozen model. This module must not know any setting.
"""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A table of settings: frozen, strict, no unknown keys, and no input in error texts."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
        str_max_length=8192,
    )

from dataclasses import fields
from typing import Any

from groxy.app.parts import Parts


def test_what_may_be_left_out_is_off():
    defaults: dict[str, Any] = {field.name: field.default for field in fields(Parts)}

    assert defaults["has_public_statistics"]() is False
    assert not defaults["stripe"]().secret_key

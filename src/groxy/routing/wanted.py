"""What routing is asked for: one value for each request.

In: nothing. Out: `Wanted`. It must not decide anything.
"""

import msgspec

from groxy.core.preferences import NONE, Preferences


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A request as routing sees it."""

    model: str
    carriers: tuple[str, ...]
    """Dialects that can carry the request, best first."""
    has_tools: bool = False
    preferences: Preferences = NONE
    fallbacks: tuple[str, ...] = ()
    """Models to try when `model` has no account left."""
    conversation: str = ""
    """Key of the conversation; it already tells callers apart. Empty when there is none."""
    bound_by: str = ""
    """The field of the request that narrows `carriers`, for telling when nobody is left."""
    home: str = ""
    """Id of the account that served this conversation before, where that is known."""

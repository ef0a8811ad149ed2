"""Terms: what the operator laid down for an account, apart from who it is.

In: nothing. Out: `Terms`, as it stands in settings, in the store and in routing alike. 0 and empty
mean "nothing laid down". It must not know what is in use of it: that is routing's business.
"""

import re

import msgspec

MAX_TAGS = 10
MAX_TAG_CHARS = 64
MAX_WEIGHT = 1000
MAX_PRIORITY = 1000
_QUOTA = re.compile(r"(\d{1,12})/(?:(\d{1,7})([smhd])|(second|minute|hour|day))", re.ASCII)
_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class Terms(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the operator laid down for one account."""

    tags: tuple[str, ...] = ()
    """Words to find and prefer it by."""
    weight: int = 1
    """Its share of the work among others of its pool and priority, 1 to 1000."""
    priority: int = 0
    """Accounts of a higher one go first, within a pool; -1000 to 1000."""
    max_in_flight: int = 0
    """Requests at once; 0 is the gateway's own bound (setting `routing.max_in_flight`)."""
    models: tuple[str, ...] = ()
    """Models it may serve, by the id that is sent; `*` ends one that stands for many. () is all."""
    rpm: int = 0
    """Requests a minute; 0 is no bound of ours."""
    tpm: int = 0
    """Tokens a minute, read and written together; 0 is no bound of ours."""
    quotas: dict[str, str] = msgspec.field(default_factory=dict)
    """Requests in a window, by the mode of the model (`fast`): `"400/2h"`."""


NO_TERMS = Terms()


def read_quota(text: str) -> tuple[int, int]:
    """Return (requests, window in seconds) of a quota such as `400/2h`; `ValueError` otherwise."""
    found = _QUOTA.fullmatch(text.strip())
    if found is None:
        raise ValueError("must be requests in a window, such as 400/2h, 30/1d or 60/minute")
    count, number, unit, word = found.groups()
    window_s = _UNIT_S[word[0]] if word else int(number) * _UNIT_S[unit]
    if window_s == 0:
        raise ValueError("must have a window longer than nothing")
    return int(count), window_s


def fault_of(terms: Terms) -> tuple[str, str] | None:
    """Return (field, what is wrong with it) of terms that cannot be; None when all is well."""
    if len(terms.tags) > MAX_TAGS:
        return "tags", f"has {len(terms.tags)} tags; {MAX_TAGS} are the most"
    for tag in terms.tags:
        if not 0 < len(tag) <= MAX_TAG_CHARS or not tag.isprintable() or "," in tag:
            return "tags", f"has a tag that is no word of 1 to {MAX_TAG_CHARS} characters"
    for name, least, most in _BOUNDS:
        value: int = getattr(terms, name)
        if not least <= value <= most:
            return name, f"must be {least} to {most}"
    for pattern in terms.models:
        if not pattern.strip() or "*" in pattern[:-1]:
            return "models", "must be model ids; a `*` can only be the last character of one"
    for mode, quota in terms.quotas.items():
        try:
            read_quota(quota)
        except ValueError as error:
            return f"quotas.{mode}", str(error)
    return None


_BOUNDS = (
    ("weight", 1, MAX_WEIGHT),
    ("priority", -MAX_PRIORITY, MAX_PRIORITY),
    ("max_in_flight", 0, 1_000_000),
    ("rpm", 0, 1_000_000_000),
    ("tpm", 0, 1_000_000_000_000),
)

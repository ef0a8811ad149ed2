"""Grants: what the operator lets a key, a user and the users of a plan do, and for which money.

Values only, as they are stored and as policy reads them. Amounts are ticks, rates are a minute; 0,
None or nothing at all is no bound. What people type is checked
before it becomes one.
"""

import msgspec

ENDPOINTS = (
    "chat",
    "responses",
    "messages",
    "completions",
    "embeddings",
    "images",
    "videos",
    "files",
    "tokenize",
    "models",
    "account",
)
"""What a key may be bound to: groups of paths. `account` is looking at credits and usage."""


class Rates(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How much may pass."""

    requests: int = 0
    """A minute."""
    tokens: int = 0
    """A minute."""
    concurrency: int = 0
    """At once."""


class Caps(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How much a key may spend, in ticks; days, weeks (from Monday) and months are those of UTC."""

    day: int | None = None
    week: int | None = None
    month: int | None = None
    total: int | None = None


NO_CAPS = Caps()


class KeyGrant(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one key may do."""

    models: tuple[str, ...] = ()
    """Names that may be asked for; `*` stands for any characters. () is all."""
    endpoints: tuple[str, ...] = ()
    """Of `ENDPOINTS`; () is all."""
    ips: tuple[str, ...] = ()
    """Addresses and networks that may use it, such as `10.0.0.0/8`; () is all."""
    caps: Caps = NO_CAPS
    rates: Rates = Rates()
    tags: tuple[str, ...] = ()
    """The operator's or owner's own words; they change nothing."""
    is_provisioning: bool = False
    """True for a key that makes keys for its user (`/v1/keys`), and does nothing else."""


class UserGrant(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one user may do, beside what the plan says."""

    rates: Rates | None = None
    """In place of the plan's for each user."""
    overdraft: int = 0
    """How far the balance may fall below zero, in ticks: for users who pay afterwards."""
    alert_below: int | None = None
    """The balance, in ticks, below which the operator is told."""
    note: str = ""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """From which balance on rates are scaled, and how."""

    from_ticks: int
    percent: int
    """Of the rates: 50 halves them."""


class PlanGrant(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What users of a plan may do, and what they pay."""

    user_rates: Rates = Rates()
    """Of each user."""
    key_rates: Rates = Rates()
    """Of each key; what a key has of its own can only be less."""
    rates: Rates = Rates()
    """Of all its users together."""
    models: tuple[str, ...] = ()
    """As of keys."""
    markup_bp: int = 0
    """What is added to the cost, in hundredths of a percent; negative is a discount."""
    basis: str = "bill"
    """What the mark-up is added to: `bill`, the upstream's own bill where it gives one; or `list`,
    always the price list."""
    steps: tuple[Step, ...] = ()
    """Scales the rates of users and keys by the user's balance; lowest first."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A plan as requests need it."""

    id: str = ""
    name: str = ""
    grant: PlanGrant = PlanGrant()


NO_PLAN = Plan()
NO_USER = UserGrant()
ANY_KEY = KeyGrant()

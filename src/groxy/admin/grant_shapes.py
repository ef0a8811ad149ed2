"""What clients send and are told about users, keys and plans.

In: bodies. Out: pydantic models, grants made of them, and the way back. Amounts are US dollars as
text or plain numbers; every number that cannot be one is refused with the name of its field.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from msgspec.structs import replace
from pydantic import Field

from groxy.admin.shapes import Given, Told
from groxy.core.amounts import read_usd, usd_text
from groxy.core.grants import Caps, KeyGrant, PlanGrant, Rates, Step, UserGrant
from groxy.policy.bounds import read_caps
from groxy.policy.grants import (
    MAX_CONCURRENCY,
    MAX_NOTE_CHARS,
    MAX_RATE,
    MAX_STEPS,
    checked_key_grant,
    checked_plan_grant,
    checked_user_grant,
)

_MAX_LIST = 1_000
_LEAST_MARKUP_BP, _MOST_MARKUP_BP = -10_000, 100_000

Count = Annotated[int, Field(strict=True, ge=0, le=MAX_RATE, examples=[60])]
Usd = Annotated[Any, Field(examples=["5.00"], description="US dollars, as text or a number.")]
Flag = Annotated[bool, Field(strict=True)]
Words = Annotated[list[Annotated[str, Field(max_length=1_024)]], Field(max_length=_MAX_LIST)]
Moment = Annotated[int, Field(strict=True, gt=0, lt=2**53, examples=[1_900_000_000_000])]
"""Unix milliseconds."""
AnId = Annotated[str, Field(max_length=64)]
Note = Annotated[str, Field(max_length=MAX_NOTE_CHARS)]


class RatesGiven(Given):
    """How much may pass; 0 is no limit. It is whole: what is left out is no limit."""

    requests: Count = Field(default=0, description="A minute.")
    tokens: Count = Field(default=0, description="A minute.")
    concurrency: int = Field(
        default=0, strict=True, ge=0, le=MAX_CONCURRENCY, description="At once."
    )

    def read(self) -> Rates:
        """Return the rates."""
        return Rates(requests=self.requests, tokens=self.tokens, concurrency=self.concurrency)


class CapsGiven(Given):
    """How much may be spent; null is no cap. It is whole, too."""

    day: Usd = None
    week: Usd = None
    month: Usd = None
    total: Usd = None

    def read(self) -> Caps:
        """Return the caps; raise BAD_REQUEST that names the amount."""
        return read_caps((self.day, self.week, self.month, self.total), "caps")


class RatesTold(Told):
    """How much may pass; 0 is no limit."""

    requests: int
    tokens: int
    concurrency: int


class CapsTold(Told):
    """Of a day, a week, a month, and in all, in US dollars."""

    day: str | None
    week: str | None
    month: str | None
    total: str | None


def told_rates(rates: Rates) -> RatesTold:
    """Return rates as they are told."""
    return RatesTold(requests=rates.requests, tokens=rates.tokens, concurrency=rates.concurrency)


def told_caps(caps: Caps) -> CapsTold:
    """Return caps as they are told."""
    amounts = {name: getattr(caps, name) for name in ("day", "week", "month", "total")}
    return CapsTold(
        **{name: None if ticks is None else usd_text(ticks) for name, ticks in amounts.items()}
    )


# ------------------------------------------------------------------------------------------ keys


class KeyGrantGiven(Given):
    """What a key may do. What is left out of a change stays as it is."""

    models: Words = Field(default=[], description="`*` stands for anything; none: all.")
    endpoints: Words = Field(default=[], description="Groups of paths; none: all.")
    ips: Words = Field(default=[], description="Addresses and networks; none: all.")
    caps: CapsGiven = Field(default_factory=CapsGiven)
    rates: RatesGiven = Field(default_factory=RatesGiven)
    tags: Words = Field(default=[], description="Your own words; they change nothing.")

    def read(self, before: KeyGrant, *, is_provisioning: bool = False) -> KeyGrant:
        """Return the grant that the one before becomes with what was sent."""
        sent = self.model_fields_set
        lists = {
            name: tuple(getattr(self, name))
            for name in ("models", "endpoints", "ips", "tags")
            if name in sent
        }
        grant = replace(
            before,
            **lists,
            caps=self.caps.read() if "caps" in sent else before.caps,
            rates=self.rates.read() if "rates" in sent else before.rates,
            is_provisioning=before.is_provisioning or is_provisioning,
        )
        return checked_key_grant(grant)


GRANT_FIELDS = frozenset(KeyGrantGiven.model_fields)


class KeyGiven(KeyGrantGiven):
    """A new key."""

    name: str = Field(max_length=1_024)
    user_id: AnId = Field(default="", description="Whose it is; empty: nobody's, it pays nothing.")
    role: Literal["caller", "operator"] = Field(
        default="caller", description="`operator`: it opens this API, and no other."
    )
    expires_at: Moment | None = None
    is_provisioning: Flag = Field(
        default=False, description="It makes keys for its user, and does nothing else."
    )


class KeyChangeGiven(KeyGrantGiven):
    """Changes of a key."""

    name: str = Field(default="", max_length=1_024)
    expires_at: Moment | None = None
    disabled: Flag = False


class RotationGiven(Given):
    """How a key is rotated."""

    grace_s: int = Field(
        default=0,
        strict=True,
        ge=0,
        le=90 * 86_400,
        description="For how many seconds the old secret works on.",
    )


# ----------------------------------------------------------------------------------------- users


class UserTermsGiven(Given):
    """What a user may do, beside the plan."""

    rates: RatesGiven | None = Field(default=None, description="Null: those of the plan.")
    overdraft: Usd = Field(default="0", description="How far the balance may fall below 0.")
    alert_below: Usd = Field(default=None, description="The operator is told below it.")
    note: Note = ""

    def read(self, before: UserGrant) -> UserGrant:
        """Return the grant that the one before becomes with what was sent."""
        sent = self.model_fields_set
        rates = None if self.rates is None else self.rates.read()
        grant = UserGrant(
            rates=rates if "rates" in sent else before.rates,
            overdraft=(
                read_usd(self.overdraft, "overdraft") if "overdraft" in sent else before.overdraft
            ),
            alert_below=self._alert() if "alert_below" in sent else before.alert_below,
            note=self.note if "note" in sent else before.note,
        )
        return checked_user_grant(grant)

    def _alert(self) -> int | None:
        return None if self.alert_below is None else read_usd(self.alert_below, "alert_below")


TERMS_FIELDS = frozenset(UserTermsGiven.model_fields)


class UserGiven(UserTermsGiven):
    """A new user."""

    name: str = Field(max_length=1_024)
    email: str | None = Field(default=None, max_length=1_024)
    role: Literal["admin", "user"] = "user"
    plan_id: AnId = Field(default="", description="Empty: the default plan.")
    password: str = Field(default="", max_length=4_096, description="Empty: none can log in.")


class UserChangeGiven(UserTermsGiven):
    """Changes of a user."""

    name: str = Field(default="", max_length=1_024)
    email: str | None = Field(default=None, max_length=1_024)
    role: Literal["admin", "user"] = "user"
    plan_id: AnId = ""
    status: Literal["active", "disabled"] = "active"


class PasswordGiven(Given):
    """A new password."""

    password: str = Field(max_length=4_096)


# ----------------------------------------------------------------------------------------- plans


class StepGiven(Given):
    """From which balance on rates are scaled."""

    from_usd: Usd
    percent: int = Field(strict=True, ge=1, le=1_000, examples=[50])


class StepTold(Told):
    """From which balance on rates are scaled."""

    from_usd: str
    percent: int


class PlanGrantGiven(Given):
    """What a plan's users may do and pay. What is left out of a change stays as it is."""

    user_rates: RatesGiven = Field(default_factory=RatesGiven, description="Of each user.")
    key_rates: RatesGiven = Field(
        default_factory=RatesGiven, description="Of each key that has none of its own."
    )
    rates: RatesGiven = Field(default_factory=RatesGiven, description="Of all users together.")
    models: Words = Field(default=[], description="`*` stands for anything; none: all.")
    markup_bp: int = Field(
        default=0,
        strict=True,
        ge=_LEAST_MARKUP_BP,
        le=_MOST_MARKUP_BP,
        description="Added to the cost, in hundredths of a percent; negative: a discount.",
        examples=[2000],
    )
    basis: Literal["bill", "list"] = "bill"
    steps: list[StepGiven] = Field(default=[], max_length=MAX_STEPS)

    def read(self, before: PlanGrant) -> PlanGrant:
        """Return the grant that the one before becomes with what was sent."""
        sent = self.model_fields_set
        grant = PlanGrant(
            user_rates=self.user_rates.read() if "user_rates" in sent else before.user_rates,
            key_rates=self.key_rates.read() if "key_rates" in sent else before.key_rates,
            rates=self.rates.read() if "rates" in sent else before.rates,
            models=tuple(self.models) if "models" in sent else before.models,
            markup_bp=self.markup_bp if "markup_bp" in sent else before.markup_bp,
            basis=self.basis if "basis" in sent else before.basis,
            steps=_steps(self.steps) if "steps" in sent else before.steps,
        )
        return checked_plan_grant(grant)


PLAN_FIELDS = frozenset(PlanGrantGiven.model_fields)


class PlanGiven(PlanGrantGiven):
    """A new plan."""

    name: str = Field(max_length=1_024)
    is_default: Flag = False


class PlanChangeGiven(PlanGrantGiven):
    """Changes of a plan."""

    name: str = Field(default="", max_length=1_024)


def _steps(given: Sequence[StepGiven]) -> tuple[Step, ...]:
    return tuple(
        Step(from_ticks=read_usd(one.from_usd, f"steps.{number}.from_usd"), percent=one.percent)
        for number, one in enumerate(given)
    )


def told_steps(steps: Sequence[Step]) -> list[StepTold]:
    """Return steps as they are told."""
    return [StepTold(from_usd=usd_text(step.from_ticks), percent=step.percent) for step in steps]

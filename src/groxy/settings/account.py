"""One account of the settings file: who serves, with which credential, on which terms.

In comes one `[[accounts]]` table, out goes a frozen `AccountSettings`. What the terms mean is in
`core.terms`; this module must not check what only an upstream knows, such as its options.
"""

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from groxy.core.terms import MAX_PRIORITY, MAX_WEIGHT, Terms
from groxy.settings import rules
from groxy.settings.rules import Shown
from groxy.settings.section import Section

_MAX_RPM = 1_000_000_000
_MAX_TPM = 1_000_000_000_000


class AccountSettings(Section):
    """One credential at one upstream.

    After loading, `api_key` also holds what `api_key_env` or `api_key_file` led to.
    """

    name: rules.AccountName = Field(description="Your name for the account; each only once.")
    upstream: rules.UpstreamName = Field(
        description='Who serves it: "xai", "openrouter", "cometapi", "cloudflare", '
        '"openai_compatible", "sandbox" or one that was added.'
    )
    api_key: Annotated[rules.Key | None, Shown("text", secret=True)] = Field(
        default=None,
        description="The credential. Give at most one of the three `api_key` settings.",
    )
    api_key_env: Annotated[rules.VariableName | None, Shown("a variable's name")] = Field(
        default=None, description="Environment variable that holds the credential."
    )
    api_key_file: Annotated[rules.FileName | None, Shown("a file name")] = Field(
        default=None,
        description="File that holds the credential; relative to the settings file's folder.",
    )
    base_url: Annotated[rules.BaseUrl | None, Shown("an http(s) URL")] = Field(
        default=None, description="Address to use instead of the upstream's own."
    )
    proxy_url: Annotated[rules.ProxyUrl | None, Shown("a proxy's URL", secret=True)] = Field(
        default=None,
        description="Proxy through which the account's requests go: http, https, socks5, socks5h "
        "or socks4. User and password stand in the URL.",
    )
    pool: rules.Pool = Field(
        default="heavy", description='Tier of the account; "heavy" may serve every model.'
    )
    tags: rules.Words = Field(
        default=(), description="Words of your own, to find and prefer the account by; 10 at most."
    )
    weight: Annotated[int, Field(ge=1, le=MAX_WEIGHT)] = Field(
        default=1,
        description="The account's share of the work among others of its pool and priority.",
    )
    priority: Annotated[int, Field(ge=-MAX_PRIORITY, le=MAX_PRIORITY)] = Field(
        default=0, description="Accounts of a higher priority go first within their pool."
    )
    max_in_flight: rules.InFlight = Field(
        default=0, description="Requests at once; 0 is what `routing.max_in_flight` says."
    )
    models: rules.Words = Field(
        default=(),
        description="Models that the account may serve, by the id that its upstream is asked for; "
        "`*` at the end stands for anything. Empty: all that the upstream has.",
    )
    rpm: Annotated[int, Field(ge=0, le=_MAX_RPM)] = Field(
        default=0, description="Requests a minute; 0 is no bound of ours."
    )
    tpm: Annotated[int, Field(ge=0, le=_MAX_TPM)] = Field(
        default=0, description="Tokens a minute, read and written together; 0 is no bound of ours."
    )
    quotas: Annotated[
        Mapping[str, str], BeforeValidator(rules.read_table), Shown("a table of text")
    ] = Field(
        default={},
        description='Requests in a window, by the mode of the model, such as `fast = "400/2h"`. '
        "They come before those of the pool in `routing.quotas`.",
    )
    options: dict[str, rules.Option] = Field(
        default={}, description="Further fields that the upstream declares. All are text."
    )

    @model_validator(mode="after")
    def _has_one_credential_at_most(self) -> Self:
        names = ("api_key", "api_key_env", "api_key_file")
        given = [name for name in names if getattr(self, name) is not None]
        if len(given) > 1:
            message = f"has {' and '.join(given)}; keep one of them"
            raise ValueError(message)
        return self

    def option_values(self) -> dict[str, str]:
        """Return the options unmasked, for the upstream that declared them."""
        return {name: value.reveal() for name, value in self.options.items()}

    def terms(self) -> Terms:
        """Return what the account may do, as routing takes it."""
        return Terms(
            tags=self.tags,
            weight=self.weight,
            priority=self.priority,
            max_in_flight=self.max_in_flight,
            models=self.models,
            rpm=self.rpm,
            tpm=self.tpm,
            quotas=dict(self.quotas),
        )

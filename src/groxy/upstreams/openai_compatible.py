"""Any server that speaks OpenAI's dialects: llama.cpp, vLLM, LiteLLM, another Groxy.

The account says where it is, and may say which dialects it speaks and that it fetches no URLs.
Nothing of a request is changed: what such a server takes is known to its operator only.
"""

from groxy.upstreams._base import (
    ANTHROPIC_RATES,
    DIALECTS_FIELD,
    OPENAI_RATES,
    PLAIN_RATES,
    AccountField,
    Credentials,
    Upstream,
    dialects_named,
)


class OpenaiCompatible(Upstream):
    """A server known by its address alone."""

    name = "openai_compatible"
    title = "OpenAI-compatible server"
    dialects = ("chat", "completions", "embeddings")
    # Most such servers make no pictures; those that do are told by the option `dialects`.
    makes = frozenset({"images", "edits", "videos"})
    needs_key = False
    files_path = "/files"
    # Such a server may be a relay to anybody, and pass on that one's headers.
    rate_styles = (OPENAI_RATES, PLAIN_RATES, ANTHROPIC_RATES)
    account_fields = (
        DIALECTS_FIELD,
        AccountField(
            name="fetches_urls",
            help="no: it cannot fetch the pictures that requests name by URL, so Groxy does.",
            choices=("yes", "no"),
        ),
    )

    def dialects_of(self, account: Credentials) -> tuple[str, ...]:
        """Return what the account names, or what most servers speak."""
        return dialects_named(account, self.dialects)

    def fetches_urls(self, account: Credentials) -> bool:
        """Return what the account says; most servers do."""
        return account.options.get("fetches_urls") != "no"

    def address(self, account: Credentials) -> str:
        """Return where it is; raise `ValueError` when the account names a strange dialect."""
        self.dialects_of(account)
        return super().address(account)


UPSTREAM = OpenaiCompatible()

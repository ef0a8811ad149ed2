"""Rules that span several settings.

In come settings whose values are each right on their own, out go the problems they have together.
This module must not change a value.
"""

import re
from collections.abc import Iterator

from groxy.core.terms import fault_of, read_quota
from groxy.settings.problems import Problem
from groxy.settings.rules import is_loopback
from groxy.settings.schema import Path, dotted
from groxy.settings.sections import Settings
from groxy.settings.sources import Draft

_MODE = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_POOL_AND_MODE = re.compile(rf"(basic|super|heavy)\.{_MODE.pattern}")


def check_together(settings: Settings, draft: Draft) -> list[Problem]:
    """Return every combination that must not be started."""
    found = [
        *_open_mode(settings),
        *_operator_key(settings),
        *_workers(settings),
        *_aliases(settings),
        *_quotas(settings),
        *_terms(settings),
        *_rests(settings),
        *_statuses(settings),
        *_payments(settings),
    ]
    problems = [
        Problem(draft.source_of(path).where(path), dotted(path), text) for path, text in found
    ]
    return problems + _repeated_names(settings, draft)


def _open_mode(settings: Settings) -> Iterator[tuple[Path, str]]:
    host = settings.server.host
    if settings.app.is_open and not is_loopback(host) and not settings.app.allow_open_network:
        text = (
            f"is empty (open mode) while server.host is {host}: everyone who reaches this machine "
            "could spend your credits. Give app.api_key a value, set server.host to 127.0.0.1, "
            "or set app.allow_open_network = true."
        )
        yield ("app", "api_key"), text


def _operator_key(settings: Settings) -> Iterator[tuple[Path, str]]:
    if settings.app.app_key is not None and settings.app.app_key in (settings.app.api_key or ()):
        text = "is also in app.api_key, so every caller would be an operator; give it its own value"
        yield ("app", "app_key"), text


def _workers(settings: Settings) -> Iterator[tuple[Path, str]]:
    workers = settings.server.workers
    if workers == 1:
        return
    if settings.state.url.reveal().startswith("memory:"):
        text = (
            f"is {workers}, but state.url is memory://, which workers cannot share; "
            'set state.url = "redis://host:6379/0", or server.workers = 1'
        )
        yield ("server", "workers"), text
    if _is_in_memory(settings):
        text = (
            f"is {workers}, but store.url is a database in memory, which workers cannot share; "
            "name a file or a PostgreSQL database, or set server.workers = 1"
        )
        yield ("server", "workers"), text
    if settings.media.url.reveal().startswith("memory:"):
        text = (
            f"is {workers}, but media.url is memory://, which workers cannot share; "
            "name a folder or a bucket, or set server.workers = 1"
        )
        yield ("server", "workers"), text


def _is_in_memory(settings: Settings) -> bool:
    scheme, _, rest = settings.store.url.reveal().partition("://")
    file = rest.partition("?")[0].strip("/")
    return scheme.startswith("sqlite") and file in {"", ":memory:"}


def _aliases(settings: Settings) -> Iterator[tuple[Path, str]]:
    for name, target in settings.aliases.items():
        if text := _fault_of_alias(name, target, settings):
            yield ("aliases", name), text


def _fault_of_alias(name: str, target: str, settings: Settings) -> str:
    """Return what is wrong with an alias, in words that follow its name; empty when nothing is."""
    if not name.strip():
        return "has no name; write the name that callers use in front of the equals sign"
    if "*" in name[:-1]:
        return "has a `*` before its end; a `*` can only be the last character of an alias"
    if not target.strip():
        return "is empty; name the model that this alias stands for"
    if "*" in target:
        return "has a `*` in it; name one model"
    if target in settings.aliases and target != name:
        return f'is "{target[:64]}", which is an alias itself; name the model instead'
    return ""


def _quotas(settings: Settings) -> Iterator[tuple[Path, str]]:
    for name, quota in settings.routing.quotas.items():
        path = ("routing", "quotas", name)
        if not _POOL_AND_MODE.fullmatch(name):
            yield path, 'is no pool and mode; write "basic.", "super." or "heavy." and a word'
            continue
        try:
            read_quota(quota)
        except ValueError as error:
            yield path, str(error)


def _terms(settings: Settings) -> Iterator[tuple[Path, str]]:
    for index, account in enumerate(settings.accounts):
        for mode in account.quotas:
            if not _MODE.fullmatch(mode):
                text = 'is no mode; write a word in lower-case letters, such as "fast"'
                yield ("accounts", index, "quotas", mode), text
        if fault := fault_of(account.terms()):
            field, text = fault
            # A mode may hold dots, a field does not.
            yield ("accounts", index, *field.split(".", 1)), text


def _rests(settings: Settings) -> Iterator[tuple[Path, str]]:
    """Pauses and rests that grow cannot begin longer than they may become."""
    for section, first, longest in (
        ("attempts", "backoff_s", "backoff_max_s"),
        ("cooling", "limited_s", "limited_max_s"),
        ("cooling", "down_s", "down_max_s"),
    ):
        values = getattr(settings, section)
        start, end = getattr(values, first), getattr(values, longest)
        if start > end:
            text = f"is {end:g}, less than {section}.{first} ({start:g}); raise it, or lower that"
            yield (section, longest), text


def _statuses(settings: Settings) -> Iterator[tuple[Path, str]]:
    attempts = settings.attempts
    both = sorted(set(attempts.also_rotate_on) & set(attempts.never_rotate_on))
    if both:
        text = f"holds {both[0]}, as attempts.also_rotate_on does; take it out of one of them"
        yield ("attempts", "never_rotate_on"), text


def _payments(settings: Settings) -> Iterator[tuple[Path, str]]:
    billing = settings.billing
    key, signing = ("stripe_secret_key", "stripe_webhook_secret")
    for given, missing in ((key, signing), (signing, key)):
        if getattr(billing, given) is not None and getattr(billing, missing) is None:
            text = f"is not set, but billing.{given} is; set both, or remove both (no payments)"
            yield ("billing", missing), text
    if billing.stripe_secret_key is not None and not billing.stripe_success_url:
        text = "is empty; name the page to which Stripe sends a user who has paid"
        yield ("billing", "stripe_success_url"), text
    if billing.most_topup_usd < billing.least_topup_usd:
        text = (
            f"is {billing.most_topup_usd}, less than billing.least_topup_usd "
            f"({billing.least_topup_usd}); raise it, or lower that"
        )
        yield ("billing", "most_topup_usd"), text
    if billing.low_balance_url.reveal() and billing.low_balance_secret is None:
        text = "is not set, but billing.low_balance_url is; whoever listens there checks with it"
        yield ("billing", "low_balance_secret"), text


def _repeated_names(settings: Settings, draft: Draft) -> list[Problem]:
    problems: list[Problem] = []
    first_of: dict[str, int] = {}
    for index, account in enumerate(settings.accounts):
        first = first_of.setdefault(account.name.casefold(), index)
        if first != index:
            path = ("accounts", index, "name")
            where = draft.source_of(path).where(path)
            text = (
                f'is "{account.name}", like accounts.{first}.name; give each account its own name'
            )
            problems.append(Problem(where, dotted(path), text))
    return problems

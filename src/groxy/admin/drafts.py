"""What is wanted of accounts, read: drafts of new ones, and changes of those that are there.

In: credentials and objects as clients send them. Out: drafts and changes that may be stored, or
BAD_REQUEST that names the field. It must not store anything, and repeats no credential.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from pydantic import ValidationError

from groxy.admin.desk import Desk
from groxy.admin.errors import complaint_of
from groxy.admin.selection import normalised
from groxy.admin.token_shapes import (
    MAX_NAME_CHARS,
    MAX_TOKEN_CHARS,
    EditToken,
    PatchToken,
    PlaceFields,
    TermFields,
    TokenDraft,
    refused,
)
from groxy.core.errors import GroxyError
from groxy.core.terms import NO_TERMS, Terms, fault_of
from groxy.routing.account import Account
from groxy.store.accounts import AccountChange, AccountDraft
from groxy.upstreams import discover
from groxy.upstreams._guess import guess_upstream

_TERMS = tuple(TermFields.model_fields)
_MASK = "..."


@dataclass(frozen=True, slots=True, kw_only=True)
class Usual:
    """What goes for each account of a request that does not say otherwise."""

    upstream: str = ""
    pool: str = "heavy"
    place: PlaceFields | None = None
    terms: Terms = NO_TERMS


def usual_of(given: PlaceFields | None, *, upstream: str = "", pool: str = "") -> Usual:
    """Return what a request lays down for all of its accounts."""
    return Usual(
        upstream=upstream, pool=pool or "heavy", place=given, terms=terms_of(given, NO_TERMS)
    )


def located(error: GroxyError, place: str) -> GroxyError:
    """Return an error of a part as one of the whole: `place` comes before its field."""
    param = f"{place}.{error.param}" if error.param else place
    return GroxyError(error.kind, error.message, param=param, code=error.code)


def draft_of(desk: Desk, item: object, usual: Usual) -> AccountDraft:
    """Return the draft that a credential or an object (`TokenDraft`) means.

    Raises BAD_REQUEST, with the field as `param`; codes `token_too_long`, `unknown_upstream`.
    """
    given = _item_of(item)
    token = read_token(given.token)
    upstream = given.upstream or usual.upstream
    if not upstream:
        upstream = guess_upstream(token) or ""
    if not upstream:
        message = (
            "Nothing tells which upstream this credential belongs to. Name it in `upstream`: "
            f"{', '.join(discover())}."
        )
        raise refused(message, param="upstream", code="unknown_upstream")
    return _checked(
        desk,
        AccountDraft(
            upstream=upstream,
            api_key=token,
            name=_name(given.name or ""),
            pool=given.pool or usual.pool,
            base_url=_place(given, usual, "base_url") or "",
            proxy_url=_place(given, usual, "proxy_url") or "",
            options=_options({}, _place(given, usual, "options")),
            terms=terms_of(given, usual.terms),
        ),
    )


def read_token(text: str, param: str = "token") -> str:
    """Return a credential as it is stored; raise for what can be none."""
    token = normalised(text)
    if len(token) > MAX_TOKEN_CHARS:
        message = f"A token has {MAX_TOKEN_CHARS} characters at most."
        raise refused(message, param=param, code="token_too_long")
    if _MASK in token:
        message = "This credential is masked. Send the whole one (export with `secrets=true`)."
        raise refused(message, param=param)
    return token


def terms_of(given: TermFields | None, before: Terms) -> Terms:
    """Return `before` with what was given; null takes a term back to the usual."""
    if given is None:
        return before
    changes: dict[str, Any] = {}
    for name in _TERMS:
        if name in given.model_fields_set:
            value = getattr(given, name)
            value = getattr(NO_TERMS, name) if value is None else value
            changes[name] = tuple(value) if isinstance(value, list) else value
    if not changes:
        return before
    terms = msgspec.structs.replace(before, **changes)
    fault = fault_of(terms)
    if fault is not None:
        raise refused(f"`{fault[0]}` {fault[1]}.", param=fault[0])
    return terms


def change_of(desk: Desk, account: Account, given: EditToken | PatchToken) -> AccountChange:
    """Return the change of an account that was asked for; fields that stay are None in it.

    Raises BAD_REQUEST where the account would lack what its upstream needs.
    """
    said, own = given.model_fields_set, account.credentials
    token = read_token(given.token or "") if isinstance(given, EditToken) else ""
    if "name" in said and not (given.name or "").strip():
        raise refused("`name` cannot be empty. Leave it out to keep the name.", param="name")
    wanted = _checked(
        desk,
        AccountDraft(
            upstream=account.upstream.name,
            api_key=token or own.api_key,
            name=_name(given.name or account.name),
            pool=given.pool or account.pool.value,
            base_url=(given.base_url or "") if "base_url" in said else own.base_url,
            proxy_url=(given.proxy_url or "") if "proxy_url" in said else account.proxy_url,
            options=_options(own.options, given.options) if "options" in said else own.options,
            terms=terms_of(given, account.terms),
        ),
    )
    return AccountChange(
        account_id=account.id,
        name=_other(wanted.name, account.name),
        pool=_other(wanted.pool, account.pool.value),
        base_url=_other(wanted.base_url, own.base_url),
        proxy_url=_other(wanted.proxy_url, account.proxy_url),
        api_key=_other(wanted.api_key, own.api_key),
        options=wanted.options if dict(wanted.options) != dict(own.options) else None,
        terms=wanted.terms if wanted.terms != account.terms else None,
    )


def _checked(desk: Desk, draft: AccountDraft) -> AccountDraft:
    try:
        return desk.checked(draft)
    except GroxyError as error:
        # Settings name their section where several fields are at fault together.
        param = None if error.param == "accounts" else error.param
        raise GroxyError(error.kind, error.message, param=param, code=error.code) from None


def is_change(change: AccountChange) -> bool:
    """True when anything would change."""
    return change != AccountChange(account_id=change.account_id)


def _name(text: str) -> str:
    name = text.strip()
    if len(name) > MAX_NAME_CHARS or not name.isprintable():
        message = f"`name` must be words of {MAX_NAME_CHARS} characters at most, on one line."
        raise refused(message, param="name")
    return name


def _other(new: str, old: str) -> str | None:
    return new if new != old else None


def _item_of(item: object) -> TokenDraft:
    if isinstance(item, str):
        return TokenDraft.model_construct(token=item)
    if not isinstance(item, dict):
        raise refused("An account is a credential, or an object with `token`.", param="")
    try:
        return TokenDraft.model_validate(item)
    except ValidationError as error:
        raise complaint_of(error.errors(include_input=False, include_url=False)) from None


def _place(given: PlaceFields, usual: Usual, name: str) -> Any:  # noqa: ANN401 - text or options
    value = getattr(given, name)
    if value is None and name not in given.model_fields_set and usual.place is not None:
        return getattr(usual.place, name)
    return value


def _options(before: Mapping[str, str], given: Mapping[str, str | None] | None) -> dict[str, str]:
    """Return options with what was given; null takes one out."""
    after: dict[str, str | None] = {**before, **(given or {})}
    for name, value in (given or {}).items():
        if value is not None and not value.isprintable():
            message = f"`options.{name[:64]}` must be one line of text without control characters."
            raise refused(message, param=f"options.{name[:64]}")
    return {name: value for name, value in after.items() if value is not None}

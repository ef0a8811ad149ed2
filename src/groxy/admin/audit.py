"""The audit: who changed what, how it was before and after; and GET /admin/api/audit.

In: what an endpoint changed, or tried to. Out: a line in the store, and one in the log. Secrets are
the endpoints' business to leave out; what looks like one all the same is masked here. Long lists
are cut, and their length is told.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field

from groxy.admin.access import Operator
from groxy.admin.desk import Desk
from groxy.admin.shapes import Told
from groxy.observe.logs import get_logger
from groxy.store.audit import AuditEntry, AuditLine, list_audit, write_audit
from groxy.store.database import Database

MASK = "*****"
_MOST_ITEMS = 100
_MOST_CHARS = 1_000
_MOST_DEPTH = 8
_SECRET_NAME = re.compile(
    r"(?:^|[._\-\s])(?:(?:api|app|secret|private|access)?[_-]?keys?|(?:\w+_)?tokens?|secret"
    r"|passw\w*|credentials?|authorization|cookies?|sso)$",
    re.IGNORECASE,
)
_KEY_LIKE = re.compile(
    r"\b(?:(?:sk|xai|adm|sso|eyJ)[-_=A-Za-z0-9][\w.\-=+/]{12,}|Bearer\s+[\w.\-+/=~]{6,})"
)
_USER_INFO = re.compile(r"(?<=://)[^/@\s]+(?=@)")
_HINT = re.compile(r"\S{0,8}(?:\.\.\.|…)\S{0,8}|\*+")
"""What masking leaves of a credential; it may be shown."""


class Auditor:
    """Writes down what operators do."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._log = get_logger("admin")

    async def note(
        self,
        actor: Operator,
        action: str,
        target: str,
        *,
        before: object = None,
        after: object = None,
    ) -> None:
        """Write down one act. Raises STORE_DOWN when that cannot be done: then tell no secret.

        `action` is what was done (`account.add`), `target` what it was done to (an account's id,
        or `12 accounts`), `before` and `after` what JSON has. A text under a name such as `token`
        or `api_key` is masked: name lists of ids `accounts`.
        """
        entry = AuditEntry(
            actor=f"{actor.name} ({actor.key_id})",
            action=action,
            target=without_secrets(target),
            before=without_secrets(before),
            after=without_secrets(after),
            request_id=actor.request_id,
        )
        # The log first: it tells of the act even if the store is gone.
        self._log.info(
            "operator acted",
            actor=entry.actor,
            action=action,
            target=entry.target,
            request=actor.request_id,
        )
        await write_audit(self._database, [entry])


def without_secrets(value: Any, name: str = "", depth: int = 0) -> Any:  # noqa: ANN401 - any JSON
    """Return `value` without what looks like a secret by name or form, and not too long."""
    if isinstance(value, str):
        return _text(value, name)
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth >= _MOST_DEPTH:
        return "…"
    if isinstance(value, Mapping):
        items = [(key, without_secrets(inner, str(key), depth + 1)) for key, inner in value.items()]
        return dict(_cut_items(items)) | _more(items)
    if isinstance(value, list | tuple | set | frozenset):
        parts = [without_secrets(inner, name, depth + 1) for inner in list(value)[:_MOST_ITEMS]]
        left = len(value) - len(parts)
        return [*parts, f"… and {left} more"] if left else parts
    return _text(str(value), name)


def _cut_items(items: list[tuple[Any, Any]]) -> list[tuple[str, Any]]:
    return [(str(key)[:_MOST_CHARS], inner) for key, inner in items[:_MOST_ITEMS]]


def _more(items: list[tuple[Any, Any]]) -> dict[str, str]:
    left = len(items) - _MOST_ITEMS
    return {"…": f"and {left} more"} if left > 0 else {}


def _text(text: str, name: str) -> str:
    if not text or _HINT.fullmatch(text):
        return text
    if _SECRET_NAME.search(name):
        return MASK
    masked = _USER_INFO.sub(MASK, _KEY_LIKE.sub(MASK, text))
    return masked if len(masked) <= _MOST_CHARS else masked[:_MOST_CHARS] + "…"


class Act(Told):
    """One act of an operator."""

    id: str = Field(examples=["aud_063f0c1b2a3d4e5f6a7b8c9d"])
    at: int = Field(description="When, in unix milliseconds.", examples=[1_790_000_000_000])
    actor: str = Field(description="Whose key it was.", examples=["settings (admin)"])
    action: str = Field(examples=["account.disable"])
    target: str = Field(examples=["acc_0123456789abcdef01234567"])
    before: Any = Field(default=None, description="How it was; no secrets.")
    after: Any = Field(default=None, description="How it is since; no secrets.")
    request_id: str = Field(description="The `x-request-id` of the request that did it.")


class AuditPage(Told):
    """Acts, newest first."""

    audit: list[Act]
    has_more: bool
    next: str | None = Field(description="Send it as `before` for the page that follows.")


def router(desk: Desk) -> APIRouter:
    """Return the endpoint that shows the audit."""
    routes = APIRouter(tags=["audit"])

    @routes.get("/audit", summary="What operators did, newest first")
    async def get_audit(
        before: Annotated[str, Query(max_length=64, description="An id; older ones follow.")] = "",
        limit: Annotated[int, Query(ge=1, le=499)] = 50,
        action: Annotated[str, Query(max_length=64, examples=["account.add"])] = "",
        target: Annotated[str, Query(max_length=256, description="An account's id, …")] = "",
    ) -> AuditPage:
        lines = await list_audit(
            desk.database, before=before, limit=limit + 1, action=action, target=target
        )
        page = lines[:limit]
        has_more = len(lines) > limit
        return AuditPage(
            audit=[_act(line) for line in page],
            has_more=has_more,
            next=page[-1].id if has_more else None,
        )

    return routes


def _act(line: AuditLine) -> Act:
    return Act(
        id=line.id,
        at=line.at_ms,
        actor=line.actor,
        action=line.action,
        target=line.target,
        before=line.before,
        after=line.after,
        request_id=line.request_id,
    )

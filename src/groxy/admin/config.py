"""The settings while the gateway runs: GET, PATCH and POST /config, GET /config/schema.

In: a nested patch. Out: the settings with secrets masked, and which of them changed. What may be
changed, and whether a value is right, is the settings' own business behind `desk.config`.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Body
from pydantic import Field

from groxy.admin.access import Actor, Operator
from groxy.admin.audit import Auditor
from groxy.admin.desk import Desk
from groxy.admin.shapes import Told
from groxy.admin.system import strategy_of

_EXAMPLE = {"routing": {"strategy": "random"}, "attempts": {"max_attempts": 4}}

Patch = Annotated[
    dict[str, Any],
    Body(
        description="Nested like the settings. null takes a change back, so that the settings file "
        "counts again. Secrets are masked when shown: leave them out to keep them.",
        examples=[_EXAMPLE],
    ),
]


class Setting(Told):
    """What is to be known of one setting."""

    name: str = Field(examples=["routing.strategy"])
    type: str
    default: Any = None
    help: str
    secret: bool
    start_only: bool = Field(description="True: change it in the settings file, and restart.")


class Schema(Told):
    """Every setting."""

    settings: list[Setting]


class Changed(Told):
    """What a patch changed. It is in force in every process within a second."""

    status: str = "success"
    message: str = Field(examples=["2 settings were changed."])
    selection_strategy: str = Field(examples=["random"])
    changed: list[str] = Field(examples=[["routing.strategy", "attempts.max_attempts"]])


def router(desk: Desk, auditor: Auditor) -> APIRouter:
    """Return the endpoints."""
    routes = APIRouter(tags=["config"])

    @routes.get("/config", summary="All settings in force; secrets are masked")
    async def get_config() -> dict[str, Any]:
        return desk.config.shown()

    @routes.get("/config/schema", summary="Name, type, default and help of each setting")
    async def get_schema() -> Schema:
        return Schema(settings=[Setting.model_validate(one) for one in desk.config.described()])

    @routes.patch("/config", summary="Change settings in every process, without a restart")
    async def patch_config(actor: Actor, patch: Patch) -> Changed:
        return await _change(desk, auditor, actor, patch)

    @routes.post("/config", summary="The same as PATCH")
    async def post_config(actor: Actor, patch: Patch) -> Changed:
        return await _change(desk, auditor, actor, patch)

    return routes


async def _change(desk: Desk, auditor: Auditor, actor: Operator, patch: dict[str, Any]) -> Changed:
    before, after = await desk.config.patch(patch)
    names = [name for name in after if before.get(name) != after[name]]
    # Sent again as it was, or a secret that looks the same when masked: it is noted all the same.
    if after:
        await auditor.note(actor, "config.change", ", ".join(after), before=before, after=after)
        # Keys too are those of the answer as soon as it is there: the old one must not work on.
        await desk.reload()
    count = len(names)
    return Changed(
        message=f"{count} setting{'' if count == 1 else 's'} {'was' if count == 1 else 'were'} "
        "changed.",
        selection_strategy=strategy_of(desk),
        changed=names,
    )

"""What tests of `groxy account` share: accounts, and an admin API that says what a test wants."""

import asyncio
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pytest

from groxy.cli.operator import AdminClient

ADDRESS = ("--upstream", "openai_compatible", "--base-url", "http://127.0.0.1:9/v1")
"""Where nobody answers."""


def shown(groxy, name: str) -> dict[str, Any]:
    """Return an account as `show --json` has it."""
    account: dict[str, Any] = json.loads(groxy("account", "show", name, "--json").stdout)
    return account


@dataclass
class Asked:
    """A request to the admin API."""

    method: str
    path: str
    body: Any
    query: Mapping[str, object]
    content_type: str


class PlayedDesk(AdminClient):
    """Answers with one thing after the other, and keeps what it was asked."""

    def __init__(self, *answers: Any, events: Iterable[Any] = (), is_alone: bool = False) -> None:
        self.answers = list(answers)
        self.events = list(events)
        self.asked: list[Asked] = []
        self.is_alone = is_alone

    async def call(self, method, path, *, body=None, query=None, content_type="application/json"):
        self.asked.append(Asked(method, path, body, query or {}, content_type))
        answer: dict[str, Any] = self.answers.pop(0)
        return answer

    async def follow(self, task_id):
        """Yield the events up to the end of a task; what follows is for the next one."""
        while self.events:
            event = self.events.pop(0)
            yield event
            if event["type"] in ("done", "error", "cancelled"):
                return


def seat(monkeypatch: pytest.MonkeyPatch, module: ModuleType, desk: PlayedDesk) -> PlayedDesk:
    """Let the commands of a module ask this desk."""
    monkeypatch.setattr(module, "at_desk", lambda way, work: asyncio.run(work(desk)))
    return desk


def told(**changes: Any) -> dict[str, Any]:
    """Return an account as the admin API tells of it, as far as a list shows it."""
    account: dict[str, Any] = {
        "name": "one",
        "upstream": "xai",
        "pool": "heavy",
        "base_url": "https://api.x.ai/v1",
        "origin": "store",
        "status": "active",
        "reason": "",
        "cooling": None,
        "tags": [],
    }
    return account | changes

"""Tasks of the admin API, followed to their end with a bar in the terminal.

In: the answer that names a task. Out: its last event. Whoever breaks off the command stops the
task.
"""

import asyncio
from contextlib import suppress

from groxy.cli.operator import AdminClient, Told, part
from groxy.core.errors import ErrorKind, GroxyError


async def followed(desk: AdminClient, started: Told, what: str) -> Told:
    """Return the last event of a task, `done` or `cancelled`; raise what it failed with."""
    # Here, because a command that follows nothing need not pay for it.
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress

    console = Console(stderr=True)
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    task_id: str = started["task_id"]
    last: Told = {}
    try:
        with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
            bar = progress.add_task(what, total=started["total"])
            async for event in desk.follow(task_id):
                progress.update(bar, completed=event.get("processed", 0))
                last = event
    except asyncio.CancelledError:
        with suppress(GroxyError):
            await desk.post(f"/batch/{part(task_id)}/cancel")
        raise
    if last["type"] == "error":
        raise GroxyError(ErrorKind.BAD_REQUEST, str(last.get("error") or "The task failed."))
    return last

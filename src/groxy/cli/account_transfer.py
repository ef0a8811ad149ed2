"""`groxy account import` and `export`: accounts by the ten thousand, from a file and into one.

In: JSON or lines of text. Out: what became of each line; or a file that only its owner may read.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import IO, Annotated, Literal

import typer

from groxy.cli.context import Config, DataDir, print_table
from groxy.cli.operator import AdminClient, AppKeyFile, AsJson, Told, Url, at_desk, counted, way_of
from groxy.cli.tasks import followed
from groxy.core.errors import ErrorKind, GroxyError
from groxy.routing.pools import Pool
from groxy.wire.json import encode

_TYPES = {".json": "application/json", ".txt": "text/plain"}

PoolGiven = Annotated[
    Pool | None, typer.Option("--pool", help="For those that do not say; else heavy.")
]


def import_accounts(
    file: Annotated[str, typer.Argument(help="JSON or text; - reads standard input.")],
    pool: PoolGiven = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be.")] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Add nothing when one line is bad.")
    ] = False,
    as_json: AsJson = False,
    url: Url = None,
    app_key_file: AppKeyFile = None,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Add accounts from a file: JSON as export writes it, or lines of text.

    A line has a key; an upstream may stand before it, and a name behind it.
    """
    way = way_of(url, app_key_file, config, data_dir)
    body = _read(file)
    media_type = _TYPES.get(Path(file).suffix.lower(), "application/octet-stream")
    query = {"dry_run": dry_run, "strict": strict, "pool": pool and pool.value}
    # A strict one that is refused is an answer, not a task that failed.
    query["async"] = not strict

    async def work(desk: AdminClient) -> Told:
        answer = await desk.call("POST", "/import", body=body, query=query, content_type=media_type)
        if "task_id" not in answer:
            return answer
        last = await followed(desk, answer, "Importing")
        return last.get("result") or {}

    done = at_desk(way, work)
    if as_json:
        typer.echo(encode(done).decode())
    else:
        _tell(done)
    if done.get("error_count") or done.get("cancelled"):
        raise typer.Exit(1)


def _read(file: str) -> bytes:
    try:
        body = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        message = f"{file} cannot be read: {error.strerror}."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param="file") from None
    if not body.strip():
        raise GroxyError(ErrorKind.BAD_REQUEST, f"There is no account in {file}.", param="file")
    return body


def _tell(done: Told) -> None:
    verb = "Would add" if done.get("dry_run") else "Added"
    typer.echo(f"{verb} {counted(done.get('added', 0), 'account')}.")
    if done.get("duplicate_count"):
        typer.echo(f"Already there: {done['duplicate_count']}.")
    faults = done.get("errors") or []
    if faults:
        rows = [(str(one["line"]), one["field"], one["message"]) for one in faults]
        print_table(("line", "field", "what is wrong"), rows)
        typer.echo(f"Not added: {counted(done['error_count'], 'bad line')}.")
    if done.get("cancelled"):
        typer.echo("The import was stopped before its end.")


def export_accounts(
    form: Annotated[Literal["json", "text"], typer.Option("--format")] = "json",
    secrets: Annotated[
        bool, typer.Option("--secrets", help="With credentials in clear text. It is noted.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A file, for its owner only.")
    ] = None,
    pool: Annotated[Pool | None, typer.Option("--pool")] = None,
    status: Annotated[str, typer.Option("--status")] = "",
    upstream: Annotated[str, typer.Option("--upstream")] = "",
    tag: Annotated[str, typer.Option("--tag")] = "",
    url: Url = None,
    app_key_file: AppKeyFile = None,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Write accounts as JSON, or as lines of text; credentials are masked unless --secrets."""
    way = way_of(url, app_key_file, config, data_dir)
    query = {
        "format": form,
        "secrets": secrets,
        "pool": pool and pool.value,
        "status": status,
        "upstream": upstream,
        "tag": tag,
    }

    with _opened(output) as file:

        async def work(desk: AdminClient) -> None:
            async with aclosing(desk.stream("/export", **query)) as pieces:
                async for piece in pieces:
                    file.write(piece)

        at_desk(way, work)


@contextmanager
def _opened(output: Path | None) -> Iterator[IO[bytes]]:
    """Open standard output, or a file with mode 0600 that takes its place once it is whole."""
    if output is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    if output.is_dir():
        message = f"{output} is a folder. Name a file in it."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param="output")
    try:
        descriptor, name = tempfile.mkstemp(dir=output.parent, prefix=f".{output.name}.")
    except OSError as error:
        message = f"{output} cannot be written: {error.strerror}."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param="output") from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
        Path(name).replace(output)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise

"""`groxy sandbox`: the sandbox as a server of its own, for applications and gateways to test with.

In: where to listen and how fast to answer. Out: nothing; it serves until told to stop. It reads no
settings and writes no file.
"""

from typing import Annotated

import typer

from groxy.cli.serve import check_port_is_free, print_once_open, run_loop, serve_asgi
from groxy.upstreams.sandbox.server import create_app
from groxy.wire.tokens import SplintrCounter

Host = Annotated[str, typer.Option(help="Address to listen on.")]
Port = Annotated[int, typer.Option(help="Port to listen on.")]
Pace = Annotated[
    float, typer.Option("--tokens-per-s", min=0, help="Pace of its answers; 0 is no limit.")
]


def sandbox(host: Host = "127.0.0.1", port: Port = 9001, tokens_per_s: Pace = 0.0) -> None:
    """Start a stand-alone sandbox: a fake Grok that answers, and fails as it is told to."""
    check_port_is_free(host, port)
    text = f"The sandbox answers at http://{host}:{port}/v1 as any model, with any key."
    print_once_open(text, host, port)
    serve_sandbox(host, port, tokens_per_s)


def serve_sandbox(host: str, port: int, tokens_per_s: float) -> None:
    """Serve the sandbox until SIGINT or SIGTERM."""
    SplintrCounter().load()
    run_loop(serve_asgi(create_app(tokens_per_s=tokens_per_s), host, port))

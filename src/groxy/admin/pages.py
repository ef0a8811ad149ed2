"""Pages that describe the admin API: /docs (Swagger UI) and /openapi.json.

In: a path. Out: files of the package swagger-ui-bundle, and the OpenAPI document, while the
operator's settings show them; NOT_FOUND otherwise. The browser loads nothing from elsewhere and
runs nothing that stands in the page itself. They need no key: they tell what the API is, nothing
of this gateway.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from swagger_ui_bundle import swagger_ui_path  # type: ignore[import-untyped]

from groxy.admin.application import schema_of
from groxy.admin.desk import Desk
from groxy.core.errors import ErrorKind, GroxyError
from groxy.wire.asgi import AsgiApp, Headers, Receive, Scope, Send
from groxy.wire.json import encode

DOCS = "/docs"
DOCUMENT = "/openapi.json"
_FILES: Mapping[str, tuple[str, bytes]] = {
    "/docs/swagger-ui-bundle.js": ("swagger-ui-bundle.js", b"text/javascript; charset=utf-8"),
    "/docs/swagger-ui.css": ("swagger-ui.css", b"text/css; charset=utf-8"),
    "/docs/favicon.png": ("favicon-32x32.png", b"image/png"),
}
_PAGE = b"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Groxy admin API</title>
<link rel="icon" href="docs/favicon.png">
<link rel="stylesheet" href="docs/swagger-ui.css">
<script src="docs/swagger-ui-bundle.js" defer></script>
<script src="docs/start.js" defer></script>
</head>
<body><div id="swagger-ui"></div></body>
</html>
"""
# The key that is typed in stays in the page's memory: `persistAuthorization` would store it.
_START = b"""window.addEventListener("DOMContentLoaded", function () {
  SwaggerUIBundle({
    url: "openapi.json",
    dom_id: "#swagger-ui",
    deepLinking: true,
    persistAuthorization: false,
    validatorUrl: null,
    presets: [SwaggerUIBundle.presets.apis],
    layout: "BaseLayout"
  });
});
"""
_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    b"img-src 'self' data:; font-src 'self' data:; connect-src 'self'; base-uri 'none'; "
    b"form-action 'none'; frame-ancestors 'none'"
)
_SECURITY: Headers = [
    (b"content-security-policy", _POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
]
_METHODS = "GET, HEAD"


def docs_app(desk: Desk) -> AsgiApp:
    """Return the application for `/docs`, `/docs/…` and `/openapi.json`."""
    return _Pages(desk)


class _Pages:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._document = b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        del receive
        path: str = scope["path"]
        if not self._desk.shows_docs():
            message = f"There is nothing at {path[:128]}. Setting admin.docs would show the pages."
            raise GroxyError(ErrorKind.NOT_FOUND, message)
        if scope["method"] not in ("GET", "HEAD"):
            scope["groxy.allow"] = _METHODS
            message = f"{scope['method'][:16]} is not allowed here. Use {_METHODS}."
            raise GroxyError(ErrorKind.WRONG_METHOD, message)
        body, content_type = await self._content(path)
        headers: Headers = [
            (b"content-type", content_type),
            (b"content-length", b"%d" % len(body)),
            (b"cache-control", b"max-age=3600" if path in _FILES else b"no-cache"),
            *_SECURITY,
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _content(self, path: str) -> tuple[bytes, bytes]:
        if path == DOCS:
            return _PAGE, b"text/html; charset=utf-8"
        if path == f"{DOCS}/start.js":
            return _START, b"text/javascript; charset=utf-8"
        if path == DOCUMENT:
            if not self._document:
                self._document = encode(schema_of(self._desk))
            return self._document, b"application/json"
        if path in _FILES:
            name, content_type = _FILES[path]
            return await asyncio.to_thread(Path(swagger_ui_path, name).read_bytes), content_type
        raise GroxyError(ErrorKind.NOT_FOUND, f"There is nothing at {path[:128]}.")

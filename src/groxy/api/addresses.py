"""Where a request came to: the beginning of links that its reply may have."""

import re

from groxy.wire.asgi import Scope, header

_HOST = re.compile(r"[A-Za-z0-9._~-]{1,255}(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,64}\](:[0-9]{1,5})?")


def base_url_of(scope: Scope) -> str:
    """Return scheme and host of a request, such as `http://127.0.0.1:8000`, without a slash.

    Empty where the request names no host that makes sense: links are relative then.
    """
    host = header(scope, b"host") or ""
    if not _HOST.fullmatch(host):
        return ""
    scheme = "https" if scope.get("scheme") == "https" else "http"
    return f"{scheme}://{host}{scope.get('root_path', '').rstrip('/')}"

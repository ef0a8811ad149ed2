"""POST /v1/auth/login and /v1/auth/logout: sessions for the console, and for programs.

In: an e-mail address and a password. Out: a token, in the body and in a cookie that no script can
read. Why a login fails is told to nobody: neither by words nor by time. Attempts are limited per
address of both kinds, over all processes. No password or token is logged.
"""

import time

import msgspec

from groxy.api.attempts import claim_attempt
from groxy.api.bodies import Shape
from groxy.api.owners import Registry
from groxy.api.replies import respond_unstored
from groxy.api.user import told_user
from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.moments import moment_text
from groxy.observe.logs import get_logger
from groxy.policy.sessions import COOKIE, TTL_MS, presented_session, refuse_other_sites
from groxy.store.sessions import close_session, log_in, purge_sessions
from groxy.store.users import check_password
from groxy.wire.asgi import Receive, Scope, Send
from groxy.wire.json import encode


class _Login(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    email: str
    password: str


_LOGIN = Shape(_Login)


class Auth:
    """Logs people in and out."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._log = get_logger("api")

    async def login(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request: a new session each time, whatever was presented."""
        registry = self._registry
        # Another site must not log a browser in as somebody else.
        refuse_other_sites(scope, registry.app_url(), unknown_is_ours=True)
        given = await _LOGIN.read(scope, receive)
        await claim_attempt(registry, scope, given.email)
        checked = await check_password(registry.database, given.email, given.password)
        token, now_ms = None, time.time_ns() // 1_000_000
        if checked is not None:
            await purge_sessions(registry.database, now_ms)
            token = await log_in(registry.database, registry.secret, checked, ttl_ms=TTL_MS)
        request = scope["groxy.request_id"]
        if checked is None or token is None:
            self._log.info("login refused", request=request)
            message = "E-mail or password is wrong, or the user cannot log in."
            raise GroxyError(ErrorKind.BAD_KEY, message, code="login_failed")
        self._log.info("logged in", user=checked.user.id, request=request)
        body = {
            "token": token,
            "expires_at": moment_text(now_ms + TTL_MS),
            "user": await told_user(registry, checked.user),
        }
        cookie = self._cookie(scope, token, TTL_MS // 1000)
        await respond_unstored(send, encode(body), [cookie])

    async def logout(self, scope: Scope, receive: Receive, send: Send) -> None:
        """End the session that is presented; one that is over already stays so."""
        del receive
        registry = self._registry
        token = presented_session(scope, registry.app_url())
        if token is None:
            message = "Nobody is logged in: there is nothing to end."
            raise GroxyError(ErrorKind.BAD_KEY, message, code="invalid_session")
        await close_session(registry.database, registry.secret, token)
        await respond_unstored(send, encode({"status": "success"}), [self._cookie(scope, "", 0)])

    def _cookie(self, scope: Scope, token: str, age_s: int) -> tuple[bytes, bytes]:
        is_secure = scope.get("scheme") == "https" or self._registry.app_url().startswith("https:")
        secure = "; Secure" if is_secure else ""
        value = f"{COOKIE}={token}; Path=/; Max-Age={age_s}; HttpOnly; SameSite=Lax{secure}"
        return (b"set-cookie", value.encode())

"""What the sandbox tells who asks for no answer: of its models, of a key, of the key's files.

In: method and path, the key, and the `Turn` that it meets. Out: replies as values for JSON; what
cannot be answered is a `GroxyError`. It also takes the scripts of keys, at `/faults`. Must not know
dialects.
"""

from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl, unquote

import msgspec

from groxy.core.errors import ErrorKind, GroxyError
from groxy.upstreams.sandbox.account import key_of_openrouter, key_of_xai, redacted
from groxy.upstreams.sandbox.brain import CREATED
from groxy.upstreams.sandbox.faults import read_script
from groxy.upstreams.sandbox.keys import ANY_KEY, Keys, Turn
from groxy.wire.json import decode_request

DEFAULT_MODELS = (
    "grok-4.7",
    "grok-4.3",
    "grok-4.20-reasoning",
    "grok-4.20-non-reasoning",
    "grok-imagine-image",
    "grok-imagine-image-2.0",
    "grok-imagine-video",
    "grok-imagine-video-1.5",
    "grok-imagine-video-1.5-lite",
)
"""What the list shows when no models are given; every other one is answered as well."""
FAULTS = "/faults"
_FILES = "/files"

Told = dict[str, Any]


class _NewScript(msgspec.Struct):
    """The body of PUT /faults."""

    key: str
    script: str = ""


_script_decoder = msgspec.json.Decoder(_NewScript)


class Desk:
    """Answers questions. `models` are all that the sandbox serves; none means any."""

    def __init__(self, keys: Keys, models: Sequence[str] = ()) -> None:
        self._keys = keys
        self._models = tuple(models)
        self._known = frozenset(models)

    def check(self, model: str) -> str:
        """Return a model's id; raise UNKNOWN_MODEL when the sandbox does not serve it."""
        if self._known and model not in self._known:
            raise GroxyError(
                ErrorKind.UNKNOWN_MODEL,
                f"The model {model[:100]} does not exist or your team does not have access to it.",
            )
        return model

    def tell(self, method: str, path: str, key: str, turn: Turn) -> Told:
        """Return what there is at `path`; raise NOT_FOUND, WRONG_METHOD, UNKNOWN_MODEL."""
        plain = plain_path(path)
        if plain == _FILES or plain.startswith(f"{_FILES}/"):
            return self._files(method, path, key, turn.script.files)
        if method != "GET":
            raise wrong_method(method)
        if plain.startswith("/models/"):
            return _model(self.check(plain.removeprefix("/models/")))
        match plain:
            case "/models":
                models = turn.script.models or self._models or DEFAULT_MODELS
                return {"object": "list", "data": [_model(name) for name in models]}
            case "/api-key":
                return key_of_xai(key, turn)
            case "/key":
                return key_of_openrouter(turn, read_script(turn.words))
            case _:
                raise no_such_path()

    def switch(self, method: str, body: bytes) -> Told:
        """Give a key a script (PUT), forget all (DELETE), and return the keys that have one.

        Raises BAD_REQUEST for a script that cannot be, BAD_JSON, WRONG_METHOD.
        """
        match method:
            case "PUT":
                asked = decode_request(body, _script_decoder)
                self._keys.put(asked.key, asked.script)
            case "DELETE":
                self._keys.clear()
            case "GET":
                pass
            case _:
                raise wrong_method(method)
        listed = [
            {"key": key if key in ("", ANY_KEY) else redacted(key), "requests": count}
            for key, count in self._keys.requests()
        ]
        return {"object": "list", "data": listed}

    def _files(self, method: str, path: str, key: str, count: int) -> Told:
        file_id = unquote(plain_path(path).removeprefix(_FILES).removeprefix("/"))
        shelf = self._keys.shelf
        if method == "GET" and not file_id:
            return shelf.page(key, count, dict(parse_qsl(path.partition("?")[2])))
        if method == "GET":
            return shelf.file(key, count, file_id)
        if method == "DELETE" and file_id:
            return shelf.delete(key, count, file_id)
        raise wrong_method(method)


def plain_path(path: str) -> str:
    """Return a path without its query, `/api` and `/v1`."""
    path = path.partition("?")[0].rstrip("/")
    if path.startswith("/api/"):
        path = path.removeprefix("/api")
    return path.removeprefix("/v1")


def wrong_method(method: str) -> GroxyError:
    """Return the error for a path that is there, but not for this method."""
    return GroxyError(ErrorKind.WRONG_METHOD, f"{method} is not allowed here.")


def no_such_path() -> GroxyError:
    """Return the error for a path that is not there."""
    return GroxyError(ErrorKind.NOT_FOUND, "The sandbox has no such path.")


def _model(name: str) -> Told:
    return {"id": name, "object": "model", "created": CREATED, "owned_by": "xai"}

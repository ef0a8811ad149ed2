"""Completions requests: what a caller sends, checked; what goes upstream; the canonical form.

Checks types and ranges and names the field at fault; everything it does not know it keeps.
`max_tokens` has no default here: OpenAI's 16 cuts nearly every answer short, so the upstream's
applies. In the canonical form the prompt is one message of a user.
"""

import re
from typing import Annotated

import msgspec
from msgspec import Meta, Raw

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.parts import Text
from groxy.core.request import Message, Options, Request, Role
from groxy.dialects._base import Asked, OutputBound
from groxy.dialects._bounds import lowered, most_in, open_body
from groxy.wire.json import Fields, decode_request as decode_json, encode

_SEVERAL_CHOICES = ("completions", "chat")
_MAX_PROMPTS = 128
_CHOICES = ("n", "best_of")
_TOKENS = ("max_tokens",)
_Penalty = Annotated[float, Meta(ge=-2, le=2)]

_HAS_A_PLACE = frozenset(
    {
        "best_of",  # never more than `n`, which is all that it says then
        "echo",
        "frequency_penalty",
        "max_tokens",
        "model",
        "n",
        "presence_penalty",
        "prompt",
        "seed",
        "stop",
        "stream",
        "stream_options",
        "suffix",
        "temperature",
        "top_p",
        "user",
    }
)
_SAYS_NOTHING = (b"null", b"false", b"0")
_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_MAX_LEFT_OUT = 16
"""Names come from the caller and go into a header: a bounded number of plain ones."""


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class _Completion(msgspec.Struct):
    model: Annotated[str, Meta(min_length=1, max_length=256)]
    prompt: str | list[str | int | list[int]]
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    max_tokens: Annotated[int, Meta(ge=1, le=2**31)] | None = None
    n: Annotated[int, Meta(ge=1, le=128)] | None = None
    best_of: int | None = None
    echo: bool | None = None
    suffix: str | None = None
    stop: str | list[str] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    presence_penalty: _Penalty | None = None
    frequency_penalty: _Penalty | None = None
    # A number at OpenAI, true or false at xAI.
    logprobs: bool | Annotated[int, Meta(ge=0, le=20)] | None = None
    seed: int | None = None
    user: str | None = None


_decoder = msgspec.json.Decoder(_Completion)


def decode_request(body: bytes) -> Asked:
    """Check a caller's body; raise `GroxyError` that names the field at fault."""
    completion = decode_json(body, _decoder)
    fields, max_cost_ticks = open_body(body)
    _check_prompt(completion.prompt)
    choices = completion.n or 1
    if completion.suffix:
        message = "Text cannot be filled in before a `suffix`. Leave it out, or ask in a prompt."
        raise GroxyError(ErrorKind.UNSUPPORTED, message, param="suffix")
    if completion.best_of is not None and completion.best_of != choices:
        message = "`best_of` must be left out, or be the same as `n`: every choice is returned."
        raise GroxyError(ErrorKind.UNSUPPORTED, message, param="best_of")
    options = completion.stream_options
    return Asked(
        model=completion.model,
        stream=completion.stream,
        fields=fields,
        wants_usage=options is not None and bool(options.include_usage),
        carriers=_SEVERAL_CHOICES if choices > 1 else (),
        max_cost_ticks=max_cost_ticks,
    )


def _check_prompt(prompt: str | list[str | int | list[int]]) -> None:
    if not prompt:
        raise _bad("must have some text")
    if isinstance(prompt, str):
        return
    if not all(isinstance(piece, str) for piece in prompt):
        # Token ids mean something in one vocabulary only, and Grok's is not public.
        raise _bad("must be text: token ids are not taken")
    if len(prompt) > _MAX_PROMPTS:
        raise _bad(f"may have {_MAX_PROMPTS} texts at most")


def _bad(what: str) -> GroxyError:
    return GroxyError(ErrorKind.BAD_REQUEST, f"`prompt` {what}.", param="prompt")


def bound_of(asked: Asked) -> OutputBound:
    """Return what bounds the output: every prompt of a list gets all its choices."""
    choices = most_in(asked.fields, _CHOICES) or 1
    return OutputBound(
        choices=choices * len(_prompts(_decoded(asked))),
        max_tokens=most_in(asked.fields, _TOKENS),
    )


def bounded(asked: Asked, max_tokens: int) -> Asked:
    """Return the same request with so many tokens at most."""
    return lowered(asked, max_tokens, _TOKENS)


def outgoing(asked: Asked, *, model: str, stream: bool) -> Fields:
    """Return the body for an upstream: the caller's own, with only what the gateway decides."""
    fields = dict(asked.fields)
    fields["model"] = Raw(encode(model))
    if stream:
        fields["stream"] = Raw(b"true")
        # Always asked for upstream: the books need it even when the caller does not.
        fields["stream_options"] = Raw(b'{"include_usage":true}')
    else:
        # Said, not left out: there are upstreams that stream unless they are told not to.
        fields["stream"] = Raw(b"false")
        fields.pop("stream_options", None)
    return fields


def prompt_text(asked: Asked) -> str:
    """Return the prompt, and of several prompts each on its line."""
    return "\n".join(_prompts(_decoded(asked)))


def wants_echo(asked: Asked) -> bool:
    """Return whether the reply is to begin with the prompt."""
    return bytes(asked.fields.get("echo", b"")) == b"true"


def canonical(asked: Asked) -> Request:
    """Decode the request all the way; raise UNSUPPORTED for more than one prompt."""
    completion = _decoded(asked)
    prompts = _prompts(completion)
    if len(prompts) > 1:
        message = (
            f"The accounts of this model take one prompt at a time, not {len(prompts)}. "
            "Send a request for each."
        )
        raise GroxyError(ErrorKind.UNSUPPORTED, message, param="prompt")
    return Request(
        model=completion.model,
        messages=(Message(role=Role.USER, parts=(Text(text=prompts[0]),)),),
        options=_options(completion),
        left_out=tuple(_left_out(asked.fields)),
    )


def _decoded(asked: Asked) -> _Completion:
    return decode_json(encode(asked.fields), _decoder)


def _prompts(completion: _Completion) -> list[str]:
    prompt = completion.prompt
    if isinstance(prompt, str):
        return [prompt]
    return [piece for piece in prompt if isinstance(piece, str)]


def _options(completion: _Completion) -> Options:
    stop = completion.stop
    return Options(
        max_output_tokens=completion.max_tokens,
        temperature=completion.temperature,
        top_p=completion.top_p,
        presence_penalty=completion.presence_penalty,
        frequency_penalty=completion.frequency_penalty,
        choices=completion.n or 1,
        seed=completion.seed,
        stop=(stop,) if isinstance(stop, str) else tuple(stop or ()),
        user=completion.user or "",
    )


def _left_out(fields: Fields) -> list[str]:
    """Return what has no place in the canonical form; `logprobs` too, in this dialect's shape."""
    names = [
        name
        for name, value in fields.items()
        if name not in _HAS_A_PLACE and bytes(value) not in _SAYS_NOTHING and _NAME.fullmatch(name)
    ]
    return names[:_MAX_LEFT_OUT]

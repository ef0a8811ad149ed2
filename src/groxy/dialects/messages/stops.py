"""Why a reply ended, in Anthropic's words and in ours."""

from groxy.core.events import FinishReason

_END_TURN = "end_turn"
_READ = {
    "stop_sequence": FinishReason.STOP,
    "pause_turn": FinishReason.STOP,
    "max_tokens": FinishReason.LENGTH,
    "model_context_window_exceeded": FinishReason.LENGTH,
    "tool_use": FinishReason.TOOL_CALLS,
    "refusal": FinishReason.CONTENT_FILTER,
}


def finish_reason(stop_reason: str | None, *, has_calls: bool) -> FinishReason:
    """Return what a `stop_reason` means; one that is missing or new is a plain end.

    A plain end of a reply that holds calls is one for them.
    """
    usual = FinishReason.TOOL_CALLS if has_calls else FinishReason.STOP
    return _READ.get(stop_reason or "", usual)


def stop_reason(reason: FinishReason | None, *, stop_text: str, has_calls: bool) -> str:
    """Return the `stop_reason` of a reply.

    Clients run tools only after `tool_use`, and wait for calls that are not there after it; so it
    follows what the reply holds where an upstream says otherwise.
    """
    match reason:
        case FinishReason.LENGTH:
            return "max_tokens"
        case FinishReason.CONTENT_FILTER:
            return "refusal"
        case FinishReason.STOP if stop_text:
            return "stop_sequence"
        case FinishReason.STOP | FinishReason.TOOL_CALLS | None:
            return "tool_use" if has_calls else _END_TURN


def mended_stop_reason(told: str | None, *, stop_text: str | None, has_calls: bool) -> str:
    """Return an upstream's `stop_reason` for a caller of the same dialect.

    One that is missing, or that says no more than that it is the end, follows what the reply holds.
    """
    if told and told != _END_TURN:
        return told
    return stop_reason(FinishReason.STOP, stop_text=stop_text or "", has_calls=has_calls)

"""Whether an account has what its upstream needs, before anybody uses it.

In: the name of an upstream, or credentials as settings, the command line or the admin API give
them. Out: the upstream, or an error that names what is missing. It asks no upstream over the
network: whether a credential works is another question.
"""

from collections.abc import Mapping

from groxy.core.errors import ErrorKind, GroxyError
from groxy.upstreams._base import Credentials, Upstream

__all__ = ["check_credentials", "known_upstream"]


def known_upstream(name: str, found: Mapping[str, Upstream]) -> Upstream:
    """Return an upstream by name; raise BAD_REQUEST that lists the known ones."""
    upstream = found.get(name)
    if upstream is None:
        message = f"There is no upstream {name!r}. Known are: {', '.join(found)}."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param="upstream")
    return upstream


def check_credentials(name: str, upstream: Upstream, credentials: Credentials) -> None:
    """Raise BAD_REQUEST when an account lacks what its upstream needs."""
    lacks = [
        f"options.{wanted.name}"
        for wanted in upstream.account_fields
        if wanted.required and not credentials.options.get(wanted.name)
    ]
    if upstream.needs_key and not credentials.api_key:
        lacks.append("api_key")
    try:
        has_way = bool(lacks) or upstream.transport(credentials) or upstream.address(credentials)
    except ValueError as error:
        message = f"The account {name!r} at {upstream.name} has a wrong option: {error}."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param="accounts") from None
    if not has_way:
        lacks.append("base_url")
    lacks += [
        f"options.{wanted.name}, one of {', '.join(wanted.choices)}"
        for wanted in upstream.account_fields
        if wanted.choices
        and credentials.options.get(wanted.name, wanted.choices[0]) not in wanted.choices
    ]
    known = {wanted.name for wanted in upstream.account_fields}
    unknown = sorted(credentials.options.keys() - known)
    if lacks or unknown:
        problem = f"lacks {', '.join(lacks)}" if lacks else f"has unknown options: {unknown}"
        message = f"The account {name!r} at {upstream.name} {problem}."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param="accounts")

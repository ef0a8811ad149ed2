"""Who serves: one file per upstream, found by itself. See `_base` for what a file declares.

A module here (or an entry point of the group `groxy.upstreams`, for third parties) has a constant
`UPSTREAM`; its name is the module's name.
"""

import functools
import pkgutil
from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points
from types import MappingProxyType

from groxy.upstreams._base import Upstream


@functools.cache
def discover() -> Mapping[str, Upstream]:
    """Return every upstream by name; raise `TypeError` for a file that declares none.

    Looked for once in a process: what is installed is asked for with every package on the path.
    """
    found: dict[str, Upstream] = {}
    for module in pkgutil.iter_modules(__path__):
        if not module.name.startswith("_"):
            upstream = getattr(import_module(f"{__name__}.{module.name}"), "UPSTREAM", None)
            found[module.name] = _checked(module.name, upstream)
    for point in entry_points(group="groxy.upstreams"):
        found.setdefault(point.name, _checked(point.name, point.load()))
    return MappingProxyType(dict(sorted(found.items())))


def _checked(name: str, upstream: object) -> Upstream:
    if not isinstance(upstream, Upstream) or upstream.name != name:
        raise TypeError(f"upstream {name!r} must declare UPSTREAM, an Upstream of the same name")
    return upstream

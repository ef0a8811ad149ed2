"""The model catalog: what a caller may ask for, what is sent for it, and what that costs.

In: the entries of `entries.py`, once. Out: `Model` values by the name asked, prices by the name
served. It must not read settings, speak a wire format or know accounts: `pools.py` and its
neighbours decide who serves.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, time
from decimal import Decimal
from types import MappingProxyType
from typing import TypeVar

from groxy.core.money import MediaPrice, Price, TokenPrice, ticks_from_usd
from groxy.routing.aliases import Aliases, claude_id, is_claude_id
from groxy.routing.entries import Entry, Media, Rates, changed, nearest, shipped, wrong
from groxy.routing.model import Capability, Model
from groxy.routing.pools import Pool

__all__ = ["Capability", "Catalog", "Model"]

_VENDORS = frozenset({"x-ai", "xai", "grok"})
_DATE_PART = re.compile(r"-(?:\d{4}-\d\d-\d\d|\d{8}|\d\d-\d\d|\d{4})(?=-|$)")
_DIALECT_OF = {
    Capability.CHAT: "chat",
    Capability.IMAGE: "images",
    Capability.IMAGE_EDIT: "images",
    Capability.VIDEO: "videos",
    Capability.EMBEDDING: "embeddings",
}

_BLANK = Model(
    id="",
    title="",
    capability=Capability.CHAT,
    tier=Pool.BASIC,
    prefer_best=False,
    mode="official",
    sends="",
    effort=None,
    efforts=(),
    reasons=False,
    rejects=frozenset(),
    context_tokens=0,
    price=None,
    media_price=None,
    dialects=frozenset(),
    created=0,
    retired=None,
    replacement=None,
    upstream_ids=MappingProxyType({}),
)


class Catalog:
    """All models by name. New settings make a new one, which this one can `become`."""

    __slots__ = ("_aliases", "_by_name", "_claude_ids", "_models")

    def __init__(self, models: tuple[Model, ...], aliases: Mapping[str, str] | None = None) -> None:
        self._models = models
        self._aliases = Aliases(aliases or {})
        self._by_name = {alias: model for model in models for alias in model.aliases}
        self._by_name.update({model.id: model for model in models})
        self._claude_ids = {
            name: model
            for model in reversed(models)  # so that of two with one name the first has it
            if model.capability is Capability.CHAT
            and not is_claude_id(model.id)
            and (name := claude_id(model.id)) not in self._by_name
        }

    @classmethod
    def load(
        cls,
        overrides: Mapping[str, Mapping[str, object]] | None = None,
        aliases: Mapping[str, str] | None = None,
    ) -> "Catalog":
        """Read the catalog and lay the operator's `[models.<id>]` and `[aliases]` over it.

        Raises `GroxyError` (BAD_REQUEST) that names `models.<id>.<key>` when a table is wrong.
        """
        entries = shipped()
        owners = _owners(entries)
        for model_id, table in (overrides or {}).items():
            entries[model_id] = changed(model_id, table, entries, owners)
        return cls(_Builder(entries).all(), aliases)

    def become(self, other: "Catalog") -> None:
        """Have the models and names of another catalog from now on."""
        for name in self.__slots__:
            setattr(self, name, getattr(other, name))

    def find(self, asked: str) -> Model | None:
        """Return the model of an id or alias, bare or behind `x-ai/`, `xai/` or `grok/`.

        Every chat model also has a name for Anthropic's clients, such as `claude-grok-4-7`. The
        operator's `[aliases]` are not looked at: `resolve` does.
        """
        model = self._by_name.get(asked)
        if model is None:
            vendor, slash, bare = asked.partition("/")
            if slash and vendor in _VENDORS:
                return self._by_name.get(bare)
            model = self._claude_ids.get(asked)
        return model

    def has(self, asked: str) -> bool:
        """True for a name that is known as it stands: of a model, or an alias without wildcard."""
        return asked in self._aliases.exact or self.find(asked) is not None

    def resolve(self, asked: str) -> str:
        """Return the name to go on with: what an alias stands for, else `asked` itself.

        The operator's aliases that are spelled out come before the names of the catalog, patterns
        behind them. The target may be a name that the catalog lacks: an upstream's own id.
        """
        target = self._aliases.exact.get(asked)
        if target is not None:
            return target
        if asked in self._claude_ids:
            return self._claude_ids[asked].id
        target = self._aliases.matching(asked) if self.find(asked) is None else None
        return asked if target is None else target

    def claude_ids(self) -> list[tuple[str, Model]]:
        """Return the names that Anthropic's clients accept, each with the model it stands for.

        First what the operator's aliases spell out, then the built-in names, in the order of
        `models`.
        """
        spelled_out = {
            alias: model
            for alias, target in self._aliases.exact.items()
            if is_claude_id(alias)
            and (model := self.find(target)) is not None
            and model.capability is Capability.CHAT
        }
        built_in = reversed(self._claude_ids.items())
        return [
            *spelled_out.items(),
            *(named for named in built_in if named[0] not in self._aliases.exact),
        ]

    def models(self) -> tuple[Model, ...]:
        """Return every model once: official ones, the gateway's names, retired ids, own ones."""
        return self._models

    def price_of(self, served: str) -> Price | None:
        """Return the price of the model that an upstream says it served.

        A dated variant that the catalog does not list costs what its undated name costs. None for
        a stranger, and for a model without token prices.
        """
        return self.prices_of(served)[0]

    def prices_of(self, served: str) -> tuple[Price | None, MediaPrice | None]:
        """Return the prices of tokens, and of pictures and film; by a name as in `price_of`."""
        model = self._priced(served)
        return (None, None) if model is None else (model.price, model.media_price)

    def price_names(self, served: str) -> tuple[str, ...]:
        """Return the ids under which versions of a price may stand that hold for a name.

        First the model's own id. Then the model that it sends, unless the name has a price of its
        own: a new price of the one is a new price of all that send it. A stranger stands for
        itself.
        """
        model = self._priced(served)
        if model is None:
            return (served,)
        sent = self._by_name.get(model.sends)
        if sent is None or sent.id == model.id or not _is_priced_alike(model, sent):
            return (model.id,)
        return (model.id, sent.id)

    def _priced(self, served: str) -> Model | None:
        return self.find(served) or self.find(_DATE_PART.sub("", served, count=1))


# ------------------------------------------------------------------- from entries to models

_T = TypeVar("_T")


def _is_priced_alike(one: Model, other: Model) -> bool:
    return one.price == other.price and one.media_price == other.media_price


def _or(own: _T | None, inherited: _T) -> _T:
    return inherited if own is None else own


class _Builder:
    """Turns entries into models; what an entry leaves open comes from the model that it sends."""

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        self._entries = entries
        self._owners = _owners(entries)
        self._built: dict[str, Model] = {}

    def all(self) -> tuple[Model, ...]:
        return tuple(self._model(model_id, ()) for model_id in self._entries)

    def _model(self, model_id: str, trail: tuple[str, ...]) -> Model:
        if model_id in trail:
            raise wrong(model_id, "sends", f"leads in a circle: {' > '.join((*trail, model_id))}")
        if model_id not in self._built:
            base = self._base(model_id, trail)
            self._built[model_id] = self._derived(model_id, self._entries[model_id], base)
        return self._built[model_id]

    def _base(self, model_id: str, trail: tuple[str, ...]) -> Model:
        entry = self._entries[model_id]
        target = entry.sends or entry.replacement
        if target is None:
            return _BLANK
        if target != model_id and target in self._owners:
            return self._model(self._owners[target], (*trail, model_id))
        if entry.context is None:
            near = nearest(target, [name for name in self._owners if name != model_id])
            what = f"names {target!r}, which the catalog lacks; the nearest is {near!r}"
            own = "A model of your own needs its `context` (tokens) beside it"
            raise wrong(model_id, "sends", f"{what}. {own}")
        return _BLANK

    def _derived(self, model_id: str, entry: Entry, base: Model) -> Model:
        capability = _or(entry.capability, base.capability)
        efforts = _or(entry.efforts, base.efforts)
        rejects = _or(entry.rejects, base.rejects) - {"reasoning_effort"}
        if capability is Capability.CHAT and not efforts:
            rejects |= {"reasoning_effort"}
        default = base.default_effort if entry.efforts is None else None
        return Model(
            id=model_id,
            title=entry.title or _title_of(model_id),
            capability=capability,
            tier=entry.tier,
            prefer_best=entry.prefer_best,
            mode=entry.mode,
            sends=base.sends or entry.sends or model_id,
            effort=_known_effort(model_id, "effort", _or(entry.effort, base.effort), efforts),
            efforts=efforts,
            reasons=_or(entry.reasons, base.reasons),
            rejects=rejects,
            context_tokens=_or(entry.context, base.context_tokens),
            price=_price(entry, base.price),
            media_price=base.media_price if entry.media is None else _media_price(entry.media),
            replays_reasoning=_or(entry.replays_reasoning, base.replays_reasoning),
            dialects=_or(entry.dialects, base.dialects) or frozenset({_DIALECT_OF[capability]}),
            created=base.created if entry.created is None else _unix(entry.created),
            retired=entry.retired,
            replacement=entry.replacement,
            upstream_ids=MappingProxyType({**base.upstream_ids, **entry.upstream_ids}),
            default_effort=_known_effort(
                model_id, "default_effort", entry.default_effort or default, efforts
            ),
            quality=_or(entry.quality, base.quality),
            aliases=tuple(name for name in entry.aliases if self._owners[name] == model_id),
            why=entry.why,
        )


def _owners(entries: Mapping[str, Entry]) -> dict[str, str]:
    """Return the id behind every id and alias. An id is stronger than another model's alias."""
    owners: dict[str, str] = {}
    for model_id, entry in entries.items():
        for alias in entry.aliases:
            other = owners.setdefault(alias, model_id)
            if other != model_id:
                raise wrong(model_id, "aliases", f"has {alias!r}, which stands for {other} already")
    return owners | {model_id: model_id for model_id in entries}


def _known_effort(
    model_id: str, key: str, effort: str | None, efforts: tuple[str, ...]
) -> str | None:
    if effort is not None and effort not in efforts:
        takes = ", ".join(efforts) or "no effort at all"
        raise wrong(model_id, key, f"is {effort!r}, but the model takes {takes}")
    return effort


def _title_of(model_id: str) -> str:
    return " ".join(word[:1].upper() + word[1:] for word in model_id.split("-"))


def _unix(day: date) -> int:
    return int(datetime.combine(day, time(), UTC).timestamp())


def _ticks(usd: str) -> int:
    return ticks_from_usd(Decimal(usd))


def _token_price(rates: Rates) -> TokenPrice:
    return TokenPrice(
        input=_ticks(rates.input),
        cached_input=_ticks(rates.cached),
        output=_ticks(rates.output),
        reasoning=None if rates.reasoning is None else _ticks(rates.reasoning),
    )


def _price(entry: Entry, inherited: Price | None) -> Price | None:
    if entry.price is None and entry.long is None:
        return inherited
    if entry.price is not None:
        price = Price(
            base=_token_price(entry.price),
            long=inherited.long if inherited is not None else None,
            long_from_tokens=inherited.long_from_tokens if inherited is not None else 0,
            per_request=_ticks(entry.price.per_request),
            per_tool_call=_ticks(entry.price.per_tool_call),
        )
    elif inherited is not None:
        price = inherited
    else:
        return None
    if entry.long is None:
        return price
    long = _token_price(entry.long)
    return replace(price, long=long, long_from_tokens=entry.long.from_tokens)


def _media_price(media: Media) -> MediaPrice:
    return MediaPrice(
        per_image=MappingProxyType({key: _ticks(usd) for key, usd in media.image.items()}),
        per_second=MappingProxyType({key: _ticks(usd) for key, usd in media.second.items()}),
        per_input_image=_ticks(media.input_image),
    )

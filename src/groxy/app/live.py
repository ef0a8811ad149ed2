"""Settings in force: those of file, environment and flags, with the operator's changes over them.

In: loaded settings, and changes that the store has. Out: settings, and parts that follow them at
once. Only here is said which part follows which setting while the gateway runs.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from groxy.app.accounts import AccountMaker
from groxy.app.media import Media
from groxy.app.transports import Transports
from groxy.core.errors import GroxyError
from groxy.core.money import ticks_from_usd
from groxy.dialects._base import Counting
from groxy.gateway.hedging import HedgeRules
from groxy.gateway.means import Limits, Means
from groxy.gateway.rotation import Rotation
from groxy.gateway.vigil import Deadlines
from groxy.media.fetch import Fetcher
from groxy.observe import logs
from groxy.routing.catalog import Catalog
from groxy.routing.choice import Strategy
from groxy.routing.cooling import CoolingRules
from groxy.routing.refresh import Refresher, Schedule
from groxy.settings import (
    Loaded,
    Settings,
    described_config,
    flattened,
    shown_config,
    with_overrides as overridden,
)
from groxy.store.database import Database
from groxy.store.overrides import read_overrides, write_overrides
from groxy.store.secrets import InstallationSecret


def limits_of(settings: Settings) -> Limits:
    """Return what settings say of attempts and streams."""
    attempts = settings.attempts
    return Limits(
        deadlines=Deadlines(
            first_event_s=attempts.first_event_timeout_s,
            idle_s=attempts.idle_timeout_s,
            total_s=attempts.total_timeout_s,
            keepalive_s=settings.streams.keepalive_s,
        ),
        streams_by_default=settings.features.stream,
        logs_requests=settings.logging.requests,
        counting=Counting(settings.features.usage_counting),
        rotation=Rotation(
            also_on=frozenset(attempts.also_rotate_on),
            never_on=frozenset(attempts.never_rotate_on),
            backoff_s=attempts.backoff_s,
            backoff_max_s=attempts.backoff_max_s,
        ),
        capacity_wait_s=attempts.capacity_wait_s,
        default_output_tokens=settings.billing.default_output_tokens,
    )


def hedge_rules_of(settings: Settings) -> HedgeRules:
    """Return what settings say of hedging."""
    attempts = settings.attempts
    return HedgeRules(
        percentile=attempts.hedge_percentile,
        max_percent=attempts.hedge_max_percent,
        max_cost_ticks=ticks_from_usd(Decimal(str(attempts.hedge_max_cost_usd))),
    )


def cooling_rules_of(settings: Settings) -> CoolingRules:
    """Return what settings say of rests."""
    return CoolingRules(**settings.cooling.model_dump())


def schedule_of(settings: Settings) -> Schedule:
    """Return what settings say of refreshes."""
    return Schedule(**settings.refresh.model_dump())


@dataclass(kw_only=True)
class LiveSettings:
    """See the module."""

    base: Loaded
    """As they were loaded at the start."""
    means: Means
    catalog: Catalog
    refresher: Refresher
    maker: AccountMaker
    transports: Transports
    fetcher: Fetcher
    database: Database
    secret: InstallationSecret
    media: Media
    on_keys: Callable[[], None] = lambda: None
    """Called when keys of the settings changed."""
    _patching: asyncio.Lock = field(default_factory=asyncio.Lock)
    """One change after the other: what each of two leaves possible, both together may not."""

    def __post_init__(self) -> None:
        """Begin with the settings as they were loaded."""
        self.loaded = self.base
        self._log = logs.get_logger("app")

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self.loaded.settings

    async def load(self) -> None:
        """Put in force what the store has of changes; those that no longer fit are left out.

        An upgrade or another settings file does that. Only they are left out: a key that the
        operator replaced must not come back because some other setting does not fit any more.
        """
        async with self._patching:  # a change may be in the store for a moment, and be taken back
            overrides = await read_overrides(self.database, self.secret)
            fitting = self._fitting(overrides)
            if fitting is None:
                return
            self.apply(*fitting)
        # Also where nothing seems to have changed: who applied it may have been in the middle of
        # reading keys, which must not be the old ones.
        self.on_keys()

    def _fitting(self, overrides: Mapping[str, object]) -> tuple[Loaded, Catalog] | None:
        """Return the settings with those overrides that fit; None when nobody knows which do."""
        while True:
            try:
                return self._with(overrides)
            except GroxyError as error:
                unfit = _named_by(error, overrides)
                self._log.error(
                    "live settings do not fit and are not in force",
                    settings=unfit or sorted(overrides),
                    detail=error.message,
                )
                if not unfit:
                    return None
                overrides = {name: overrides[name] for name in overrides.keys() - unfit}

    def _with(self, overrides: Mapping[str, object]) -> tuple[Loaded, Catalog]:
        loaded = overridden(self.base, overrides)
        return loaded, Catalog.load(loaded.settings.models, loaded.settings.aliases)

    def apply(self, loaded: Loaded, catalog: Catalog) -> None:
        """Let every part follow these settings."""
        before, self.loaded = self.loaded, loaded
        settings, means = loaded.settings, self.means
        if before.settings == settings:
            return
        means.limits = limits_of(settings)
        means.hedger.rules = hedge_rules_of(settings)
        directory, router = means.directory, means.router
        directory.rules = cooling_rules_of(settings)
        router.max_candidates = settings.attempts.max_attempts
        router.strategy = Strategy(settings.routing.strategy)
        router.keeps_together = settings.routing.affinity
        self.refresher.schedule = schedule_of(settings)
        self.fetcher.allow_private = settings.features.fetch_private
        self.media.apply(settings)
        self.transports.set_connect_timeout(settings.attempts.connect_timeout_s)
        logs.configure(level=settings.logging.level, form=settings.logging.format)
        self.catalog.become(catalog)
        self.maker.settings = settings
        if before.settings.routing != settings.routing:
            for account in directory.accounts:
                self.maker.apply_settings(account)
        directory.generation += 1
        if before.settings.app != settings.app:
            self.on_keys()

    # ----------------------------------------------------------------- what the operator does

    def shown(self) -> dict[str, object]:
        """Return every setting as a nested object; secrets are masked."""
        return shown_config(self.loaded)

    def described(self) -> list[dict[str, object]]:
        """Return each setting's name, type, default, help, whether secret, whether start-only."""
        return described_config()

    async def patch(
        self, patch: Mapping[str, object]
    ) -> tuple[dict[str, object], dict[str, object]]:
        """Change settings, here at once and in every process within a second."""
        changes = flattened(patch)
        async with self._patching:
            stored = await read_overrides(self.database, self.secret)
            loaded, catalog = self._with(_kept({**stored, **changes}))
            before = self.shown()
            await write_overrides(self.database, self.secret, changes)
            await self._fit_or_undo(changes, stored)
            self.apply(loaded, catalog)
            after = self.shown()
        return _named(before, changes), _named(after, changes)

    async def _fit_or_undo(
        self, changes: Mapping[str, object], before: Mapping[str, object]
    ) -> None:
        """Take changes back where another process made some meanwhile that do not go with them."""
        try:
            self._with(await read_overrides(self.database, self.secret))
        except GroxyError:
            undone = {name: before.get(name) for name in changes}
            await write_overrides(self.database, self.secret, undone)
            raise


def _kept(overrides: Mapping[str, object]) -> dict[str, object]:
    """Return overrides without those that are taken back."""
    return {name: value for name, value in overrides.items() if value is not None}


def _named_by(error: GroxyError, overrides: Mapping[str, object]) -> list[str]:
    """Return the overrides that an error is about: what it names, or what that is a part of."""
    param = error.param or ""
    return [name for name in overrides if param == name or param.startswith(f"{name}.")]


def _named(shown: Mapping[str, object], names: Mapping[str, object]) -> dict[str, object]:
    """Return the named settings of a nested object."""
    return {name: _at(shown, name) for name in names}


def _at(shown: object, name: str) -> object:
    value = shown
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value

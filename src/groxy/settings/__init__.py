"""The settings of Groxy: every setting once, and the one way to load them.

In come the settings file, `GROXY_` variables and flags, out goes a frozen `Settings` with the
origin of each value. Nothing here reads the environment when imported; only `groxy.cli` hands it
in. Only `app` and `cli` may import this package: all other parts are handed plain values.
"""

from groxy.settings.account import AccountSettings
from groxy.settings.loading import Loaded, ShownSetting, load_settings, shown_settings
from groxy.settings.overrides import (
    described_config,
    flattened,
    is_start_only,
    shown_config,
    with_overrides,
)
from groxy.settings.schema import SettingInfo, every_setting
from groxy.settings.secret import Address, Secret
from groxy.settings.sections import (
    AdminSettings,
    AppSettings,
    AttemptSettings,
    CoolingSettings,
    FeatureSettings,
    LoggingSettings,
    RefreshSettings,
    RoutingSettings,
    SandboxSettings,
    ServerSettings,
    Settings,
    StateSettings,
    StoreSettings,
    StreamSettings,
)

__all__ = [
    "AccountSettings",
    "Address",
    "AdminSettings",
    "AppSettings",
    "AttemptSettings",
    "CoolingSettings",
    "FeatureSettings",
    "Loaded",
    "LoggingSettings",
    "RefreshSettings",
    "RoutingSettings",
    "SandboxSettings",
    "Secret",
    "ServerSettings",
    "SettingInfo",
    "Settings",
    "ShownSetting",
    "StateSettings",
    "StoreSettings",
    "StreamSettings",
    "described_config",
    "every_setting",
    "flattened",
    "is_start_only",
    "load_settings",
    "shown_config",
    "shown_settings",
    "with_overrides",
]

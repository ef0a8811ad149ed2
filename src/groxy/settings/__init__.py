"""The settings of Groxy: every setting once, and the one way to load them.

In come the settings file, `GROXY_` variables and flags, out goes a frozen `Settings` with the
origin of each value. Nothing here reads the environment when imported; only `groxy.cli` hands it
in. Only `app` and `cli` may import this package: all other parts are handed plain values.
"""

from groxy.settings.loading import Loaded, ShownSetting, load_settings, shown_settings
from groxy.settings.schema import SettingInfo, every_setting
from groxy.settings.secret import Address, Secret
from groxy.settings.sections import (
    AccountSettings,
    AppSettings,
    AttemptSettings,
    CatalogSettings,
    FeatureSettings,
    LoggingSettings,
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
    "AppSettings",
    "AttemptSettings",
    "CatalogSettings",
    "FeatureSettings",
    "Loaded",
    "LoggingSettings",
    "SandboxSettings",
    "Secret",
    "ServerSettings",
    "SettingInfo",
    "Settings",
    "ShownSetting",
    "StateSettings",
    "StoreSettings",
    "StreamSettings",
    "every_setting",
    "load_settings",
    "shown_settings",
]

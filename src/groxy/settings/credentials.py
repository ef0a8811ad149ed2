"""Finds the credentials: what listed accounts point at, and accounts that the environment gives.

In come checked accounts and the environment, out go accounts whose `api_key` is filled in, with
the origin of each, and notes on what was seen but not used. This module must not call anyone, and
must not put a key into a message.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path as FilePath

from groxy.settings import rules
from groxy.settings.account import AccountSettings
from groxy.settings.problems import Problem
from groxy.settings.schema import dotted
from groxy.settings.secret import Secret
from groxy.settings.sources import Draft, read_text_file

# Variables that vendors and their tools use, and the upstream that each makes an account for.
KEY_VARIABLES = {
    "XAI_API_KEY": "xai",
    "OPENROUTER_API_KEY": "openrouter",
    "COMETAPI_KEY": "cometapi",
}
CLOUDFLARE_TOKEN = "CLOUDFLARE_API_TOKEN"  # noqa: S105 - the name of a variable
CLOUDFLARE_OPTIONS = {
    "account_id": "CLOUDFLARE_ACCOUNT_ID",
    "gateway_id": "CLOUDFLARE_GATEWAY_ID",
}


@dataclass(slots=True)
class Found:
    """All accounts, the origins of values that no table gave, notes for people, and problems."""

    accounts: list[AccountSettings]
    origins: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def add(self, upstream: str, key: Secret, variables: Mapping[str, str]) -> None:
        """Add an account from the environment, unless its key is in use already.

        `variables` maps each option, and `api_key`, to the variable that it came from.
        """
        users = [account.name for account in self.accounts if account.api_key == key]
        if users:
            self.notes.append(f"{variables['api_key']} is the key of account {users[0]} already.")
            return
        self.accounts.append(
            AccountSettings(name=self._free_name(upstream), upstream=upstream, api_key=key)
        )
        prefix = f"accounts.{len(self.accounts) - 1}."
        origin = f"environment {variables['api_key']}"
        self.origins |= {prefix + "name": origin, prefix + "upstream": origin}
        self.origins |= {
            prefix + name: f"environment {variable}" for name, variable in variables.items()
        }

    def _free_name(self, upstream: str) -> str:
        taken = {account.name.casefold() for account in self.accounts}
        names = [upstream, *(f"{upstream}-{number}" for number in range(2, len(taken) + 3))]
        return next(name for name in names if name not in taken)


def find_credentials(
    listed: Sequence[AccountSettings],
    draft: Draft,
    environ: Mapping[str, str],
    folder: FilePath,
) -> Found:
    """Fill in what listed accounts point at, then add the environment's accounts.

    `folder` is where a relative `api_key_file` starts.
    """
    found = Found(accounts=[])
    for index, account in enumerate(listed):
        found.accounts.append(_filled_in(account, index, found, draft, (environ, folder)))
    for variable, upstream in KEY_VARIABLES.items():
        key = _key_in(variable, environ, found)
        if key is not None:
            found.add(upstream, key, {"api_key": variable})
    _add_cloudflare(found, environ)
    return found


def _filled_in(
    account: AccountSettings,
    index: int,
    found: Found,
    draft: Draft,
    reading: tuple[Mapping[str, str], FilePath],
) -> AccountSettings:
    environ, folder = reading
    if account.api_key_env is not None:
        setting, origin = "api_key_env", f"environment {account.api_key_env}"
    elif account.api_key_file is not None:
        setting, origin = "api_key_file", f"file {folder / account.api_key_file}"
    else:
        return account
    path = ("accounts", index, setting)
    try:
        if account.api_key_env is not None:
            key = _from_variable(account.api_key_env, environ)
        else:
            key = _from_file(folder / (account.api_key_file or ""), folder)
    except ValueError as error:
        where = draft.source_of(path).where(path)
        found.problems.append(Problem(where, dotted(path), str(error)))
        return account
    found.origins[f"accounts.{index}.api_key"] = origin
    return account.model_copy(update={"api_key": key})


def _from_variable(name: str, environ: Mapping[str, str]) -> Secret:
    # A name in capitals is surely a name; anything else may be a key that was put here by mistake.
    called = f"the variable {name}" if name.isupper() else "the variable that it names"
    text = environ.get(name, "")
    if not text.strip():
        message = f"cannot be followed: {called} is not set"
        raise ValueError(message)
    try:
        return rules.read_key(text)
    except ValueError as error:
        message = f"cannot be followed: the value of {called} {error}"
        raise ValueError(message) from None


def _from_file(path: FilePath, folder: FilePath) -> Secret:
    try:
        return rules.read_key(read_text_file(path))
    except OSError as error:
        reason = (error.strerror or "error").lower()
        message = f"cannot be read ({reason}); a relative path starts at {folder.absolute()}"
        raise ValueError(message) from None
    except ValueError as error:
        message = f"names a file whose content {error}"
        raise ValueError(message) from None


def _key_in(variable: str, environ: Mapping[str, str], found: Found) -> Secret | None:
    text = environ.get(variable, "")
    if not text.strip():
        return None
    try:
        return rules.read_key(text)
    except ValueError as error:
        remedy = f"{error}; correct the variable or unset it"
        found.problems.append(Problem(f"environment {variable}", "the key", remedy))
        return None


def _add_cloudflare(found: Found, environ: Mapping[str, str]) -> None:
    """Add the Cloudflare account if all three variables are there.

    Its token and account id are set on many machines for other tools, so a part of the three is
    no error; a note says what is missing.
    """
    names = [CLOUDFLARE_TOKEN, *CLOUDFLARE_OPTIONS.values()]
    missing = [name for name in names if not environ.get(name, "").strip()]
    if len(missing) == len(names):
        return
    if missing:
        there = [name for name in names if name not in missing]
        found.notes.append(
            f"No Cloudflare account was made: {' and '.join(there)} is set, but "
            f"{' and '.join(missing)} is not. Set all three to use Cloudflare AI Gateway."
        )
        return
    key = _key_in(CLOUDFLARE_TOKEN, environ, found)
    if key is not None:
        before = len(found.accounts)
        variables = {f"options.{name}": variable for name, variable in CLOUDFLARE_OPTIONS.items()}
        found.add("cloudflare", key, {"api_key": CLOUDFLARE_TOKEN, **variables})
        if len(found.accounts) > before:
            options = {
                name: Secret(environ[variable].strip())
                for name, variable in CLOUDFLARE_OPTIONS.items()
            }
            found.accounts[-1] = found.accounts[-1].model_copy(update={"options": options})

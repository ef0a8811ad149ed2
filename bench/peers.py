"""Installs the peers to compare with: LiteLLM from PyPI, Portkey's gateway from npm.

In: a folder. Out: an environment and a node_modules folder in it; nothing outside is touched, and
removing the folder removes them. The newest release is taken, so the report names the versions.
The usual folder is in the user's cache and not in the checkout, whose checks would look into it.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

_LIMIT_S = 1800
_PORTKEY_PACKAGE = {
    "private": True,
    # What Portkey's own lock file has (its pull request 1605). npm alone takes the newest 1.x, with
    # which every stream ends in "TypeError: immutable" (issue 1389; seen here in November 2026).
    "overrides": {"@hono/node-server": "1.13.5"},
}


def usual_folder() -> Path:
    """Return where peers are when nobody says otherwise."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "groxy-bench"


def install(folder: Path) -> None:
    """Install what can be installed here; say what cannot."""
    venv, portkey = litellm_venv(folder), portkey_folder(folder)
    print(f"· installing LiteLLM into {venv}")
    _run([sys.executable, "-m", "venv", str(venv)], folder)
    _run([str(venv / "bin" / "python"), "-m", "pip", "-q", "install", "litellm[proxy]"], folder)
    npm = shutil.which("npm")
    if npm is None:
        print("· npm is not installed, so Portkey is left out")
        return
    print(f"· installing Portkey into {portkey}")
    shutil.rmtree(portkey, ignore_errors=True)
    portkey.mkdir()
    (portkey / "package.json").write_text(json.dumps(_PORTKEY_PACKAGE))
    _run([npm, "install", "--no-audit", "--no-fund", "@portkey-ai/gateway"], portkey)


def litellm_venv(folder: Path) -> Path:
    """Return where LiteLLM is."""
    return folder / "litellm"


def portkey_folder(folder: Path) -> Path:
    """Return where Portkey is."""
    return folder / "portkey"


def _run(command: list[str], cwd: Path) -> None:
    cwd.mkdir(parents=True, exist_ok=True)
    subprocess.run(command, cwd=cwd, check=True, timeout=_LIMIT_S)

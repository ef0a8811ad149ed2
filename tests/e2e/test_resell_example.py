"""The example of selling access, run as it stands against the sandbox."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.money import Bank
from tests.e2e.running import ADMIN_KEY, Gateway, clean_environment, config_toml, running

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]
EXAMPLE = Path(__file__).parents[2] / "examples" / "resell.py"


def test_the_example_lives_its_story_to_the_end(tmp_path):
    with running(Gateway(folder=tmp_path, config=config_toml())) as gateway:
        done = subprocess.run(
            [sys.executable, str(EXAMPLE)],
            check=False,
            capture_output=True,
            text=True,
            timeout=100,
            env=clean_environment(
                tmp_path, {"GROXY_URL": gateway.url, "GROXY_ADMIN_KEY": ADMIN_KEY}
            ),
        )
        entries = gateway.entries()

    assert done.returncode == 0, done.stderr
    assert "dry after" in done.stdout
    assert "margin" in done.stdout
    charged = [entry for entry in entries if entry.charge_ticks]
    assert len(charged) >= 4
    assert all(entry.charge_ticks * 10 == entry.cost_ticks * 12 for entry in charged)
    assert [entry.outcome for entry in entries if entry.status == 402] == ["insufficient_credits"]
    assert Bank(gateway).verified().findings == ()
    assert gateway.command("ledger", "verify").startswith("The books add up")

"""The example of pictures and film, run as it stands against the sandbox."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.running import KEY, Gateway, clean_environment, config_toml, running

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]
EXAMPLE = Path(__file__).parents[2] / "examples" / "make_media.py"


def test_the_example_makes_and_saves_a_picture_an_edit_and_a_film(tmp_path):
    import av
    from PIL import Image

    with running(Gateway(folder=tmp_path, config=config_toml())) as gateway:
        wanted = {"OPENAI_BASE_URL": f"{gateway.url}/v1", "OPENAI_API_KEY": KEY}
        done = subprocess.run(
            [sys.executable, str(EXAMPLE), str(tmp_path / "made")],
            check=False,
            capture_output=True,
            text=True,
            timeout=100,
            env=clean_environment(tmp_path, wanted),
        )
        assert done.returncode == 0, done.stderr
        owed = [entry.cost_ticks for entry in gateway.entries() if entry.outcome == "ok"]
    for name in ("picture.jpg", "changed.jpg"):
        with Image.open(tmp_path / "made" / name) as picture:
            picture.load()
            assert min(picture.size) > 500
    with av.open(str(tmp_path / "made" / "film.mp4")) as film:
        stream = film.streams.video[0]
        assert (stream.width, stream.height) == (1280, 720)
        assert film.duration == pytest.approx(6_000_000, abs=500_000)
    assert len(owed) == 3
    assert all(owed)

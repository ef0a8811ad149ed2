"""Makes a picture, changes it, makes a film of it, and saves all three, with OpenAI's own client.

    export OPENAI_BASE_URL=http://127.0.0.1:8000/v1 OPENAI_API_KEY=sk-…
    python examples/make_media.py FOLDER

Address and key come from the environment, as that client reads them; nothing in here is Groxy's.
Needs `pip install openai`.
"""
# ruff: noqa: INP001, T201 - a script for people, who want to see what it does

import base64
import sys
from pathlib import Path

from openai import OpenAI
from openai.types import ImagesResponse

IMAGE_MODEL = "grok-imagine-image"
EDIT_MODEL = "grok-imagine-image-edit"
VIDEO_MODEL = "grok-imagine-video"


def main(folder: Path) -> None:
    """Save picture.jpg, changed.jpg and film.mp4 in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    client = OpenAI()

    made = client.images.generate(
        model=IMAGE_MODEL,
        prompt="A lighthouse at dusk",
        size="1024x1024",
        response_format="b64_json",
    )
    picture = save(made, folder / "picture.jpg")

    with picture.open("rb") as file:
        changed = client.images.edit(
            model=EDIT_MODEL,
            image=file,
            prompt="Let it snow",
            response_format="b64_json",
        )
    still = save(changed, folder / "changed.jpg")

    with still.open("rb") as file:
        film = client.videos.create_and_poll(
            model=VIDEO_MODEL,
            prompt="The light turns, snow falls",
            seconds="6",  # type: ignore[arg-type]  # the client knows OpenAI's lengths only
            size="1280x720",
            input_reference=file,
        )
    if film.status != "completed":
        sys.exit(f"The film failed: {film.error}")
    client.videos.download_content(film.id).write_to_file(folder / "film.mp4")
    print(f"saved {folder / 'film.mp4'}")


def save(made: ImagesResponse, path: Path) -> Path:
    """Save the first picture of a reply; return where."""
    (picture,) = made.data or []
    path.write_bytes(base64.b64decode(picture.b64_json or ""))
    print(f"saved {path}")
    return path


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "media"))

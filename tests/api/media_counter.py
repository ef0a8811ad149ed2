"""The endpoints of stored media and files over a shelf of their own, and what is asked of them."""

import os
from contextlib import asynccontextmanager

from groxy.api.errors import ErrorBoundary
from groxy.api.files import Files, StoredMedia
from groxy.api.health import health
from groxy.api.routes import public_router
from groxy.media.links import Links
from groxy.media.shelf import Shelf, ShelfLimits
from groxy.policy.keys import Caller, Keyring, KnownKey
from groxy.store.database import Database
from groxy.store.secrets import InstallationSecret
from tests.api.conftest import OTHER_KEY
from tests.inprocess import KEY, ask

SECRET = InstallationSecret(b"s" * 32)
PICTURE = b"\x89PNG\r\n\x1a\n" + os.urandom(300_000)
BOUNDARY = "groxy-test-boundary"
FORM = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}
MOST = 1_000_000


class Counter:
    """The endpoints, and what they stand on."""

    def __init__(self, shelf, links):
        self.shelf, self.links = shelf, links
        keyring = Keyring(SECRET.digest)
        keyring.replace(
            KnownKey(digest=SECRET.digest(key), caller=Caller(key_id=name, name=name))
            for key, name in ((KEY, "key_1"), (OTHER_KEY, "key_2"))
        )
        media, files = StoredMedia(shelf, links), Files(shelf, keyring)
        paths = {
            "/files/image": {"GET": media.image},
            "/files/video": {"GET": media.video},
            "/files": {"GET": files.all, "POST": files.upload},
            "/files/{id}": {"GET": files.one, "DELETE": files.delete},
            "/files/{id}/content": {"GET": files.content},
        }
        self.app = ErrorBoundary(public_router(paths, ready=health, metrics=health, others=[]))

    async def picture(self, data=PICTURE, kind="image", **changes):
        changes = {"content_type": "image/png", "owner": "key_1", **changes}
        return await self.shelf.put(kind, data, **changes)

    async def get(self, link, method="GET", **headers):
        path, _, query = link.partition("?")
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return await ask(self.app, method, path, key=None, headers=sent, query=query)

    async def call(self, method, path="", **more):
        return await ask(self.app, method, f"/v1/files{path}", **more)

    async def upload(self, content=b"Some words.", name="a.txt", key=KEY, **fields):
        fields = {"purpose": "user_data", **fields}
        body = form(("file", name, content), *((k, None, v.encode()) for k, v in fields.items()))
        return await self.call("POST", body=body, headers=FORM, key=key)


def form(*parts: tuple[str, str | None, bytes]) -> bytes:
    """Write a multipart form: name, file name, content."""
    written = b""
    for name, filename, content in parts:
        disposition = f'form-data; name="{name}"' + (f'; filename="{filename}"' if filename else "")
        written += f"--{BOUNDARY}\r\nContent-Disposition: {disposition}\r\n\r\n".encode()
        written += content + b"\r\n"
    return written + f"--{BOUNDARY}--\r\n".encode()


@asynccontextmanager
async def counter_in(folder, ttl_s=0):
    database = await Database.open("sqlite+aiosqlite:///groxy.db", folder)
    limits = ShelfLimits(
        max_total_bytes={"image": 0, "video": 0, "file": 0},
        max_bytes={"image": MOST, "video": MOST, "file": MOST},
    )
    shelf = Shelf("", folder, database, limits)
    yield Counter(shelf, Links("", SECRET, ttl_s))
    await database.close()


SIZE = len(PICTURE)

"""Files that come by HTTP, for jobs to read: `uploads/<id>/<name>` in the home.

A file is announced first (a small request, which a browser may make by cookie) and then sent, with a ticket that is
good for this file alone, or with the token. It is streamed to disk as it comes, counted on the way, and has its name
only once it is whole and fsynced; what is not finished is swept when the service starts.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated

from pydantic import Field

from singlepoint.jobs.client.entry import is_signed, signed
from singlepoint.jobs.clock import now
from singlepoint.jobs.errors import NotFound, NotNow, UsageError
from singlepoint.jobs.lifecycle.summary import SCHEMA
from singlepoint.jobs.page.problems import Refused
from singlepoint.jobs.page.security import Refusal
from singlepoint.jobs.page.service import Answer, Call, Document, Service
from singlepoint.jobs.spec.base import Part
from singlepoint.jobs.store.durable import explained, make_directory, sync_directory
from singlepoint.jobs.store.home import Home
from singlepoint.jobs.store.job_store import new_id

TICKET_S = 3600.0
_UNFINISHED = ".part"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)


class Announcement(Part):
    """A file that is to come. name: letters, digits, dots, - and _; its ending tells its format."""

    name: Annotated[str, Field(strict=True, min_length=1, max_length=128)]


def announce(service: Service, call: Call) -> Answer:
    """Make room for a file. The answer says where to send it, the ticket to send it with, and its path in a spec."""
    name = call.document.name
    if _NAME.fullmatch(name) is None:
        raise UsageError(f"{name!r} is no name for a file here", hint="letters, digits, dots, - and _ make one")
    upload = new_id()
    home = service.session.home
    make_directory(home.uploads)
    make_directory(home.uploads / upload)
    ticket = signed(service.token, _purpose(upload), now() + TICKET_S)
    document = {
        "schema": SCHEMA,
        "id": upload,
        "path": f"{upload}/{name}",
        "url": f"/api/v1/uploads/{upload}/{name}",
        "ticket": ticket,
        "limit_bytes": service.settings.upload,
    }
    return Answer(document, 201)


def _purpose(upload: str) -> str:
    return f"upload:{upload}"


def is_ticket(token: str, upload: str, word: str, at: float) -> bool:
    """Whether `word` lets a file of this upload in."""
    return is_signed(token, _purpose(upload), word, at)


async def receive(service: Service, upload: str, name: str, body: AsyncIterator[bytes]) -> Document:
    """Write a file as it comes. Raises NotFound for one that nobody announced, NotNow for one that is there."""
    place = service.session.home.uploads / upload
    if _NAME.fullmatch(name) is None or not place.is_dir():
        raise NotFound("nobody announced this file", hint="POST /api/v1/uploads first")
    final = place / name
    if final.exists():
        raise NotNow("this file is there already", hint="announce another")
    part = place / f"{_UNFINISHED}{time.monotonic_ns()}"
    digest, size = hashlib.sha256(), 0
    with explained(final):
        try:
            with open(part, "xb", opener=_private) as file:
                async for piece in body:
                    size += len(piece)
                    if size > service.settings.upload:
                        raise Refused(_too_large(service.settings.upload))
                    digest.update(piece)
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, final)
            sync_directory(place)
        finally:
            with suppress(FileNotFoundError):
                part.unlink()
    return {"schema": SCHEMA, "path": f"{upload}/{name}", "bytes": size, "sha256": digest.hexdigest()}


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _too_large(limit_bytes: int) -> Refusal:
    return Refusal(413, "Too large", f"a file may have {limit_bytes} bytes here")


def remove(service: Service, call: Call) -> Answer:
    """Delete a file that was uploaded; a job that still reads it fails."""
    place = service.session.home.uploads / call.words["upload"]
    if not place.is_dir():
        raise NotFound(f"no upload {call.words['upload']}")
    shutil.rmtree(place)
    return Answer({"schema": SCHEMA, "id": call.words["upload"], "removed": True})


def sweep(home: Home) -> None:
    """Delete what is left of files that never came to their end, and the room that was made for none."""
    for place in _directories(home.uploads):
        for entry in list(place.iterdir()):
            if entry.name.startswith(_UNFINISHED):
                entry.unlink()
        with suppress(OSError):
            place.rmdir()  # only an empty one goes


def _directories(path: Path) -> list[Path]:
    with suppress(FileNotFoundError):
        return [entry for entry in path.iterdir() if entry.is_dir()]
    return []

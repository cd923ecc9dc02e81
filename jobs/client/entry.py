"""How one gets in to the service of a home: its token, where it answers, and the words that open it once.

The token is `$SINGLEPOINT_TOKEN`, or what the file `$SINGLEPOINT_TOKEN_FILE` holds, or a secret that is made at first
use and kept in the home, mode 0600. Whoever has it may do all that the owner can; it never enters an address, a cookie
or a log. What a browser is given is derived from it, ends by itself, and is worth nothing once the token changes.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from singlepoint.jobs import documents
from singlepoint.jobs.documents import Malformed
from singlepoint.jobs.errors import NotFound, NotPermitted
from singlepoint.jobs.host.processes import ProcessId, this_process
from singlepoint.jobs.regular_files import read_regular
from singlepoint.jobs.store.durable import explained, replace_file, sync_directory
from singlepoint.jobs.store.home import Home

SCHEMA = 1
WEAK_CHARACTERS = 16
"""A token shorter than this can be guessed; `page` says so."""


def service_token(home: Home, environment: Mapping[str, str] = os.environ) -> str:
    """The secret of this home's service. Raises NotPermitted, and NotFound for a token file that is not there."""
    if token := environment.get("SINGLEPOINT_TOKEN", "").strip():
        return token
    if path := environment.get("SINGLEPOINT_TOKEN_FILE"):
        return _read(Path(path))
    if not home.http_token.exists():
        _make(home.http_token)
    return _read(home.http_token)


def _read(path: Path) -> str:
    try:
        token = path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        raise NotFound(f"no token file {path}", hint="mend $SINGLEPOINT_TOKEN_FILE, or leave it out") from None
    except (OSError, UnicodeDecodeError) as error:
        raise NotPermitted(f"cannot read the token in {path}: {error}", hint="mend its permissions") from None
    if not token:
        raise NotPermitted(f"the token file {path} is empty", hint="delete it: another is made at the next start")
    return token


def _make(path: Path) -> None:
    """A new secret; of two that make one at once, the first is kept. Nobody else can read it at any instant."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with explained(path):
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, secrets.token_urlsafe(32).encode() + b"\n")
            os.fsync(descriptor)
            with suppress(FileExistsError):
                os.link(temporary, path)
        finally:
            os.close(descriptor)
            os.unlink(temporary)
        sync_directory(path.parent)


@dataclass(frozen=True)
class Address:
    """Where the service of a home answers, and which process it is."""

    url: str
    process: ProcessId

    @property
    def instance(self) -> str:
        """A word for this start of the service: what opens it once opens no other."""
        return f"{self.process.boot_id}-{self.process.pid}-{self.process.started}"

    def to_json(self) -> dict[str, Any]:
        return {"schema": SCHEMA, "url": self.url, "process": self.process.to_json()}


def publish_address(home: Home, url: str) -> Address:
    """Tell where this process answers."""
    address = Address(url, this_process())
    replace_file(home.http_record, json.dumps(address.to_json()).encode(), point="http")
    return address


def read_address(home: Home) -> Address | None:
    """Where the running service answers; None when none runs."""
    try:
        document = documents.parse_object(read_regular(home.http_record))
        process = ProcessId.from_json(documents.mapping(document, "process"))
        address = Address(documents.text(document, "url", most=1000), process)
    except (OSError, Malformed):
        return None
    return address if address.process.is_alive() else None


# ---- words derived from the token ------------------------------------------------------------------------


def signed(token: str, purpose: str, until: float) -> str:
    """A word that proves the token until a time, for one purpose alone: `<until>.<nonce>.<signature>`."""
    body = f"{int(until)}.{secrets.token_urlsafe(12)}"
    return f"{body}.{_signature(token, purpose, body)}"


def is_signed(token: str, purpose: str, word: str, now: float) -> bool:
    """Whether `word` was made by `signed` with this token for this purpose, and still holds."""
    body, _, signature = word.rpartition(".")
    until = body.partition(".")[0]
    if not same(signature, _signature(token, purpose, body)):
        return False
    return until.isdecimal() and now < int(until)


def same(given: str, expected: str) -> bool:
    """Whether two secrets are equal, in a time that tells nothing of either."""
    return hmac.compare_digest(_digest(given), _digest(expected))


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


def _signature(token: str, purpose: str, body: str) -> str:
    return hmac.new(token.encode(), f"{purpose}:{body}".encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()

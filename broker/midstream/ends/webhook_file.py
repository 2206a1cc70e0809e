"""The file that names the receivers of webhooks (PROTOCOL: Ends/Webhook file)."""

import base64
import binascii
import hashlib
import hmac
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from midstream.log.outbox import EVERYBODY, Outlet

PREFIX: Final = "whsec_"
SECRET_BYTES: Final = range(24, 65)
MOST_SECRETS: Final = 4
TENANT: Final = re.compile(r"[A-Za-z0-9_-]{1,64}|\*")
FIELDS: Final = frozenset({"tenant", "url", "secrets", "text"})
NAME_CHARS: Final = 16


class WebhooksFileError(Exception):
    """The file cannot be used; the message names the row and the field, never a secret or a URL."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """One receiver.

    Attributes:
        tenant: Whose ends it is sent; `*`: everybody's.
        url: Where it listens.
        secrets: What its requests are signed with, all of them.
        text: Whether it is sent the text of the answer.
    """

    tenant: str
    url: str = field(repr=False)
    secrets: Sequence[bytes] = field(repr=False)
    text: bool

    @property
    def outlet(self) -> Outlet:
        """What it is in the outbox; its name does not tell the URL, which may hold a secret."""
        digest = hashlib.sha256(f"{self.tenant} {self.url}".encode()).hexdigest()
        return Outlet(f"webhook-{digest[:NAME_CHARS]}", self.tenant)

    def headers(self, message_id: str, time_s: int, body: bytes) -> dict[str, str]:
        """Return the headers of the Standard Webhooks specification for one request."""
        content = f"{message_id}.{time_s}.".encode() + body
        signatures = (hmac.digest(secret, content, "sha256") for secret in self.secrets)
        return {
            "webhook-id": message_id,
            "webhook-timestamp": str(time_s),
            "webhook-signature": " ".join(f"v1,{base64.b64encode(each).decode()}" for each in signatures),
        }


def webhooks_of(path: Path) -> dict[str, Webhook]:
    """Return the receivers that a file names, by the names of their outlets.

    Raises:
        WebhooksFileError: The file cannot be read or used.
    """
    try:
        tables = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise WebhooksFileError(f"The file {path} cannot be read: {type(error).__name__}.") from None
    except (tomllib.TOMLDecodeError, RecursionError):
        raise WebhooksFileError(f"The file {path} is not TOML.") from None
    rows = tables.get("webhooks", [])
    if set(tables) - {"webhooks"} or not isinstance(rows, list):
        raise WebhooksFileError(f"The file {path} has other tables than [[webhooks]].")
    webhooks = [_webhook(f"[[webhooks]] {number}", row) for number, row in enumerate(rows, 1)]
    by_name = {each.outlet.name: each for each in webhooks}
    if len(by_name) < len(webhooks):
        raise WebhooksFileError("Two [[webhooks]] have the same tenant and the same URL.")
    return by_name


def _webhook(where: str, row: Mapping[str, Any]) -> Webhook:
    if not isinstance(row, dict):
        raise WebhooksFileError(f"{where}: not a table.")
    if unknown := sorted(set(row) - FIELDS):
        raise WebhooksFileError(f"{where}: no field is called {', '.join(unknown)}.")
    tenant, url, text = row.get("tenant"), row.get("url"), row.get("text", False)
    if not isinstance(tenant, str) or not TENANT.fullmatch(tenant):
        raise WebhooksFileError(f"{where}: `tenant` is 1 to 64 letters, digits, _ and -, or {EVERYBODY} for all.")
    if not isinstance(url, str) or not _is_url(url):
        raise WebhooksFileError(f"{where}: `url` begins with https:// or http:// and names a host, and no user.")
    if not isinstance(text, bool):
        raise WebhooksFileError(f"{where}: `text` is true or false.")
    return Webhook(tenant, url, _secrets(where, row.get("secrets")), text)


def _is_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return (
            parts.scheme in ("https", "http") and bool(parts.hostname) and parts.port != 0 and "@" not in parts.netloc
        )
    except ValueError:
        return False


def _secrets(where: str, texts: Any) -> list[bytes]:
    wrong = WebhooksFileError(
        f"{where}: `secrets` is a list of 1 to {MOST_SECRETS} texts, "
        f"each `{PREFIX}` and 24 to 64 random bytes in base64."
    )
    if not isinstance(texts, list) or not 1 <= len(texts) <= MOST_SECRETS:
        raise wrong
    secrets = []
    for text in texts:
        if not isinstance(text, str) or not text.startswith(PREFIX):
            raise wrong
        try:
            secret = base64.b64decode(text.removeprefix(PREFIX), validate=True)
        except (binascii.Error, ValueError):
            raise wrong from None
        if len(secret) not in SECRET_BYTES:
            raise wrong
        secrets.append(secret)
    return secrets

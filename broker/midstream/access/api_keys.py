"""API keys: 256 random bits each, known here by their SHA-256 alone (PROTOCOL: Access/Keys).

A key of so many random bits cannot be guessed from its hash, so no slow hash is needed, and one look into a table by
the hash of what was offered takes the same time for every key.
"""

import hashlib
import re
import secrets
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from midstream.access.allowance import EVERYTHING, OF_KEYS, OF_TENANTS, Allowance, Allowances
from midstream.access.grant import KEY, MADE_BY_KEY, TENANT_SCOPES, Grant, Scope
from midstream.access.limit_settings import LimitSettings

SECRET_BYTES: Final = 32
PREFIX: Final = "ms"
"""Every key begins with it, so that scanners find keys that leaked."""
NAME: Final = re.compile(r"[A-Za-z0-9-]{1,64}")
HASH_CHARS: Final = 12
"""Of the hash, so many are in a grant's name: a new key under an old name is another credential."""
TENANT: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
SETTING: Final = "MIDSTREAM_API_KEYS"
"""What keys of that setting are called: no key of a file can have this name."""
FIELDS: Final = frozenset({"name", "sha256", "tenant", "user", "scopes", "expires", "models", "limits"})
TENANT_FIELDS: Final = frozenset({"name", "models", "limits"})


class KeysFileError(Exception):
    """A key file that cannot be used; the message names the key and the field, never a secret."""


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key as it is made.

    Attributes:
        secret: What the client sends. It is shown once and stored nowhere.
        row: What the key file keeps of it.
    """

    secret: str
    row: dict[str, Any]


def new_key(name: str, tenant: str) -> NewKey:
    """Make a key with this name for a tenant."""
    secret = f"{PREFIX}_{name}_{secrets.token_urlsafe(SECRET_BYTES)}"
    return NewKey(secret, {"name": name, "sha256": digest(secret), "tenant": tenant})


def digest(secret: str) -> str:
    """Return what is kept of a key."""
    return hashlib.sha256(secret.encode()).hexdigest()


class ApiKeys:
    """The keys that are valid now."""

    def __init__(
        self,
        grants: Mapping[str, Grant],
        of_keys: Mapping[str, Allowance] | None = None,
        of_tenants: Mapping[str, Allowance] | None = None,
    ) -> None:
        """Take the grants by the SHA-256 of their keys, and allowances by the grants' credentials and by tenants."""
        self._grants = dict(grants)
        self._of_keys = dict(of_keys or {})
        self._of_tenants = dict(of_tenants or {})
        self._by_credential = {grant.credential: grant for grant in self._grants.values()}
        self._by_hash = {hash_of(credential): grant for credential, grant in self._by_credential.items()}

    @classmethod
    def from_pairs(cls, tenants_by_key: Mapping[str, str]) -> "ApiKeys":
        """Return the keys of the setting `MIDSTREAM_API_KEYS`."""
        hashes = {digest(key): tenant for key, tenant in tenants_by_key.items()}
        return cls({hashed: Grant(tenant, credential=_name(SETTING, hashed)) for hashed, tenant in hashes.items()})

    @classmethod
    def from_toml(cls, text: str) -> "ApiKeys":
        """Return the keys of a key file.

        Raises:
            KeysFileError: The file is no TOML, or a row cannot be used; no row is skipped in silence.
        """
        try:
            document = tomllib.loads(text)
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            raise KeysFileError(f"The key file is no TOML: {error}") from None
        rows, tenants = document.get("keys", []), document.get("tenants", [])
        if not isinstance(rows, list) or not isinstance(tenants, list) or set(document) - {"keys", "tenants"}:
            raise KeysFileError("The key file holds tables [[keys]] and [[tenants]] and nothing else.")
        grants: dict[str, Grant] = {}
        of_keys: dict[str, Allowance] = {}
        names: set[str] = set()
        for number, row in enumerate(rows, 1):
            hashed, grant = _grant(number, row)
            if hashed in grants or row["name"] in names:
                raise KeysFileError(f"[[keys]] {number}: another key has this name or hash.")
            grants[hashed] = grant
            of_keys[grant.credential] = _allowance(f"[[keys]] {number} ({row['name']})", row, OF_KEYS)
            names.add(row["name"])
        return cls(grants, of_keys, _tenants(tenants))

    def __len__(self) -> int:
        """Return how many keys there are."""
        return len(self._grants)

    def __or__(self, others: "ApiKeys") -> "ApiKeys":
        """Return these keys and others together."""
        return ApiKeys(
            {**self._grants, **others._grants},
            {**self._of_keys, **others._of_keys},
            {**self._of_tenants, **others._of_tenants},
        )

    def allowances(self, credential: str, tenant: str, settings: LimitSettings) -> Allowances:
        """Return what holds for the holder of a grant with this credential and tenant."""
        of_key = self._of_keys.get(credential, EVERYTHING)
        return Allowances(of_key, self._of_tenants.get(tenant, EVERYTHING), settings)

    def grant(self, secret: str) -> Grant | None:
        """Return what a key grants; None for an unknown one. Whether it has expired is the verifier's question."""
        return self._grants.get(digest(secret))

    def holds(self, grant: Grant) -> bool:
        """Tell whether the key of a grant that was made before is there still, whenever the grant itself ends."""
        if grant.credential.startswith(MADE_BY_KEY):
            own = self._by_hash.get(hash_of(grant.credential))
            return (
                own is not None
                and own.tenant == grant.tenant
                and own.user in (None, grant.user)
                and grant.scopes <= own.scopes
            )
        own = self._by_credential.get(grant.credential)
        return own is not None and (own is grant or replace(own, expires_s=grant.expires_s) == grant)


def _grant(number: int, row: Any) -> tuple[str, Grant]:
    where = f"[[keys]] {number}"
    if not isinstance(row, dict):
        raise KeysFileError(f"{where}: not a table.")
    if unknown := sorted(set(row) - FIELDS):
        raise KeysFileError(f"{where}: no field is called {', '.join(unknown)}.")
    name, hashed, tenant, user = (row.get(field) for field in ("name", "sha256", "tenant", "user"))
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise KeysFileError(f"{where}: `name` is 1 to 64 letters, digits and -.")
    where = f"{where} ({name})"
    if not isinstance(hashed, str) or not re.fullmatch(r"[0-9a-f]{64}", hashed):
        raise KeysFileError(f"{where}: `sha256` is 64 hexadecimal digits.")
    if not isinstance(tenant, str) or not TENANT.fullmatch(tenant):
        raise KeysFileError(f"{where}: `tenant` is 1 to 64 letters, digits, _ and -.")
    if user is not None and (not isinstance(user, str) or not user):
        raise KeysFileError(f"{where}: `user` is a text that is not empty.")
    expires = row.get("expires")
    if expires is not None and (not isinstance(expires, datetime) or expires.tzinfo is None):
        raise KeysFileError(f"{where}: `expires` is a date and time with its offset, as 2027-01-31T00:00:00Z.")
    return hashed, Grant(
        tenant,
        user,
        _scopes(where, row.get("scopes")),
        credential=_name(name, hashed),
        expires_s=expires.timestamp() if expires else None,
    )


def _tenants(rows: list[Any]) -> dict[str, Allowance]:
    allowances: dict[str, Allowance] = {}
    for number, row in enumerate(rows, 1):
        where = f"[[tenants]] {number}"
        if not isinstance(row, dict):
            raise KeysFileError(f"{where}: not a table.")
        name = row.get("name")
        if not isinstance(name, str) or not TENANT.fullmatch(name) or name in allowances:
            raise KeysFileError(f"{where}: `name` is 1 to 64 letters, digits, _ and -, and no other tenant has it.")
        if unknown := sorted(set(row) - TENANT_FIELDS):
            raise KeysFileError(f"{where} ({name}): no field is called {', '.join(unknown)}.")
        allowances[name] = _allowance(f"{where} ({name})", row, OF_TENANTS)
    return allowances


def _allowance(where: str, row: Mapping[str, Any], names: frozenset[str]) -> Allowance:
    try:
        return Allowance.of_row(row, names)
    except ValueError as error:
        raise KeysFileError(f"{where}: {error}") from None


def hash_of(credential: str) -> str:
    """Return the beginning of the hash of the key that a grant's credential names; empty: it names none."""
    return credential.rpartition("/")[2] if credential.startswith((KEY, MADE_BY_KEY)) else ""


def _name(name: str, hashed: str) -> str:
    return f"{KEY}{name}/{hashed[:HASH_CHARS]}"


def _scopes(where: str, names: Any) -> frozenset[Scope]:
    if names is None:
        return TENANT_SCOPES
    try:
        return frozenset(Scope(name) for name in names)
    except (TypeError, ValueError):
        raise KeysFileError(f"{where}: `scopes` is a list of {', '.join(Scope)}.") from None

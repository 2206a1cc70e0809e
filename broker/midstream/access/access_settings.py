"""The settings that decide who gets in; `midstream.settings` holds them with all others."""

from functools import cached_property
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings

from midstream.access.api_keys import TENANT
from midstream.access.grant import Scope

LOOPBACK_HOSTS: Final = frozenset(("127.0.0.1", "::1", "localhost"))
ALGORITHMS: Final = frozenset(
    {"EdDSA", "ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
)
"""Signatures with a public key. `none` and HS* are not among them: a published key would be their secret."""
MIN_SECRET_CHARS: Final = 32
PROVIDER_OBJECTS: Final = frozenset(
    {
        *("conversation", "previous_response_id", "prompt", "item_reference", "container", "container_id"),
        *("file_id", "file_ids", "vector_store_ids", "mcp_servers", "server_url", "connector_id"),
        *("previous_interaction_id", "cached_content", "file_search_store_names"),  # Gemini's
    }
)
"""Fields that name what a provider keeps for the operator's key, or what it is to reach with it."""
CLAIM: Final = r"^[A-Za-z0-9_:/.-]{0,200}$"


class AccessSettings(BaseSettings):
    """Keys, the identity provider, and the secrets of read tokens.

    Raises:
        pydantic.ValidationError: A value does not parse or is out of range; it names the variable.
    """

    api_keys: SecretStr = Field(
        default=SecretStr(""),
        description="`key:tenant,key:tenant`; required beyond loopback unless there is a key file or an identity "
        "provider, with keys of 32 characters or more",
    )
    keys_file: Path | None = Field(
        default=None, description="file with the hashes of API keys (`midstream keys new`); read again when it changes"
    )
    jwt_issuer: str = Field(default="", description="`iss` of your identity provider's tokens; with it they are valid")
    jwt_audience: str = Field(default="", description="`aud` that those tokens must name")
    jwt_jwks: str = Field(default="", description="URL (`https`) or file of the provider's public keys, a JWKS")
    jwt_algorithms: str = Field(
        default="ES256,RS256,EdDSA", description="signatures that are accepted; only those with a public key can be"
    )
    jwt_tenant_claim: str = Field(
        default="", pattern=CLAIM, description="claim that holds the tenant; empty: every token is of `jwt_tenant`"
    )
    jwt_tenant: str = Field(default="default", description="tenant of tokens where no claim holds it")
    jwt_user_claim: str = Field(default="sub", pattern=CLAIM, description="claim that holds the user")
    jwt_scope_claim: str = Field(default="scope", pattern=CLAIM, description="claim that holds the scopes")
    jwt_scopes: str = Field(default="start read stop", description="scopes of a token without that claim")
    token_secrets: SecretStr = Field(
        default=SecretStr(""),
        description="`new,old`: secrets of 32 characters or more that sign read tokens and sessions; the first one "
        "signs, all verify; empty: a secret that Redis keeps",
    )
    provider_objects: str = Field(
        default="",
        description="fields of requests that may name objects at a provider although all tenants share them there: "
        "`file_id,vector_store_ids`; `*` stands for all",
    )
    remote_files: str = Field(
        default="openai,anthropic",
        pattern=r"^(\*|none|[\w.-]+(\s*,\s*[\w.-]+)*)$",
        description="providers that may be sent `http` and `https` URLs of images and files, which they fetch from "
        "where they run; `*` stands for all and for every scheme, `none` for nobody",
    )
    session_ttl_s: int = Field(default=3_600, ge=10, le=86_400, description="longest life of a page's session")
    read_token_ttl_s: int = Field(default=3_600, ge=10, le=86_400, description="longest life of a read token")

    @field_validator("api_keys", "token_secrets")
    @classmethod
    def _not_blank(cls, value: SecretStr) -> SecretStr:
        if value.get_secret_value() and not listed(value.get_secret_value()):
            raise ValueError("it is set and lists nothing: name at least one, or leave it out")
        return value

    @field_validator("api_keys")
    @classmethod
    def _well_formed_keys(cls, value: SecretStr) -> SecretStr:
        keys = set()
        for pair in listed(value.get_secret_value()):
            key, _, tenant = pair.partition(":")
            if not key or not TENANT.fullmatch(tenant):
                raise ValueError("each API key is `key:tenant`, the tenant of 1 to 64 letters, digits, - and _")
            if key in keys:
                raise ValueError(f"a key of the tenant {tenant} is there twice; list each key once, for one tenant")
            keys.add(key)
        return value

    @field_validator("jwt_jwks")
    @classmethod
    def _well_formed_jwks(cls, value: str) -> str:
        url = urlsplit(value)
        if url.scheme == "http" and url.hostname not in LOOPBACK_HOSTS:
            raise ValueError("keys that are fetched by `http` can be replaced on their way: use `https`, or a file")
        return value

    @field_validator("jwt_algorithms")
    @classmethod
    def _public_key_algorithms(cls, value: str) -> str:
        if not listed(value) or set(listed(value)) - ALGORITHMS:
            raise ValueError(f"the algorithms are some of {', '.join(sorted(ALGORITHMS))}")
        return value

    @field_validator("jwt_scopes")
    @classmethod
    def _well_formed_scopes(cls, value: str) -> str:
        if set(value.split()) - set(Scope):
            raise ValueError(f"the scopes are some of {', '.join(Scope)}, with blanks between them")
        return value

    @field_validator("jwt_tenant")
    @classmethod
    def _well_formed_tenant(cls, value: str) -> str:
        if not TENANT.fullmatch(value):
            raise ValueError("a tenant is 1 to 64 letters, digits, - and _")
        return value

    @field_validator("token_secrets")
    @classmethod
    def _long_secrets(cls, value: SecretStr) -> SecretStr:
        if any(len(secret) < MIN_SECRET_CHARS for secret in listed(value.get_secret_value())):
            raise ValueError(f"each secret has {MIN_SECRET_CHARS} characters or more")
        return value

    @model_validator(mode="after")
    def _whole_provider(self) -> "AccessSettings":
        parts = {"jwt_issuer": self.jwt_issuer, "jwt_audience": self.jwt_audience, "jwt_jwks": self.jwt_jwks}
        if any(parts.values()) and not all(parts.values()):
            missing = ", ".join(f"MIDSTREAM_{name.upper()}" for name, value in parts.items() if not value)
            raise ValueError(f"an identity provider needs {missing} too")
        return self

    @field_validator("provider_objects")
    @classmethod
    def _well_formed_objects(cls, value: str) -> str:
        if set(listed(value)) - PROVIDER_OBJECTS - {"*"}:
            raise ValueError(f"the fields are some of {', '.join(sorted(PROVIDER_OBJECTS))}, or `*`")
        return value

    @cached_property
    def refused_objects(self) -> frozenset[str]:
        """The fields that a request must not have."""
        allowed = frozenset(listed(self.provider_objects))
        return frozenset() if "*" in allowed else PROVIDER_OBJECTS - allowed

    @cached_property
    def remote_file_providers(self) -> frozenset[str]:
        """The providers that may be sent URLs; `*` stands for all."""
        return frozenset(listed(self.remote_files)) - {"none"}

    @property
    def is_open(self) -> bool:
        """Whether no credential is needed, because none is set up."""
        return not (self.tenants_by_key or self.keys_file or self.jwt_issuer)

    @cached_property
    def tenants_by_key(self) -> dict[str, str]:
        """The tenant of each key of `api_keys`."""
        pairs = (pair.partition(":") for pair in listed(self.api_keys.get_secret_value()))
        return {key: tenant for key, _, tenant in pairs}


def listed(value: str) -> tuple[str, ...]:
    """Return the items of a list with commas between them, without blanks around them."""
    return tuple(filter(None, map(str.strip, value.split(","))))

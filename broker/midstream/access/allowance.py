"""What a key file allows a tenant or a key: models, and limits of its own (PROTOCOL: Access/Models, Limits/Own)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, Final, Self

from pydantic import TypeAdapter, ValidationError

from midstream.access.limit_settings import LimitSettings

OF_KEYS: Final = frozenset(name for name in LimitSettings.model_fields if name.startswith("key_"))
"""The limits that a key's row may set."""
OF_TENANTS: Final = OF_KEYS | {
    name
    for name in LimitSettings.model_fields
    if name.startswith(("tenant_", "user_", "stream_tails")) or name.endswith("retention_s")
}
"""The limits that a tenant's row may set."""
ANY: Final = "*"
_VALUES: Final[Mapping[str, TypeAdapter[int]]] = {
    name: TypeAdapter(Annotated[int, *LimitSettings.model_fields[name].metadata]) for name in OF_TENANTS
}


@dataclass(frozen=True, slots=True)
class Allowance:
    """What one row of a key file allows.

    Attributes:
        models: Patterns, of which a model has to fit one; None: every model.
        limits: Values of limits, by the names of their settings in small letters.
    """

    models: tuple[str, ...] | None = None
    limits: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of_row(cls, row: Mapping[str, Any], names: frozenset[str]) -> Self:
        """Return what a row allows, whose `limits` may have these names.

        Raises:
            ValueError: It cannot be read; the message names the field.
        """
        models = row.get("models")
        if models is not None and (not isinstance(models, list) or not all(map(_is_pattern, models))):
            raise ValueError("`models` is a list of names like demo/story; a * may stand at the end of each.")
        limits = row.get("limits", {})
        if not isinstance(limits, dict):
            raise ValueError("`limits` is a table, as in {key_generations = 5}.")  # noqa: TRY004 - of the file
        if unknown := sorted(set(limits) - names):
            raise ValueError(f"no limit is called {', '.join(unknown)} here; there are {', '.join(sorted(names))}.")
        for name, value in limits.items():
            try:
                _VALUES[name].validate_python(value, strict=True)
            except ValidationError as error:
                raise ValueError(f"`{name}`: {error.errors()[0]['msg']}.") from None
        return cls(None if models is None else tuple(models), dict(limits))


def _is_pattern(model: Any) -> bool:
    return isinstance(model, str) and bool(model) and ANY not in model[:-1]


EVERYTHING: Final = Allowance()


@dataclass(frozen=True)
class Allowances:
    """What holds for one caller: the allowances of its key and of its tenant, and the settings."""

    of_key: Allowance
    of_tenant: Allowance
    settings: LimitSettings

    def limit(self, name: str) -> int:
        """Return the value of a limit by its setting's name: the key's, else the tenant's, else that of the settings.

        Raises:
            AttributeError: There is no such setting.
        """
        for own in (self.of_key.limits, self.of_tenant.limits):
            if name in own:
                return own[name]
        value: int = getattr(self.settings, name)
        return value

    @cached_property
    def most_tails(self) -> tuple[int, int]:
        """How many tails the tenant may have, and one stream; 0: any number. Each tail asks for it."""
        return self.limit("tenant_tails"), self.limit("stream_tails")

    def retention_s(self, outcome: str) -> int:
        """Return how long a stream is kept after an end with this outcome, unless its request says so itself.

        What the tenant's row says of any outcome goes before what the settings say of this one.
        """
        own, name = self.of_tenant.limits, f"{outcome}_retention_s"
        of_outcome: int = getattr(self.settings, name)
        return own.get(name) or own.get("retention_s") or of_outcome or self.settings.retention_s

    @property
    def models(self) -> tuple[tuple[str, ...], ...]:
        """Lists of patterns; a model that may be used fits one of each list."""
        return tuple(each.models for each in (self.of_tenant, self.of_key) if each.models is not None)

"""Who asks what concerns the installation: a credential with the scope `operate`, which sees all tenants' streams."""

from typing import Any

from midstream.access.api_keys import TENANT
from midstream.journal.audit import Asker
from midstream.log.errors import StreamAbsent
from midstream.log.keys import stream_name, tenant_of
from midstream.service.caller import Caller
from midstream.service.resources import Resources
from midstream.settings import OPEN_TENANT, Settings


class Operator:
    """An operator, as far as this room knows. This constructor is the only way for an endpoint into the room.

    Attributes:
        resources: What a broker process works with, for the streams of all tenants.
        names: Who this is, as the audit names it: tenant, user, credential.
        asker: The request that asks, as the audit names it.

    Raises:
        InsufficientScopeError: The caller's credential lacks the scope `operate`, or is for one stream or one thread.
    """

    __slots__ = ("asker", "names", "resources")

    def __init__(self, caller: Caller) -> None:
        self.resources: Resources = caller.installation()
        self.names: dict[str, str | None] = caller.names
        self.asker: Asker = caller.asker

    @property
    def settings(self) -> Settings:
        """The settings of this process."""
        return self.resources.settings

    async def note(self, act: str, result: str, *, tenant: str = "", stream: str = "", **facts: Any) -> None:
        """Add a row to the audit of operators' acts (PROTOCOL: Operate/Audit).

        Raises:
            LogUnavailable: Redis did not answer.
        """
        subject = {"act": act, "result": result, "tenant": tenant, "stream": stream, **facts}
        row = {name: value for name, value in subject.items() if value != ""}
        asker = {"request": self.asker.request, "address": self.asker.address}
        by = {name: value for name, value in {**self.names, **asker}.items() if value}
        await self.resources.trail.add(row | {"by": by}, self.settings.audit_entries)

    @property
    def only_tenant(self) -> str | None:
        """The one tenant whose streams this operator reaches; None: those of all (PROTOCOL: Operate/Scope)."""
        return OPEN_TENANT if self.settings.is_open else None

    def reaches(self, name: str) -> bool:
        """Tell whether the operator reaches the stream with this name."""
        return self.only_tenant in (None, tenant_of(name))

    def name_of(self, tenant: str, stream_id: str) -> str:
        """Return the name of a stream, which need not exist.

        Raises:
            StreamAbsent: The operator does not reach the tenant's streams, or no stream can have such a name.
        """
        if self.only_tenant not in (None, tenant) or not TENANT.fullmatch(tenant):
            raise StreamAbsent(stream_id)
        return stream_name(tenant, stream_id)

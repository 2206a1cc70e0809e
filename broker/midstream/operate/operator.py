"""Who asks what concerns the installation: a credential with the scope `operate`, which sees all tenants' streams."""

from midstream.journal.audit import Asker
from midstream.service.caller import Caller
from midstream.service.resources import Resources
from midstream.settings import Settings


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

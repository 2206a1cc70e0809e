"""What an operator does about one stream of any tenant (PROTOCOL: Operate/Acts)."""

from midstream.journal import audit
from midstream.log.state import State
from midstream.operate.operator import Operator
from midstream.service import stopping


class Acts:
    """The acts of one operator.

    Every method raises `StreamAbsent` where there is no such stream, and `LogUnavailable` when Redis does not answer.
    """

    __slots__ = ("_operator",)

    def __init__(self, operator: Operator) -> None:
        self._operator = operator

    async def cancel(self, tenant: str, stream_id: str) -> State:
        """Ask for a stop and return the state after that; a stream that has ended stays as it is."""
        operator = self._operator
        state = await stopping.cancel(operator.resources, operator.name_of(tenant, stream_id))
        audit.done("stop", operator.asker, **operator.names | {"tenant": tenant}, stream=stream_id)
        return state

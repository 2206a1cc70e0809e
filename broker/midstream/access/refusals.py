"""Why a credential is refused: one code for each reason, the same in every dialect (PROTOCOL: Access/Refused)."""

from enum import StrEnum


class AccessError(Exception):
    """A request whose credential does not let it in."""

    status = 401
    code = "unauthorized"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class UnauthorizedError(AccessError):
    """There is no credential, or none that can be trusted. The client does not learn the reason.

    The reason is for the log. It holds nothing of the credential, or each one would be a kind of line of its own.
    """

    def __init__(self, reason: str = "no credential") -> None:
        super().__init__("Send a valid key or token: Authorization: Bearer …")
        self.reason = reason


class TokenExpiredError(AccessError):
    """The credential was valid once: fetch a new one and come back with the same cursor."""

    code = "token_expired"

    def __init__(self) -> None:
        super().__init__("The token has expired. Fetch a new one; reading goes on from the same cursor.")


class Ending(StrEnum):
    """Why a credential is over that was valid before."""

    EXPIRED = "token_expired"
    REVOKED = "credential_revoked"


class InsufficientScopeError(AccessError):
    """The credential is valid, but not for this."""

    status = 403
    code = "insufficient_scope"

    def __init__(self, scope: str) -> None:
        super().__init__(f"This credential lacks the scope `{scope}`.")
        self.scope = scope


class ContentForbiddenError(AccessError):
    """Operators may not read what is in streams (PROTOCOL: Operate/Entries)."""

    status = 403
    code = "content_forbidden"

    def __init__(self) -> None:
        super().__init__("Operators may not read content here (MIDSTREAM_OPERATORS_READ).")


class LimitExceededError(AccessError):
    """A limit of the tenant, its user or a stream is reached (PROTOCOL: Limits/Refused).

    Attributes:
        limit: What is limited.
        of: Whose limit it is: `tenant`, `user`, `key`, `thread` or `stream`.
        retry_after_s: When it is worth trying again.
    """

    status = 429
    code = "limit_exceeded"

    def __init__(self, limit: str, of: str, retry_after_s: int, variable: str = "") -> None:
        variable = variable or f"MIDSTREAM_{of}_{limit}".upper()
        super().__init__(f"A limit of this {of} is reached: {limit.replace('_', ' ')} ({variable}).")
        self.limit = limit
        self.of = of
        self.retry_after_s = retry_after_s


class BudgetExceededError(AccessError):
    """A budget of the tenant, its user or its key is spent (PROTOCOL: Money/Budgets).

    Attributes:
        of: Whose budget it is: `tenant`, `user` or `key`.
        period: `day` or `month`.
        retry_after_s: When the next period begins.
    """

    status = 429
    code = "budget_exceeded"

    def __init__(self, of: str, period: str, retry_after_s: int) -> None:
        variable = f"MIDSTREAM_{of}_{period}_BUDGET_CENTS".upper()
        super().__init__(f"The budget of this {of} for the {period} is spent ({variable}).")
        self.of = of
        self.period = period
        self.retry_after_s = retry_after_s

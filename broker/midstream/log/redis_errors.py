"""Makes the log's own errors of a server's answers and redis-py's; no other place does (PROTOCOL: Log/Refusals).

redis-py strips the code from the text of the errors that it knows, and puts its own text with the whole command around
the errors of pipelines. Errors are therefore told apart by class first and by code second, and no message of ours ever
holds the arguments of a command, which hold prompts.
"""

import logging
import re
import time
from types import TracebackType
from typing import Any, Final

from redis.asyncio.client import Pipeline
from redis.exceptions import (
    AskError,
    AuthenticationError,
    AuthenticationWrongNumberOfArgsError,
    AuthorizationError,
    BusyLoadingError,
    ClusterCrossSlotError,
    ClusterDownError,
    DataError,
    MasterDownError,
    MovedError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    ResponseError,
    TryAgainError,
)

from midstream import counters
from midstream.log.errors import LogFull, LogUnavailable

logger = logging.getLogger(__name__)

MEANING: Final = {
    "OOM": "is out of memory and refuses what would make it grow",
    # Nothing can be written now, but perhaps in a moment.
    "READONLY": "is a read-only replica",
    "MASTERDOWN": "is a replica that has lost its primary",
    "UNBLOCKED": "has just become a replica",
    "REDIRECT": "has handed over to another server",
    "NOREPLICAS": "has too few replicas to accept writes",
    "MISCONF": "cannot write to its disk",
    "BUSY": "is busy with a script",
    "LOADING": "is still loading its data",
    "TRYAGAIN": "is moving the keys that were asked for",
    "CLUSTERDOWN": "belongs to a cluster that is down",
    "NOTREADY": "is not ready",
    "INPROG": "is in the middle of a failover",
    "NOSCRIPT": "has forgotten a script, which is sent again",
    "EXECABORT": "has discarded a transaction",
    "IOERR": "failed in its input or output",
    # The server or the settings must be changed.
    "NOAUTH": "wants another user or password",
    "WRONGPASS": "wants another user or password",
    "NOPERM": "does not allow this user that command",
    "DENIED": "is in protected mode",
    "NOPROTO": "does not speak this version of the protocol",
    "MOVED": "does not hold the keys of that slot, but another node of its cluster",
    "ASK": "is handing the keys of that slot to another node of its cluster",
    "CROSSSLOT": "belongs to a cluster, and holds no keys of several slots for one command",
    "WRONGTYPE": "holds a value of another kind under a key of ours",
    "ERR": "refused a command",
}
"""Every error that a server can answer to a command of ours, by its code. Any other error is waited out too."""
DEMOTED: Final = frozenset(("READONLY", "MASTERDOWN", "UNBLOCKED", "REDIRECT"))
"""Codes of a server that is not the primary any more, while the connection to it stays open."""
NOTED_AGAIN_S: Final = 30.0
"""A code is logged again when it comes after none for this long."""

_OF_CLASS: Final[dict[type, str]] = {
    OutOfMemoryError: "OOM",
    ReadOnlyError: "READONLY",
    BusyLoadingError: "LOADING",
    NoPermissionError: "NOPERM",
    AuthorizationError: "NOPERM",
    AuthenticationError: "NOAUTH",
    AuthenticationWrongNumberOfArgsError: "NOAUTH",
    NoScriptError: "NOSCRIPT",
    MasterDownError: "MASTERDOWN",
    ClusterDownError: "CLUSTERDOWN",
    TryAgainError: "TRYAGAIN",
    MovedError: "MOVED",
    AskError: "ASK",
    ClusterCrossSlotError: "CROSSSLOT",
}
_PIPELINE: Final = " of pipeline caused error: "
_CODE: Final = re.compile(r"-?([A-Z][A-Z0-9_]+)(?: |$)")
_DISCARDED: Final = re.compile(r"[Tt]ransaction discarded because of: (?=[A-Z]+ )")
_noted_s: dict[str, float] = {}


def code_of(error: BaseException) -> str:
    """Return the code of the server's reply that an error stands for; empty: the server did not answer."""
    link: BaseException | None = error
    while link is not None:
        for kind in type(link).__mro__:
            if kind in _OF_CLASS:
                return _OF_CLASS[kind]
        if isinstance(link, ResponseError):
            text = text_of(link)
            discarded = _DISCARDED.match(text)
            code = _CODE.match(text[discarded.end() :] if discarded else text)
            if code:
                return code.group(1)
            return "EXECABORT" if "EXEC" in type(link).__name__.upper() else "ERR"
        link = link.__cause__
    return ""


def text_of(error: BaseException) -> str:
    """Return an error's text without the command that redis-py adds to it."""
    _, wrapped, text = str(error).rpartition(_PIPELINE)
    return text.removeprefix("(").removesuffix(",)").strip("'\"") if wrapped else text


def log_error(error: BaseException) -> LogUnavailable:
    """Return the log's error for one of redis-py's, and log a server's refusal when it begins."""
    code, text = code_of(error), text_of(error)
    counters.count("redis_errors", (code if code in MEANING else "other") if code else "no_answer")
    if not code:
        return LogUnavailable(text or type(error).__name__)
    now_s = time.monotonic()
    if now_s - _noted_s.get(code, -NOTED_AGAIN_S) >= NOTED_AGAIN_S:
        logger.warning("Redis %s (%s): %s", MEANING.get(code, "refused a command"), code, text)
    _noted_s[code] = now_s
    return (LogFull if code == "OOM" else LogUnavailable)(text, code)


class _LogErrors:
    """A context that raises the log's errors in place of redis-py's. It has no state, so one serves all."""

    __slots__ = ()

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        # A command with a DataError never reached a server: that is a bug of ours, and waiting does not help.
        if isinstance(error, RedisError | RedisClusterException | OSError) and not isinstance(error, DataError):
            raise log_error(error) from error


log_errors: Final = _LogErrors()


async def execute(pipe: Pipeline) -> list[Any]:
    """Run a pipeline and return its answers.

    Raises:
        LogUnavailable: Redis did not answer, or refused one of the commands; the others may have taken effect.
        LogFull: It is out of memory.
    """
    with log_errors:
        # If redis-py raised the error, its text would hold the whole command.
        answers: list[Any] = await pipe.execute(raise_on_error=False)
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
    return answers

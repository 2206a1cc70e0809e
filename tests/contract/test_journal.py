"""What brokers and workers log: the form of lines, their bound, and the audit (PROTOCOL: Logs)."""

import base64
import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis as redis_sync
from websockets.asyncio.client import connect

from midstream.journal import audit
from midstream.journal.audit import Asker
from midstream.journal.foreign_lines import is_fit
from midstream.journal.line_bound import MOST_KINDS, LineBound
from midstream.journal.line_format import EVENT_CHARS, formatter
from midstream.log.errors import LogUnavailable
from tests.servers import ValkeyProcess
from tests.system import System

KEY = "k" * 32
HOSTILE = "a\r\n2026-01-01 INFO midstream: forged\x1b]0;pwned\x07\x9b31m\u2028\u202e\x00\x7f\ud800"


def line(message: str, *arguments: object, as_json: bool = True, name: str = "midstream.test", **facts: Any) -> str:
    record = logging.LogRecord(name, logging.ERROR, __file__, 1, message, arguments, facts.pop("exc_info", None))
    vars(record).update(facts)
    return formatter(as_json=as_json).format(record)


@pytest.mark.parametrize("as_json", [True, False], ids=["json", "text"])
def test_no_line_can_be_forged_and_no_terminal_is_commanded(as_json: bool) -> None:
    """Logs/Lines."""
    text = line("stream %s failed", HOSTILE, as_json=as_json, user=HOSTILE, stream="acme/s1")
    assert len(text.splitlines()) == 1
    assert all(" " <= character < "\x7f" or character == "\ufffd" for character in text)
    assert "acme" in text


def test_a_json_line_has_its_facts_apart() -> None:
    """Logs/Lines."""
    facts = json.loads(line("%d of %s", 3, "x", stream="acme/s1", request="req_1", other="dropped"))
    assert facts.pop("time").endswith("Z")
    assert facts == {
        "level": "error",
        "logger": "midstream.test",
        "event": "3 of x",
        "stream": "s1",
        "tenant": "acme",
        "request": "req_1",
    }
    assert len(json.loads(line("x" * 100_000))["event"]) == EVENT_CHARS


def raised(error: BaseException) -> Any:
    try:
        raise error
    except BaseException:  # noqa: BLE001 - it is raised to have a traceback
        return sys.exc_info()


@pytest.mark.parametrize("as_json", [True, False], ids=["json", "text"])
@pytest.mark.parametrize(
    "error",
    [
        ValueError("swordfish"),
        ExceptionGroup("swordfish", [KeyError("swordfish")]),
        UnicodeEncodeError("utf-8", "swordfish", 0, 1, "swordfish"),
    ],
    ids=["plain", "group", "unicode"],
)
def test_an_exception_is_logged_without_its_message(error: Exception, as_json: bool) -> None:
    """Logs/Private."""
    error.__cause__ = RuntimeError("swordfish")
    text = line("failed", as_json=as_json, exc_info=raised(error))
    assert "swordfish" not in text
    assert type(error).__name__ in text
    assert "RuntimeError" in text
    assert "raise error" in text, "the line of code is there"


def test_an_error_of_the_system_or_of_redis_has_its_message() -> None:
    """Logs/Private."""
    assert "is busy" in line("x", exc_info=raised(OSError("the port is busy")))
    assert "NOPERM" in line("x", exc_info=raised(LogUnavailable("NOPERM", "")))


def test_asyncio_shows_no_repr_of_what_failed() -> None:
    """Logs/Private."""
    text = line("Task exception was never retrieved\nfuture: <Task exception=ValueError('swordfish')>", name="asyncio")
    assert json.loads(text)["event"] == "Task exception was never retrieved"


@pytest.mark.parametrize(
    ("name", "level", "message", "fit"),
    [
        ("openai._base_client", logging.DEBUG, "Request options: %s", False),
        ("httpx2", logging.INFO, "HTTP Request: GET /?key=swordfish", False),
        ("asyncio", logging.WARNING, "Executing <Handle f(b'swordfish')> took 1 s", False),
        ("uvicorn.error", logging.INFO, '%s - "WebSocket %s" [accepted]', False),
        ("uvicorn.error", logging.INFO, "Application startup complete.", True),
        ("midstream.hub", logging.DEBUG, "x", True),
    ],
)
def test_lines_of_others_that_hold_requests_are_dropped(name: str, level: int, message: str, fit: bool) -> None:
    """Logs/Private."""
    assert is_fit(logging.LogRecord(name, level, "", 0, message, (), None)) is fit


def record(second: float, message: str = "x %s", **facts: object) -> logging.LogRecord:
    made = logging.makeLogRecord({"name": "midstream", "msg": message, "args": ("y",), "levelname": "INFO", **facts})
    made.created = second
    return made


def test_lines_of_one_kind_are_bounded_and_counted() -> None:
    """Logs/Bounded."""
    bound = LineBound(2)
    admitted = [bound.admits(record(5.0 + number / 100)) for number in range(50)]
    assert admitted == [True, True] + [False] * 48
    assert bound.admits(record(5.9, "another")), "other kinds are counted apart"
    assert bound.counts(5.99) == []
    (count,) = bound.counts(6.0)
    assert count.getMessage() == "48 more lines were left out; the last one was: x y"
    assert (bound.admits(record(6.0)), bound.counts()) == (True, [])


def test_any_number_of_kinds_is_bounded_too() -> None:
    """Logs/Bounded."""
    bound = LineBound(1)
    for number in range(MOST_KINDS * 3):
        bound.admits(record(1.0, f"kind {number}"))
        bound.admits(record(1.0, f"kind {number}"))
    assert (len(bound._counts), len(bound._uncounted)) == (MOST_KINDS, MOST_KINDS)


def test_what_was_done_is_never_left_out() -> None:
    """Logs/Audit."""
    bound = LineBound(1)
    done = record(1.0, name=audit.AUDIT, result=audit.DONE)
    refused = record(1.0, name=audit.AUDIT, result=audit.REFUSED)
    assert [bound.admits(done) for _ in range(3)] == [True, True, True]
    assert [bound.admits(refused) for _ in range(3)] == [True, False, False]


@pytest.fixture
def audited() -> Iterator[io.StringIO]:
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(formatter(as_json=True))
    audit.logger.addHandler(handler)
    audit.logger.setLevel(logging.INFO)
    yield written
    audit.logger.removeHandler(handler)
    audit.logger.setLevel(logging.NOTSET)


def test_an_audit_line_leaves_out_what_is_unknown(audited: io.StringIO) -> None:
    """Logs/Audit."""
    audit.done("start", Asker("req_1", ""), tenant="acme", user=None, stream="s1")
    facts = json.loads(audited.getvalue())
    assert facts["event"] == "start done"
    assert {"tenant": "acme", "stream": "s1", "request": "req_1"}.items() <= facts.items()
    assert not {"user", "address"} & facts.keys()


@pytest.mark.leaves(why="no worker takes the slip", keys=["ms:queue"])
async def test_each_act_and_each_refusal_has_a_line(redis_url: str, tmp_path: Path) -> None:
    """Logs/Audit, Access/Refused."""
    settings: dict[str, Any] = {
        "log_level": "error",
        "api_keys": f"{KEY}:acme",
        "user_starts_per_minute": 6,
        "starts_burst_s": 10,
    }
    async with System(redis_url, tmp_path, **settings) as system:
        await system.start_broker()
        http = system.http
        await http.get("/v1/streams")
        await http.get("/v1/streams", headers={"x-api-key": "sk-unknown"})
        await http.get("/v1/streams?token=sk-unknown")
        http.headers["Authorization"] = f"Bearer {KEY}"
        stream_id = await system.post(model="demo/count", input="one", user="ann")
        over = await http.post("/v1/streams", json={"model": "demo/count", "input": "one", "user": "ann"})
        assert over.status_code == 429
        await http.post(f"/v1/streams/{stream_id}/cancel")
        token = (await http.post("/v1/tokens", json={"stream": stream_id})).json()["token"]
        await http.post("/v1/session")
        await http.post(f"/v1/streams/{stream_id}/cancel", headers={"Authorization": f"Bearer {token}"})
        await http.delete(f"/v1/streams/{stream_id}")
        async with connect(system.url.replace("http", "ws") + "/v1/ws") as socket:
            await socket.send('{"type": "auth", "key": "sk-unknown"}')
            await socket.recv()
    lines = [json.loads(text) for text in system.log("broker0").splitlines()]
    assert {entry["logger"] for entry in lines} == {audit.AUDIT}, "the level is for other lines"
    assert [(entry["act"], entry["result"]) for entry in lines] == [
        *(("unauthorized", "refused"), ("unauthorized", "refused"), ("credential_in_url", "refused")),
        *(("start", "done"), ("limit_exceeded", "refused"), ("stop", "done"), ("mint", "done"), ("session", "done")),
        *(("insufficient_scope", "refused"), ("delete", "done"), ("unauthorized", "refused")),
    ]
    assert {entry["address"] for entry in lines} == {"127.0.0.1"}
    assert [entry.get("reason") for entry in lines[:2]] == ["no credential", "an unknown key"]
    start, limit = lines[3:5]
    assert (start["tenant"], start["user"], start["stream"]) == ("acme", "ann", stream_id)
    assert start["credential"].startswith("key:")
    assert (limit["tenant"], limit["request"]) == ("acme", over.headers["x-request-id"])
    assert lines[8]["credential"].startswith("read token")


SCRIPT = """
import logging
from midstream.journal.journal import configure
from midstream.journal.journal_settings import JournalSettings
configure(JournalSettings(log_lines_per_s=1, log_format="auto"))
logger = logging.getLogger("midstream.test")
for _ in range(5):
    logger.info("again")
logger.info("%d", "swordfish")
"""


def test_a_process_counts_at_its_end_and_prints_no_line_that_it_cannot_form() -> None:
    """Logs/Bounded, Logs/Lines: not on a terminal, so JSON."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    first, broken, last = done.stderr.splitlines()
    assert json.loads(first)["event"] == "again"
    assert broken == "a line of midstream.test could not be logged: TypeError"
    assert json.loads(last)["omitted"] == 4


async def test_a_failure_of_ours_names_its_request(tmp_path: Path) -> None:
    """Logs/Lines: the line has the id that the client was answered with."""
    with ValkeyProcess(tmp_path) as server:
        async with System(server.url, tmp_path) as system:
            await system.start_broker()
            stream_id = await system.post(model="demo/count", input="one")
            client = redis_sync.Redis.from_url(server.url)
            client.hset(f"ms:{{{stream_id}}}:state", "metadata", "swordfish")
            client.close()
            answer = await system.http.get(f"/v1/streams/{stream_id}")
            assert answer.status_code == 500
    failed = [entry for text in system.log("broker0").splitlines() if (entry := json.loads(text)).get("exception")]
    assert [entry["request"] for entry in failed] == [answer.headers["x-request-id"]]


HEADER = {"alg": "ES256", "kid": "k1"}


def forged(number: int) -> str:
    """Return a token that is wrong in one of many ways, with a name of its own in it."""
    odd = f"swordfish-{number}"
    header: dict[str, Any] = {**HEADER, "crit": [odd], odd: odd, "kid": odd} if number % 2 else {"alg": odd, "typ": odd}
    parts = (json.dumps(header), json.dumps({"aud": odd, "iss": odd}), odd)
    return ".".join(base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in parts)


async def test_a_stranger_causes_few_lines_whatever_he_sends(redis_url: str, tmp_path: Path) -> None:
    """Logs/Bounded: nothing of a credential makes a kind of line of its own."""
    async with System(redis_url, tmp_path, api_keys=f"{KEY}:acme", log_lines_per_s=1) as system:
        await system.start_broker()
        for number in range(200):
            await system.http.get("/v1/streams", headers={"Authorization": f"Bearer {forged(number)}"})
            await system.http.get(
                f"/v1/streams/swordfish-{number}?swordfish={number}", headers={"x-api-key": f"{number}"}
            )
            await system.http.get(f"/v1/streams?token=swordfish-{number}")
    lines = [json.loads(text) for text in system.log("broker0").splitlines()]
    refused = [entry for entry in lines if entry["logger"] == audit.AUDIT and "omitted" not in entry]
    seconds, reasons = {entry["time"][:19] for entry in refused}, {entry["reason"] for entry in refused}
    assert len(reasons) <= 4
    assert len(refused) <= len(seconds) * len(reasons)
    assert len(refused) + sum(entry.get("omitted", 0) for entry in lines) == 600, "and none is lost"

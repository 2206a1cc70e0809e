"""Every way in which an upstream fails becomes one `SourceError` with PROTOCOL's code, and no secret in it."""

import traceback
from typing import Any

import pytest

from midstream.testing.provider.script import Script
from midstream_worker.sources.deltas import SourceError
from midstream_worker.sources.source import Prompt, Source
from tests.contract.source_reading import DIALECTS, KEY, Read, prompt, read, source_for
from tests.provider.client import ProviderServer
from tests.servers import free_port

every_dialect = pytest.mark.parametrize("dialect", DIALECTS)
# A background response goes on when its connection breaks: test_source_reattach.py.
every_dialect_of_one_connection = pytest.mark.parametrize(
    "dialect", [name for name in DIALECTS if name != "background"]
)


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up a silent upstream soon: in a worker, what watches a generation's silence is first by five seconds."""
    monkeypatch.setattr("midstream_worker.sources.provider_http.CONNECT_TIMEOUT_S", 0.5)


async def failure(source: Source, request: Prompt, into: Read | None = None) -> SourceError:
    with pytest.raises(SourceError) as caught:
        await read(source.open(request), into)
    return caught.value


@every_dialect
@pytest.mark.parametrize(
    ("status", "code", "retry"),
    [
        (400, "provider_bad_request", "never"),
        (401, "provider_auth", "never"),
        (402, "provider_quota", "never"),
        (403, "provider_auth", "never"),
        (404, "provider_bad_request", "never"),
        (408, "provider_timeout", "ambiguous"),
        (413, "provider_bad_request", "never"),
        (422, "provider_bad_request", "never"),
        (429, "provider_rate_limited", "safe"),
        (500, "provider_error", "ambiguous"),
        (502, "provider_error", "ambiguous"),
        (503, "provider_overloaded", "safe"),
        (504, "provider_timeout", "ambiguous"),
        (529, "provider_overloaded", "safe"),
    ],
)
async def test_a_status_becomes_its_code_and_nothing_is_sent_twice(
    provider: ProviderServer, dialect: str, status: int, code: str, retry: str
) -> None:
    """Errors/Failures."""
    async with source_for(provider, dialect) as source:
        error = await failure(source, prompt(Script(fail="status", status=status)))
    assert (error.code, error.retry) == (code, retry)
    assert str(status) in error.message
    assert len(await provider.requests()) == 1


@pytest.mark.parametrize(
    ("dialect", "kind"),
    [("responses", "insufficient_quota"), ("chat", "insufficient_quota"), ("anthropic", "billing_error")],
)
async def test_a_used_up_quota_is_no_rate_limit(provider: ProviderServer, dialect: str, kind: str) -> None:
    """Errors/Failures."""
    async with source_for(provider, dialect) as source:
        error = await failure(source, prompt(Script(fail="status", status=429, error_code=kind, retry_after=1)))
    assert (error.code, error.retry) == ("provider_quota", "never")


@every_dialect
async def test_retry_after_is_passed_on(provider: ProviderServer, dialect: str) -> None:
    async with source_for(provider, dialect) as source:
        limited = await failure(source, prompt(Script(fail="status", status=429, retry_after=1.5)))
        silent = await failure(source, prompt(Script(fail="status", status=429)))
    assert limited.retry_after_s == 1.5
    assert silent.retry_after_s is None


@every_dialect_of_one_connection
@pytest.mark.parametrize(
    ("fail", "code"),
    [
        ("eof", "provider_incomplete"),
        ("reset", "provider_disconnected"),
        ("garbage", "provider_error"),
        ("stall", "provider_timeout"),
    ],
)
@pytest.mark.parametrize("fail_at", [0, 3, 99])
@pytest.mark.usefixtures("_impatient")
async def test_a_broken_stream_fails_after_all_that_came(
    provider: ProviderServer, dialect: str, fail: str, code: str, fail_at: int
) -> None:
    script = Script(words=5, fail=fail, fail_at=fail_at)
    got = Read([])
    async with source_for(provider, dialect, idle_timeout_s=0.3, max_idle_timeout_s=0.3) as source:
        error = await failure(source, prompt(script), got)
    assert (error.code, error.retry) == (code, "ambiguous")
    assert got.text == "".join(f"w{number} " for number in range(min(fail_at, 5)))
    assert got.finish is None
    assert len(await provider.requests()) == 1


@every_dialect
@pytest.mark.parametrize(("fail", "code"), [("reset", "provider_disconnected"), ("stall", "provider_timeout")])
@pytest.mark.usefixtures("_impatient")
async def test_a_break_before_the_headers_may_have_been_billed(
    provider: ProviderServer, dialect: str, fail: str, code: str
) -> None:
    async with source_for(provider, dialect, idle_timeout_s=0.3, max_idle_timeout_s=0.3) as source:
        error = await failure(source, prompt(Script(fail=fail, fail_at=-1)))
    assert (error.code, error.retry) == (code, "ambiguous")
    assert len(await provider.calls()) == 1


@pytest.mark.parametrize(
    ("dialect", "kind", "code"),
    [
        ("responses", None, "provider_error"),
        ("background", "rate_limit_exceeded", "provider_rate_limited"),
        ("chat", None, "provider_error"),
        ("compatible", "rate_limit_exceeded", "provider_rate_limited"),
        ("anthropic", "overloaded_error", "provider_overloaded"),
        ("anthropic", "rate_limit_error", "provider_rate_limited"),
        ("anthropic", "api_error", "provider_error"),
    ],
)
async def test_an_error_event_in_mid_stream_is_never_surely_unbilled(
    provider: ProviderServer, dialect: str, kind: str | None, code: str
) -> None:
    got = Read([])
    async with source_for(provider, dialect) as source:
        error = await failure(source, prompt(Script(fail="error_event", fail_at=2, error_code=kind)), got)
    assert (error.code, error.retry) == (code, "ambiguous")
    assert "it broke, as the script says" in error.message
    assert got.text == "w0 w1 "


@pytest.mark.parametrize("dialect", ["responses", "background"])
async def test_a_failed_response_is_a_failure(provider: ProviderServer, dialect: str) -> None:
    async with source_for(provider, dialect) as source:
        error = await failure(source, prompt(Script(fail="failed_event", error_code="invalid_prompt")))
    assert (error.code, error.retry) == ("provider_bad_request", "never")


@every_dialect
async def test_no_server_is_surely_unbilled(dialect: str) -> None:
    async with source_for(f"http://127.0.0.1:{free_port()}", dialect) as source:
        error = await failure(source, prompt(Script()))
    assert (error.code, error.retry) == ("provider_unreachable", "safe")


@every_dialect
@pytest.mark.parametrize("status", [400, 401, 500])
async def test_no_message_holds_a_secret(
    provider: ProviderServer, monkeypatch: pytest.MonkeyPatch, dialect: str, status: int
) -> None:
    monkeypatch.setenv("GROQ_API_KEY", KEY)
    url = provider.url.replace("://", "://someone:hunter2-and-more@")
    async with source_for(url, dialect) as source:
        error = await failure(source, prompt(Script(fail="status", status=status)))
    printed = error.message + "".join(traceback.format_exception(error))
    assert KEY not in printed
    assert "hunter2" not in printed


@every_dialect
async def test_a_long_message_is_cut(provider: ProviderServer, dialect: str) -> None:
    request: Any = prompt(Script(fail="status", status=400, error_code="x" * 10_000))
    async with source_for(provider, dialect) as source:
        error = await failure(source, request)
    assert len(error.message) <= 500

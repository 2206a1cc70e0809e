"""The commands that act on streams: cancel, rm, requeue, seal, trim, retain; drain of a process; and the audit."""

import asyncio
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final
from urllib.parse import quote

import click

from midstream.cli import render
from midstream.cli.client_command import client_command
from midstream.cli.conditions import condition
from midstream.cli.confirmation import EXIT_REFUSED, is_confirmed
from midstream.cli.operate_path import has_tenant, stream_path, tenant_and_id
from midstream.cli.terminal import echo, echo_json, echo_progress
from midstream.client.client import Midstream, MidstreamError
from midstream.journal.plain_text import harmless_line

STEP_PATIENCE_S: Final = 60.0
"""An answer about many streams comes when the broker's step is over: `MIDSTREAM_ACTS_STEP_S`."""
FOLLOW_S: Final = 1.0
ROWS_AT_ONCE: Final = 1_000
_SUBJECT: Final = (
    click.argument("stream_id", metavar="[ID]", required=False),
    click.option("--tenant", help="Act as an operator, on the stream ID of this tenant; or ID is TENANT/ID."),
    click.option(
        "--where",
        multiple=True,
        metavar="FIELD=VALUE",
        help="Act as an operator, on all streams that fit: status=running, silent_s=60, tenant=acme, q=text, … "
        "Can be repeated; all of them have to fit.",
    ),
    click.option("--yes", is_flag=True, help="Do not ask before acting on all streams that fit."),
    click.option("--dry-run", is_flag=True, help="Only count the streams that fit."),
)


def _subject(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what names the streams of an act: the arguments of `_act`."""
    for option in reversed(_SUBJECT):
        command = option(command)
    return command


@client_command
@_subject
async def cancel(midstream: Midstream, stream_id: str | None, as_json: bool, **subject: Any) -> int | None:
    """Stop a stream. The text so far is kept."""
    if _is_own(stream_id, subject):
        _print(await midstream.cancel(str(stream_id)), as_json=as_json)
        return None
    return await _act(midstream, "cancel", {}, stream_id, as_json=as_json, **subject)


@client_command
@_subject
@click.option("--user", help="Delete all streams of this user instead; needs a key of the whole tenant.")
async def rm(
    midstream: Midstream, stream_id: str | None, user: str | None, as_json: bool, **subject: Any
) -> int | None:
    """Delete a stream. A stream that still runs is stopped first."""
    if user is not None:
        if stream_id is not None or subject["where"]:
            raise click.UsageError("Name either a stream or a user, or --where.")
        deleted = await midstream.erase_user(user)
        if as_json:
            echo_json({"user": user, "deleted": deleted})
        else:
            echo(f"{deleted} streams deleted", err=True)
        return None
    if stream_id is not None and _is_own(stream_id, subject):
        await midstream.delete(stream_id)
        if as_json:
            echo_json({"id": stream_id, "deleted": True})
        return None
    return await _act(midstream, "delete", {}, stream_id, as_json=as_json, **subject)


@client_command
@_subject
@click.option("--pay-again", is_flag=True, help="Make another call where the first one may have been paid.")
async def requeue(midstream: Midstream, *, pay_again: bool, **subject: Any) -> int | None:
    """Queue a stream again, as an operator.

    The slip of a queued stream is written again. For one that failed or was interrupted, another stream begins with the
    same request.
    """
    return await _act(midstream, "requeue", {"pay_again": True} if pay_again else {}, **subject)


@client_command
@_subject
@click.option("--reason", required=True, help="Why; the stream's clients are sent it.")
async def seal(midstream: Midstream, reason: str, **subject: Any) -> int | None:
    """End a stream as interrupted, as an operator."""
    return await _act(midstream, "seal", {"reason": reason}, **subject)


@client_command
@_subject
@click.option("--first", type=click.IntRange(1), help="The offset of the first entry to keep.  [default: the end's]")
async def trim(midstream: Midstream, first: int | None, **subject: Any) -> int | None:
    """Drop the first entries of a stream that has ended, as an operator."""
    return await _act(midstream, "trim", {"first_offset": first} if first else {}, **subject)


@client_command
@_subject
@click.option("--ttl-s", type=click.IntRange(1), required=True, help="Seconds to keep it after its end.")
async def retain(midstream: Midstream, ttl_s: int, **subject: Any) -> int | None:
    """Change how long a stream is kept, as an operator."""
    return await _act(midstream, "retain", {"ttl_s": ttl_s}, **subject)


@client_command
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="Most rows to print at first.")
@click.option("--after", metavar="ROW", help="Only rows after the one with this id.")
@click.option("--follow", is_flag=True, help="Go on with new rows as they come.")
async def audit(midstream: Midstream, limit: int, after: str | None, *, follow: bool, as_json: bool) -> None:
    """Print what operators have done."""
    while True:
        params = {"limit": limit} if after is None else {"limit": limit, "after": after}
        rows = (await midstream.operate("audit", params=params))["data"]
        for row in rows:
            echo_json(row) if as_json else echo(render.audit_row(row))
            after = row["id"]
        if not follow:
            return
        after, limit = after or "0-0", ROWS_AT_ONCE
        if not rows:
            await asyncio.sleep(FOLLOW_S)


@client_command
@click.argument("kind", type=click.Choice(("worker", "broker")))
@click.argument("name")
async def drain(midstream: Midstream, kind: str, name: str, as_json: bool) -> None:
    """Have a worker or a broker finish or hand over what it does, and end.

    NAME is that of `midstream workers` or `midstream brokers`.
    """
    answer = await midstream.operate(f"{kind}s/{quote(name, safe='')}/drain", "POST")
    _print(answer, as_json=as_json)


COMMANDS: Final = (cancel, rm, requeue, seal, trim, retain, drain, audit)


def _is_own(stream_id: str | None, subject: dict[str, Any]) -> bool:
    """Tell whether a command concerns a stream of the key's own tenant, so that it needs no operator."""
    return stream_id is not None and not has_tenant(stream_id) and not any(subject.values())


async def _act(
    midstream: Midstream,
    act: str,
    fields: dict[str, Any],
    stream_id: str | None,
    *,
    tenant: str | None,
    where: Sequence[str],
    yes: bool,
    dry_run: bool,
    as_json: bool,
) -> int | None:
    """Do an act as an operator, to one stream or to all that fit; return the exit status."""
    if (stream_id is None) == (not where):
        raise click.UsageError(f"Name either a stream or {'a user, or ' if act == 'delete' else ''}--where.")
    if stream_id is not None and (yes or dry_run):
        raise click.UsageError("--yes and --dry-run belong to --where.")
    if stream_id is None:
        order = {"act": act, "where": _conditions([*where, *([f"tenant={tenant}"] if tenant else [])]), **fields}
        return await _act_on_many(midstream, order, yes=yes, dry_run=dry_run, as_json=as_json)
    tenant, stream_id = tenant_and_id(stream_id, tenant)
    path = stream_path(tenant, stream_id)
    if act == "delete":
        await midstream.operate(path, "DELETE")
        answer = {"tenant": tenant, "id": stream_id, "deleted": True}
    else:
        answer = await midstream.operate(f"{path}/{act}", "POST", json=fields)
    _print(answer, as_json=as_json)
    return None


async def _act_on_many(
    midstream: Midstream, order: dict[str, Any], *, yes: bool, dry_run: bool, as_json: bool
) -> int | None:
    count = (await midstream.operate("acts", "POST", json=order | {"dry_run": True}))["count"]
    if dry_run or not count:
        echo_json({"act": order["act"], "count": count}) if as_json else echo(f"{count} streams fit", err=True)
        return None
    if not yes and not is_confirmed(order["act"], count, "streams"):
        return EXIT_REFUSED
    done, refused, refusals = 0, Counter[str](), []
    cursor: str | None = None
    try:
        while (left := count - done - refused.total()) > 0:
            request = order | {"expect": left} | ({"cursor": cursor} if cursor else {})
            answer = await midstream.operate("acts", "POST", json=request, patience_s=STEP_PATIENCE_S)
            done += answer["done"]
            refused.update(answer["refused"])
            refusals += answer["refusals"]
            cursor = answer["next_cursor"]
            handled = done + refused.total()
            if sys.stderr.isatty():
                echo_progress(handled, count if cursor else handled, "streams")
            if cursor is None:
                break
    except (MidstreamError, asyncio.CancelledError):  # the latter: Ctrl-C
        echo(f"stopped after {done} of {count} streams, or some more; the command can be repeated", err=True)
        raise
    if as_json:
        echo_json({"act": order["act"], "done": done, "refused": dict(refused), "refusals": refusals})
    else:
        echo(f"{done} streams done, {refused.total()} refused", err=True)
        for code, number in refused.most_common():
            first = next((row for row in refusals if row["code"] == code), None)
            example = f", such as {first['tenant']}/{first['id']}" if first else ""
            echo(harmless_line(f"  {code}: {number}{example}"), err=True)
    return EXIT_REFUSED if refused else None


def _conditions(where: Sequence[str]) -> dict[str, list[str]]:
    conditions: dict[str, list[str]] = {}
    for text in where:
        name, value = condition(text)
        conditions.setdefault(name, []).append(value)
    return conditions


def _print(answer: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        echo_json(answer)
    else:
        echo(render.state(answer))

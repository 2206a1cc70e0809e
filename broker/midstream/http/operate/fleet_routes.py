"""`/v1/operate/…`: what an operator asks about one stream, and about the installation (PROTOCOL: Operators)."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from midstream.http.auth import AnOperator
from midstream.http.fast_path.open_files import most_files
from midstream.http.fast_path.tested_uvicorn import why_not
from midstream.http.json_response import JsonResponse
from midstream.http.json_route import JsonRoute
from midstream.operate import doctor, fleet, minute_stats, queue_report, redis_report, stream_log
from midstream.operate.stream_frames import Dialect, frames
from midstream.operate.stream_report import stream_report

router = APIRouter(prefix="/v1/operate", tags=["operate"], route_class=JsonRoute)


@router.get("/workers", response_class=Response)
async def get_workers(operator: AnOperator) -> Response:
    """List the workers that live, with the generations that each runs."""
    return JsonResponse(await fleet.workers(operator))


@router.get("/brokers", response_class=Response)
async def get_brokers(operator: AnOperator) -> Response:
    """List the brokers that live, with their tails and what they hold in memory."""
    return JsonResponse(await fleet.brokers(operator))


@router.get("/queue", response_class=Response)
async def get_queue(operator: AnOperator) -> Response:
    """Show what waits for a worker: depth, oldest slip, slips without a stream, queued streams without a slip."""
    return JsonResponse(await queue_report.queue(operator))


@router.get("/redis", response_class=Response)
async def get_redis(operator: AnOperator) -> Response:
    """Show how the log's server does: memory with a forecast, persistence, eviction, slow log."""
    return JsonResponse(await redis_report.redis_report(operator))


@router.get("/stats", response_class=Response)
async def get_stats(operator: AnOperator) -> Response:
    """Show starts, outcomes, tokens and times to the first chunk of the last hour, minute by minute."""
    return JsonResponse(await minute_stats.stats(operator))


@router.get("/doctor", response_class=Response)
async def get_doctor(operator: AnOperator) -> Response:
    """Show what is wrong or unsafe: the server, clocks, workers, settings, limits, the fast path."""
    fast_path = why_not(operator.settings.fast_path)
    return JsonResponse(await doctor.examined(operator, fast_path=fast_path, open_files=most_files()))


@router.get("/streams/{tenant}/{stream_id}", response_class=Response)
async def get_stream(tenant: str, stream_id: str, operator: AnOperator) -> Response:
    """Show all that is known of a stream except its content, and say why it has ended or what it waits for."""
    return JsonResponse(await stream_report(operator, tenant, stream_id), headers={"Stream-Id": stream_id})


@router.get("/streams/{tenant}/{stream_id}/entries", response_class=Response)
async def get_entries(
    tenant: str,
    stream_id: str,
    operator: AnOperator,
    after: Annotated[int, Query(ge=0, lt=10**15, description="The last offset that you have.")] = 0,
    limit: Annotated[int, Query(ge=1)] = 100,
    content: Annotated[bool, Query(description="`true`: with what the entries hold.")] = False,
) -> Response:
    """Read a page of a stream's entries: offset, epoch, type, time and size; their content only with `content`."""
    page = await stream_log.entries(operator, tenant, stream_id, after, limit, with_content=content)
    return JsonResponse(page, headers={"Stream-Id": stream_id})


@router.get("/streams/{tenant}/{stream_id}/frames", response_class=Response)
async def get_frames(
    tenant: str,
    stream_id: str,
    operator: AnOperator,
    dialect: Annotated[Dialect, Query(description="The wire format.")] = Dialect.NATIVE,
) -> Response:
    """Show what a client that reads a stream from its beginning is sent, in a dialect."""
    return JsonResponse(await frames(operator, tenant, stream_id, dialect), headers={"Stream-Id": stream_id})


@router.get("/streams/{tenant}/{stream_id}/shape", response_class=Response)
async def get_shape(tenant: str, stream_id: str, operator: AnOperator) -> Response:
    """Show how a stream's entries are spread over its life, how long the gaps between them are, and its stalls."""
    return JsonResponse(await stream_log.shape(operator, tenant, stream_id), headers={"Stream-Id": stream_id})

"""`/healthz` and `/readyz`, for whatever supervises the process."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response

from midstream.http.auth import AServices
from midstream.http.json_response import JsonResponse
from midstream.requests.catalogue import resolve

router = APIRouter(tags=["probes"])


@router.get("/healthz", response_class=Response)
async def healthz() -> Response:
    """Answer 200 while the process lives."""
    return JsonResponse({"status": "ok"})


@router.get("/readyz", response_class=Response)
async def readyz(
    services: AServices,
    need: Annotated[Literal["worker"] | None, Query(description="`worker`: one has to live, too.")] = None,
) -> Response:
    """Answer 200 if this broker serves newcomers, else 503 `stopping`, `log_unavailable`, `log_full` or `no_worker`."""
    await services.check_ready(needs_worker=need is not None)
    return JsonResponse({"status": "ok", "model": resolve(None, services.settings)})

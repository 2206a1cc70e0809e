"""`/v1/users`: what a tenant does about one of its users."""

from typing import Annotated

from fastapi import APIRouter, Path, Response

from midstream.http.auth import ACaller
from midstream.http.json_response import JsonResponse
from midstream.http.json_route import JsonRoute

router = APIRouter(prefix="/v1/users", tags=["users"], route_class=JsonRoute)


@router.delete("/{user:path}", response_class=Response)
async def delete_user(user: Annotated[str, Path(min_length=1, max_length=200)], caller: ACaller) -> Response:
    """Delete all streams of a user, with the scope `stop` and a key of the whole tenant.

    Streams that still run are cancelled first. The answer says how many were deleted.
    """
    return JsonResponse({"user": user, "deleted": await caller.erase_user(user)})

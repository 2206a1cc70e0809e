"""`POST /v1/operate/acts`: one act on all streams that a search finds (PROTOCOL: Operate/Many)."""

from typing import Annotated, Any, Final, Self

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator

from midstream.http import page_cursor
from midstream.http.auth import AnOperator
from midstream.http.json_response import JsonResponse
from midstream.http.json_route import JsonRoute
from midstream.http.operate.act_routes import REASON_CHARS
from midstream.operate.act import Act, ActName
from midstream.operate.acts_on_many import ActsOnMany

router = APIRouter(tags=["operate"], route_class=JsonRoute)

_Value = str | int | float
NEEDS: Final = {"reason": ActName.SEAL, "ttl_s": ActName.RETAIN}
"""Fields that one act needs, and no other one has."""
MAY_HAVE: Final = {**NEEDS, "pay_again": ActName.REQUEUE, "first_offset": ActName.TRIM}


class OrderForMany(BaseModel):
    """What to do, and to which streams."""

    model_config = ConfigDict(extra="forbid")

    act: ActName
    where: dict[str, _Value | list[_Value]] = Field(
        min_length=1, description="conditions as in `GET /v1/operate/streams`; a list fits any of its values"
    )
    dry_run: bool = Field(default=False, description="`true`: only answer how many streams fit")
    expect: int | None = Field(default=None, ge=0, description="how many streams the dry run has answered")
    cursor: str | None = Field(default=None, description="`next_cursor` of the answer before: go on from there")
    reason: str | None = Field(default=None, min_length=1, max_length=REASON_CHARS, description="of `seal`")
    pay_again: bool | None = Field(default=None, description="of `requeue`")
    first_offset: Annotated[int, Field(ge=1)] | None = Field(default=None, description="of `trim`")
    ttl_s: Annotated[int, Field(ge=1)] | None = Field(default=None, description="of `retain`")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for name, act in MAY_HAVE.items():
            if getattr(self, name) is not None and self.act is not act:
                raise ValueError(f"`{name}` is for the act `{act}`")
        if self.dry_run:
            return self
        for name, act in NEEDS.items():
            if self.act is act and getattr(self, name) is None:
                raise ValueError(f"the act `{act}` needs `{name}`")
        if self.expect is None:
            raise ValueError("send `dry_run` first, and the count that it answers as `expect`")
        return self

    def order(self) -> Act:
        """Return the act."""
        return Act(self.act, self.reason or "", bool(self.pay_again), self.first_offset, self.ttl_s or 0)

    def conditions(self) -> list[tuple[str, str]]:
        """Return the names and values of the conditions."""
        lists = ((name, value if isinstance(value, list) else [value]) for name, value in self.where.items())
        return [(name, str(value)) for name, values in lists for value in values]


@router.post(
    "/v1/operate/acts",
    response_class=Response,
    responses={409: {"description": "`count_changed`: `count` streams fit, which is many more than `expect`."}},
)
async def act_on_many(order: OrderForMany, operator: AnOperator) -> Response:
    """Do one act to all streams that fit some conditions, after a dry run that counts them.

    A request works for `MIDSTREAM_ACTS_STEP_S` at most. With its `next_cursor` the same request goes on, and `expect`
    is then what is left of it.
    """
    many = ActsOnMany(operator, order.order(), order.conditions())
    if order.dry_run or order.expect is None:
        return JsonResponse({"act": order.act, "dry_run": True, "count": await many.count()})
    tally = await many.do(order.expect, page_cursor.read(order.cursor))
    document: dict[str, Any] = {
        "act": order.act,
        "dry_run": False,
        "done": tally.done,
        "refused": dict(tally.refused),
        "refusals": tally.refusals,
        "next_cursor": page_cursor.write(tally.next),
    }
    return JsonResponse(document)

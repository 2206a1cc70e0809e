"""All families, in the order in which a full run takes them."""

from tests.faults.families import (
    cancels,
    clients,
    deleted,
    drained,
    duplicates,
    failovers,
    http_producers,
    money_steps,
    operators,
    own_producers,
    power_loss,
    redis_away,
    redis_state,
    rolled,
    skew,
    slips,
    worker_frozen,
    worker_killed,
    worker_steps,
)
from tests.faults.family import Family

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        *worker_killed.FAMILIES,
        *worker_steps.FAMILIES,
        *worker_frozen.FAMILIES,
        *drained.FAMILIES,
        *rolled.FAMILIES,
        *redis_away.FAMILIES,
        *failovers.FAMILIES,
        *duplicates.FAMILIES,
        *cancels.FAMILIES,
        *clients.FAMILIES,
        *deleted.FAMILIES,
        *redis_state.FAMILIES,
        *power_loss.FAMILIES,
        *skew.FAMILIES,
        *slips.FAMILIES,
        *own_producers.FAMILIES,
        *operators.FAMILIES,
        *money_steps.FAMILIES,
        *http_producers.FAMILIES,
    )
}

"""Slots of a real cluster that move to another node, while their keys are read and written."""

import asyncio
from typing import Any

from redis.exceptions import ResponseError

from midstream.log.cluster import ClusterRedis

KEY_S = 0.03
"""The rest after each key that moves alone, so that commands meet a slot that is on two nodes."""


async def _ends_of_move(cluster: ClusterRedis, slot: int) -> tuple[list[Any], list[str]]:
    """Return the node that holds a slot and the next one, and their names."""
    await cluster.nodes.refresh()
    nodes = cluster.nodes.primaries()
    source = cluster.nodes.client(cluster.nodes.owner(slot) or ("", 0))
    ends: list[Any] = [source, nodes[(nodes.index(source) + 1) % len(nodes)]]
    return ends, [(await node.execute_command(b"CLUSTER MYID")).decode() for node in ends]


async def can_move_at_once(cluster: ClusterRedis) -> bool:
    """Tell whether the servers move a slot by one command, as Valkey 9 does."""
    await cluster.nodes.refresh()
    node: Any = cluster.nodes.primaries()[0]
    try:
        await node.execute_command(b"CLUSTER GETSLOTMIGRATIONS")
    except ResponseError:
        return False
    return True


async def move_at_once(cluster: ClusterRedis, slot: int) -> None:
    """Move a slot to the next node as Valkey 9 does it."""
    (source, target), (_, name) = await _ends_of_move(cluster, slot)
    await source.execute_command(b"CLUSTER MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", name)
    while cluster.nodes.client(cluster.nodes.owner(slot) or ("", 0)) is not target:
        await asyncio.sleep(0.02)
        await cluster.nodes.refresh()


async def move_key_by_key(cluster: ClusterRedis, slot: int) -> int:
    """Move a slot to the next node; return how many keys it had."""
    (source, target), names = await _ends_of_move(cluster, slot)
    await target.execute_command(b"CLUSTER SETSLOT", slot, "IMPORTING", names[0])
    await source.execute_command(b"CLUSTER SETSLOT", slot, "MIGRATING", names[1])
    port = target.connection_pool.connection_kwargs["port"]
    number = 0
    while keys := await source.execute_command(b"CLUSTER GETKEYSINSLOT", slot, 1):
        await source.execute_command(b"MIGRATE", "127.0.0.1", port, keys[0], 0, 5_000)
        number += 1
        await asyncio.sleep(KEY_S)
    for node in (target, source, *cluster.nodes.primaries()):
        await node.execute_command(b"CLUSTER SETSLOT", slot, "NODE", names[1])
    return number

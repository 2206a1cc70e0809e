"""Names of keys on a cluster: each tenant has a shard, and all keys of a shard have one hash tag.

The tag stands right after the prefix, as in `ms:{17}:{acme/…}:state`, and a server takes the first tag of a key. So all
keys that a script may touch are on one node, and the scripts are the same as on one server: a shard is to them what a
whole log is elsewhere. What belongs to no tenant is in the first shard (docs/architecture.md: Which keys go together).
"""

from dataclasses import dataclass, field
from typing import Final
from zlib import crc32

from midstream.log.keys import SEPARATOR, Key, Keys, tenant_of

SHARDS: Final = 64
"""A number that never changes: a tenant's streams are looked for in one shard alone."""


@dataclass(frozen=True, slots=True)
class ClusterKeys(Keys):
    """The names under one prefix on a cluster. `queue` and `control` are those of the queue's own server."""

    _shards: tuple[Keys, ...] = field(init=False)

    def __post_init__(self) -> None:
        """Make the shards' keys."""
        shards = tuple(Keys(f"{self.prefix}:{{{number}}}") for number in range(SHARDS))
        object.__setattr__(self, "_shards", shards)

    @property
    def shards(self) -> tuple[Keys, ...]:
        """The keys of all shards."""
        return self._shards

    def near(self, name: str) -> Keys:
        """Return the keys of the shard that a stream is in."""
        return self._of(tenant_of(name))

    def _of(self, tenant: str) -> Keys:
        return self._shards[crc32(tenant.encode()) % SHARDS]

    def _owned_by(self, owner: str) -> Keys:
        return self._of(owner.partition(SEPARATOR)[0])

    def state(self, stream_id: str) -> Key:
        """Return the state hash's key."""
        return self.near(stream_id).state(stream_id)

    def log(self, stream_id: str) -> Key:
        """Return the key of the Redis stream that holds the entries."""
        return self.near(stream_id).log(stream_id)

    def notice(self, stream_id: str) -> Key:
        """Return the key of what outlets are told of an ended stream."""
        return self.near(stream_id).notice(stream_id)

    def staged(self, stream_id: str, token: str) -> Key:
        """Return the key of the entries that one process is about to bring in."""
        return self.near(stream_id).staged(stream_id, token)

    def channel(self, stream_id: str) -> str:
        """Return the channel on which a stream's appends are published."""
        return self.near(stream_id).channel(stream_id)

    def saved(self, owner: str) -> Key:
        """Return the key of the list of what apps have saved for a tenant or user."""
        return self._owned_by(owner).saved(owner)

    def index(self, tenant: str) -> Key:
        """Return the key of the list of streams of a tenant or user."""
        return self._owned_by(tenant).index(tenant)

    def thread(self, owner: str, thread: str) -> Key:
        """Return the key of the streams of an owner's thread."""
        return self._owned_by(owner).thread(owner, thread)

    def threads(self, owner: str) -> Key:
        """Return the key of an owner's threads."""
        return self._owned_by(owner).threads(owner)

    def rate(self, owner: str) -> Key:
        """Return the key of the time until which an owner's starts have used up their rate."""
        return self._owned_by(owner).rate(owner)

    def live(self, owner: str) -> Key:
        """Return the key of the set of an owner's streams that limits count as running."""
        return self._owned_by(owner).live(owner)

    def places(self, tenant: str) -> Key:
        """Return the key of what limits keep of each of a tenant's running streams."""
        return self._of(tenant).places(tenant)

    def stored(self, tenant: str) -> Key:
        """Return the key of how many bytes of a tenant's ended streams are kept."""
        return self._of(tenant).stored(tenant)

    def chat(self, tenant: str, chat_id: str) -> Key:
        """Return the key of a chat of a tenant or user."""
        return self._owned_by(tenant).chat(tenant, chat_id)

    def tries(self, digest: str) -> Key:
        """Return the key that holds the tries of a request."""
        return self._of(digest).tries(digest)

    def sign(self, process: str) -> Key:
        """Return the key of what a worker or a broker says of itself."""
        return self._shards[0].sign(process)

    def drain(self, process: str) -> Key:
        """Return the key that is there while an operator wants a process to drain."""
        return self._shards[0].drain(process)

    def roll(self, kind: str) -> Key:
        """Return the key of the set of workers or brokers."""
        return self._shards[0].roll(kind)

    @property
    def minutes(self) -> str:
        """The beginning of the key of what all processes have counted in a minute."""
        return self._shards[0].minutes

    @property
    def memory(self) -> Key:
        """The key of the readings of the memory of the first shard's server."""
        return self._shards[0].memory

    @property
    def census(self) -> str:
        """The channel on which brokers are asked for the tails of a stream."""
        return self._shards[0].census

    def answers(self, census: str) -> Key:
        """Return the key of the list of what brokers answer to one question for tails."""
        return self._shards[0].answers(census)

    @property
    def brokers(self) -> Key:
        """The key of the set of brokers."""
        return self._shards[0].brokers

    @property
    def secret(self) -> Key:
        """The key of the installation's secret."""
        return self._shards[0].secret

    @property
    def trail(self) -> Key:
        """The key of what operators have done."""
        return self._shards[0].trail

    @property
    def marker(self) -> Key:
        """The key that is written so that the disk can be waited for."""
        return self._shards[0].marker

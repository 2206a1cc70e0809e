"""Names of keys, channels and streams on one server; `cluster_keys.py` has those on a cluster.

A stream has an id, which clients know, and a name, `<tenant>/<id>`, which is unique on the server (`stream_name`; for
the tenant `default` it is the id alone). What is called `stream_id` in `service/` and `http/` is the id. What is called
so in `log/`, `hub/`, `lifecycle/` and in the worker is the name, because these rooms look after all tenants' streams.
"""

import hashlib
import secrets
from dataclasses import dataclass
from typing import Final, NewType

from midstream.log.errors import StreamAbsent

Key = NewType("Key", str)
ID_CHARS: Final = 32
SEPARATOR: Final = "/"
UNNAMED_TENANT: Final = "default"


@dataclass(frozen=True, slots=True)
class Keys:
    """The names under one prefix."""

    prefix: str

    @property
    def shards(self) -> "tuple[Keys, ...]":
        """The parts of the log, each with keys that are kept together. Only a cluster has more than one."""
        return (self,)

    def near(self, name: str) -> "Keys":  # noqa: ARG002 - see `ClusterKeys`
        """Return the keys of the part that a stream is in."""
        return self

    def state(self, stream_id: str) -> Key:
        """Return the state hash's key."""
        return Key(f"{self.prefix}:{{{stream_id}}}:state")

    def log(self, stream_id: str) -> Key:
        """Return the key of the Redis stream that holds the entries."""
        return Key(f"{self.prefix}:{{{stream_id}}}:log")

    def notice(self, stream_id: str) -> Key:
        """Return the key of what outlets are told of an ended stream, until each of them has taken it."""
        return Key(f"{self.prefix}:{{{stream_id}}}:notice")

    def saved(self, owner: str) -> Key:
        """Return the key of the list of what apps have saved for a tenant or user; theirs begin with it."""
        return Key(f"{self.prefix}:saved:{owner}")

    def outbox(self, outlet: str) -> str:
        """Return how the keys of an outlet's outbox begin."""
        return f"{self.prefix}:outbox:{outlet}"

    def staged(self, stream_id: str, token: str) -> Key:
        """Return the key of the entries that one process, which has chosen the token, is about to bring in."""
        return Key(f"{self.prefix}:{{{stream_id}}}:import:{token}")

    def channel(self, stream_id: str) -> str:
        """Return the channel on which a stream's appends are published."""
        return f"{self.prefix}:{{{stream_id}}}"

    def index(self, tenant: str) -> Key:
        """Return the key of a tenant's list of streams by time of creation."""
        return Key(f"{self.prefix}:index:{tenant}")

    def thread(self, owner: str, thread: str) -> Key:
        """Return the key of the streams of an owner's thread, in their order, which is also the channel of its starts.

        A thread's name is hashed, because it is the client's and may hold anything.
        """
        return Key(f"{self.prefix}:thread:{owner}:{_hash(thread)}")

    def threads(self, owner: str) -> Key:
        """Return the key of an owner's threads by the time of their last start."""
        return Key(f"{self.prefix}:threads:{owner}")

    def thread_lists(self, tenant: str, user: str, thread: str) -> str:
        """Return the keys of the lists that a stream of this thread stands in, with a blank between; empty: in none.

        An owner is the tenant or one user of it.
        """
        if not thread:
            return ""
        owners = [tenant, f"{tenant}{SEPARATOR}{_hash(user)}"] if user else [tenant]
        return " ".join(key for owner in owners for key in (self.thread(owner, thread), self.threads(owner)))

    def rate(self, owner: str) -> Key:
        """Return the key of the time until which the starts of a tenant, user or key have used up their rate."""
        return Key(f"{self.prefix}:rate:{owner}")

    def live(self, owner: str) -> Key:
        """Return the key of the set of a tenant's, user's or key's streams that limits count as running."""
        return Key(f"{self.prefix}:live:{owner}")

    def places(self, tenant: str) -> Key:
        """Return the key of what limits keep of each of a tenant's running streams."""
        return Key(f"{self.prefix}:places:{tenant}")

    def stored(self, tenant: str) -> Key:
        """Return the key of how many bytes of a tenant's ended streams are kept, by the time until which they are."""
        return Key(f"{self.prefix}:stored:{tenant}")

    def chat(self, tenant: str, chat_id: str) -> Key:
        """Return the key of a tenant's chat; hashed, because a chat's id is the client's and may hold anything."""
        digest = hashlib.sha256(f"{tenant}\0{chat_id}".encode()).hexdigest()
        return Key(f"{self.chat_prefix}{digest[:ID_CHARS]}")

    @property
    def chat_prefix(self) -> str:
        """How the keys of all chats begin."""
        return f"{self.prefix}:chat:"

    def tries(self, digest: str) -> Key:
        """Return the key that holds the tries of a request."""
        return Key(f"{self.prefix}:tried:{digest}")

    def sign(self, process: str) -> Key:
        """Return the key of what a worker or a broker says of itself."""
        return Key(f"{self.prefix}:sign:{process}")

    def drain(self, process: str) -> Key:
        """Return the key that is there while an operator wants a worker or a broker to drain."""
        return Key(f"{self.prefix}:sign:{process}:drain")

    def roll(self, kind: str) -> Key:
        """Return the key of the set of workers or brokers by the time of their last sign."""
        return Key(f"{self.prefix}:roll:{kind}")

    @property
    def minutes(self) -> str:
        """The beginning of the key of what all processes have counted in a minute; its number follows a colon."""
        return f"{self.prefix}:minute"

    @property
    def memory(self) -> Key:
        """The key of the readings of the server's memory in the last hours."""
        return Key(f"{self.prefix}:memory")

    @property
    def census(self) -> str:
        """The channel on which brokers are asked for the tails of a stream."""
        return f"{self.prefix}:census"

    def answers(self, census: str) -> Key:
        """Return the key of the list of what brokers answer to one question for tails."""
        return Key(f"{self.prefix}:answers:{census}")

    @property
    def costs(self) -> str:
        """What the keys begin with of what streams have cost, by kind of row, currency, and day or month."""
        return f"{self.prefix}:cost"

    @property
    def brokers(self) -> Key:
        """The key of the set of brokers by the time of their last sign of life."""
        return Key(f"{self.prefix}:brokers")

    @property
    def secret(self) -> Key:
        """The key of the installation's secret."""
        return Key(f"{self.prefix}:secret")

    @property
    def due(self) -> Key:
        """The key of the set of live streams by the time at which a reaper looks at them."""
        return Key(f"{self.prefix}:due")

    @property
    def ended(self) -> Key:
        """The key of the list of streams that have ended or were deleted since, in this order."""
        return Key(f"{self.prefix}:ended")

    @property
    def outlets(self) -> Key:
        """The key of the outlets that ends are handed to."""
        return Key(f"{self.prefix}:outlets")

    @property
    def control(self) -> str:
        """The channel on which workers are woken, and told to cancel."""
        return f"{self.prefix}:control"

    @property
    def trail(self) -> Key:
        """The key of what operators have done."""
        return Key(f"{self.prefix}:trail")

    @property
    def marker(self) -> Key:
        """The key that is written so that the disk can be waited for."""
        return Key(f"{self.prefix}:fsync")

    @property
    def queue(self) -> Key:
        """The key of arq's queue."""
        return Key(f"{self.prefix}:queue")


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:ID_CHARS]


def new_id() -> str:
    """Return a stream id that cannot be guessed: 128 random bits in hex."""
    return secrets.token_hex(ID_CHARS // 2)


def stream_name(tenant: str, stream_id: str) -> str:
    """Return the name that a stream of this tenant has in Redis.

    A tenant that asks for another one's stream asks for another name, and finds what it finds for an id that never
    was, in the same time (I7). Streams of the one tenant of an open broker have no tenant in their name.

    Raises:
        StreamAbsent: No stream can have this id: it would name another tenant's.
    """
    if SEPARATOR in stream_id:
        raise StreamAbsent(stream_id)
    return stream_id if tenant == UNNAMED_TENANT else f"{tenant}{SEPARATOR}{stream_id}"


def id_of(name: str) -> str:
    """Return the id in a stream's name."""
    return name.rpartition(SEPARATOR)[2]


def tenant_of(name: str) -> str:
    """Return the tenant in a stream's name."""
    return name.rpartition(SEPARATOR)[0] or UNNAMED_TENANT

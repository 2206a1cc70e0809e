"""What a `redis+sentinel://` or a `redis+cluster://` URL says: whom to ask for servers, and how all are spoken to.

    redis+cluster://[user:password@]host:port,host:port
    redis+sentinel://[user:password@]host:port,host:port/<service>[/<db>]?sentinel_user=…&sentinel_password=…

With `rediss+…`, all of them are spoken to over TLS; the words `ssl_…` of the query hold for Sentinels too.
"""

from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

SENTINEL_SCHEMES: Final = {"redis+sentinel": "redis", "rediss+sentinel": "rediss"}
"""The schemes, and those of redis-py by which servers and Sentinels are spoken to."""
SENTINEL_PORT: Final = 26_379
HOW: Final = "redis+sentinel://host:26379,host:26379/<service>/<db>"
CLUSTER_SCHEMES: Final = {"redis+cluster": "redis", "rediss+cluster": "rediss"}
"""The schemes of a cluster, and those of redis-py by which its nodes are spoken to."""
REDIS_PORT: Final = 6_379
HOW_CLUSTER: Final = "redis+cluster://host:6379,host:6379"


@dataclass(frozen=True, slots=True)
class SentinelAddress:
    """Where to ask for a primary.

    Attributes:
        service: The name by which the Sentinels know the primary.
        primary_url: redis-py's URL of the primary, whose host and port are the Sentinels' to say.
        sentinel_urls: redis-py's URL of each Sentinel.
    """

    service: str
    primary_url: str
    sentinel_urls: tuple[str, ...]

    @classmethod
    def of(cls, url: str) -> Self | None:
        """Return what the URL says; None: it has another scheme.

        Raises:
            ValueError: It lacks something, or has a port or a database that cannot be. The text repeats no part of it.
        """
        parts = urlsplit(url)
        scheme = SENTINEL_SCHEMES.get(parts.scheme)
        if scheme is None:
            return None
        credential, _, hosts = parts.netloc.rpartition("@")
        service, _, database = parts.path.strip("/").partition("/")
        if not service or (database and not database.isdecimal()):
            raise ValueError(f"the URL needs the name of a service and may have the number of a database, as in {HOW}")
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        user, password = query.pop("sentinel_user", ""), query.pop("sentinel_password", "")
        own = f"{quote(user, safe='')}:{quote(password, safe='')}@" if user or password else ""
        tls = urlencode({name: value for name, value in query.items() if name.startswith("ssl_")})
        sentinel_urls = tuple(f"{scheme}://{own}{_place(host)}/0?{tls}" for host in hosts.split(","))
        prefix = f"{credential}@" if credential else ""
        primary_url = f"{scheme}://{prefix}{_place(hosts.split(',')[0])}/{database or 0}?{urlencode(query)}"
        return cls(unquote(service), primary_url, sentinel_urls)


@dataclass(frozen=True, slots=True)
class ClusterAddress:
    """Where the first nodes of a cluster are.

    Attributes:
        places: Host and port of each node that the URL names.
    """

    places: tuple[tuple[str, int], ...]
    _scheme: str
    _credential: str
    _query: str

    @classmethod
    def of(cls, url: str) -> Self | None:
        """Return what a `redis+cluster://` URL says; None: it has another scheme.

        Raises:
            ValueError: It has a node without a host, a port that cannot be, or a database. The text repeats no part of
                it.
        """
        parts = urlsplit(url)
        scheme = CLUSTER_SCHEMES.get(parts.scheme)
        if scheme is None:
            return None
        credential, _, hosts = parts.netloc.rpartition("@")
        if parts.path.strip("/") not in ("", "0"):
            raise ValueError(f"a cluster has no databases but 0; write {HOW_CLUSTER}")
        places = tuple(_host_and_port(host, REDIS_PORT, "a node", HOW_CLUSTER) for host in hosts.split(","))
        return cls(places, scheme, f"{credential}@" if credential else "", f"?{parts.query}" if parts.query else "")

    def node_url(self, host: str, port: int) -> str:
        """Return redis-py's URL of a node."""
        place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        return f"{self._scheme}://{self._credential}{place}/0{self._query}"


def _place(text: str) -> str:
    """Return `host:port` of one Sentinel."""
    host, port = _host_and_port(text, SENTINEL_PORT, "a Sentinel", HOW)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _host_and_port(text: str, usual_port: int, what: str, how: str) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text.strip()}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or port == 0:
        raise ValueError(f"the URL names {what} without a host, or with a port that cannot exist; write {how}")
    return host, port or usual_port

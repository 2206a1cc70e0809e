"""What a `redis+sentinel://` URL says: the Sentinels to ask for a primary, and how both are spoken to.

    redis+sentinel://[user:password@]host:port,host:port/<service>[/<db>]?sentinel_user=…&sentinel_password=…

With `rediss+sentinel`, servers and Sentinels are spoken to over TLS; the words `ssl_…` of the query hold for both.
"""

from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

SENTINEL_SCHEMES: Final = {"redis+sentinel": "redis", "rediss+sentinel": "rediss"}
"""The schemes, and those of redis-py by which servers and Sentinels are spoken to."""
SENTINEL_PORT: Final = 26_379
HOW: Final = "redis+sentinel://host:26379,host:26379/<service>/<db>"


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


def _place(text: str) -> str:
    """Return `host:port` of one Sentinel."""
    try:
        parts = urlsplit(f"//{text.strip()}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or port == 0:
        raise ValueError(f"the URL names a Sentinel without a host, or with a port that cannot exist; write {HOW}")
    return f"[{host}]:{port or SENTINEL_PORT}" if ":" in host else f"{host}:{port or SENTINEL_PORT}"

"""What a `Host` header says: a page by whose name a process is reached may be anybody's (PROTOCOL: Access/Hosts)."""

import ipaddress
from urllib.parse import urlsplit


def host_name(host: str) -> str:
    """Return the name in a `Host` header, without its port; empty where it is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def is_loopback(host: str) -> bool:
    """Tell whether a `Host` header names loopback, so that no page of another machine can have this origin."""
    name = host_name(host)
    if name == "localhost" or name.endswith(".localhost"):  # browsers resolve these themselves
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def is_rebindable(host: str) -> bool:
    """Tell whether somebody could have had a name in DNS point here: no address, and no name of a single word."""
    name = host_name(host)
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return not name or ("." in name.rstrip(".") and not is_loopback(host))
    return False

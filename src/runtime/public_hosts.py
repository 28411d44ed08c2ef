"""Public names of a server behind a reverse proxy, and which requests are local.

``PUBLIC_HOSTS=bot.example.org,example.org/bot``: the server accepts these names, under that path, and trusts the
proxy's header about HTTPS. Requests through a proxy need authentication; once a public name is set all requests do,
since a proxy that adds no header cannot be distinguished from a local client.
"""

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

_ENTRY: Final = re.compile(r"([a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?)((?:/[A-Za-z0-9._~-]+)*)")
_PROXY_HEADERS: Final = re.compile(
    r"HTTP_(FORWARDED|VIA|X_FORWARDED(_.+)?|X_REAL_IP|X_CLIENT_IP|X_CLUSTER_CLIENT_IP|X_ORIGINAL_.+|X_ENVOY_.+|X_SCHEME"
    r"|X_PROXY.*|CF_.+|CDN_.+|TRUE_CLIENT_IP|FASTLY_.+|FLY_.+|X_AMZN_.+|X_AZURE_.+|X_APPENGINE_.+)"
)
Environment = dict[str, Any]
Application = Callable[[Environment, Any], Iterable[bytes]]


def public_paths(text: str) -> dict[str, str]:
    """Return the path of each public name; ``ValueError`` for an invalid name."""
    found = {}
    for entry in filter(None, (each.strip().rstrip("/") for each in text.split(","))):
        name, slash, path = entry.partition("/")
        match = _ENTRY.fullmatch(name.lower() + slash + path)
        if match is None:
            raise ValueError(f"{entry} is not a host name with or without a path")
        found[match[1]] = match[2]
    return found


def name_of(host: str) -> str:
    """Return the name in a Host header, without port, "" for nonsense."""
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]\s/@]+)(?::[0-9]{1,5})?", host)
    return match[1].strip("[]").lower() if match else ""


def is_from_this_machine(environment: Mapping[str, Any], public: Mapping[str, str]) -> bool:
    """Return whether a request to a server on loopback comes from this machine and not through a proxy on it.

    Local means: a loopback host name, HTTP/1.1 (simple proxies use 1.0), and no header that proxies add.
    """
    if public or environment.get("SERVER_PROTOCOL") == "HTTP/1.0":
        return False
    if any(_PROXY_HEADERS.fullmatch(name) for name in environment):
        return False
    name = name_of(str(environment.get("HTTP_HOST", "")))
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


class PublicHosts:
    """Passes requests for a public name on with the proxy's path and scheme."""

    def __init__(self, application: Application, public: Mapping[str, str]) -> None:
        self._application, self._public = application, public

    def __call__(self, environment: Environment, start: Any) -> Iterable[bytes]:
        """Answer one request."""
        prefix = self._public.get(name_of(str(environment.get("HTTP_HOST", ""))))
        if prefix is not None:
            if environment.get("HTTP_X_FORWARDED_PROTO", "").partition(",")[0].strip() == "https":
                environment["wsgi.url_scheme"] = "https"
            path = environment.get("PATH_INFO", "")
            if prefix and path == prefix:
                start("308 Permanent Redirect", [("Location", f"{prefix}/"), ("Content-Length", "0")])
                return [b""]
            if prefix:
                environment["SCRIPT_NAME"] = prefix
                environment["PATH_INFO"] = path.removeprefix(prefix) if path.startswith(f"{prefix}/") else path
        return self._application(environment, start)

"""One HTTP GET from an untrusted server, bounded in time and size. Uses requests.

Reading stops at a deadline however slowly the bytes arrive, and a body that is too long is refused. Redirects to this
machine or its local network are refused.
"""

import json
import logging
import math
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError, ReadTimeoutError

from src.domain.clock import SystemClock, monotonic_s
from src.domain.errors import SourceUnavailable

log = logging.getLogger(__name__)

USER_AGENT: Final = "ai-crypto-trader/1.0 (market context and news reader)"
_CHUNK_BYTES: Final = 16_384
_LONGEST_WAIT_S: Final = 43_200.0
_MOST_HOPS: Final = 3


class SourceRefused(SourceUnavailable):
    """A source gave an error or an unusable response.

    ``status`` is the HTTP status (0 without a response), ``retry_after_s`` the wait that the source asked for (None
    without), ``body`` the first part of the response.
    """

    def __init__(self, reason: str, status: int = 0, retry_after_s: float | None = None, body: bytes = b"") -> None:
        super().__init__(reason)
        self.status = status
        self.retry_after_s = retry_after_s
        self.body = body


@dataclass(frozen=True, slots=True)
class WebAnswer:
    """A response: 200, or 304 if the caller's validators still match (then without a body)."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    url: str = ""

    def json(self) -> Any:
        """Return the body as JSON; ``SourceRefused`` if it is not JSON, such as an HTML page with status 200."""
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise SourceRefused("the answer is not JSON", self.status, body=self.body[:2000]) from error


class WebFetcher:
    """Fetches URLs; thread-safe.

    Args:
        connect_s: how long connecting may take.
        deadline_s: how long the whole answer may take.
        max_bytes: how long the body may be, unpacked.
        follow_redirects: False if a header carries a key, which must not be sent to another host.
    """

    def __init__(
        self,
        connect_s: float = 2.0,
        deadline_s: float = 4.0,
        max_bytes: int = 2_000_000,
        follow_redirects: bool = True,
    ) -> None:
        self._connect_s = connect_s
        self._deadline_s = deadline_s
        self._max_bytes = max_bytes
        self._follow_redirects = follow_redirects

    def get(
        self, url: str, parameters: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> WebAnswer:
        """Return the answer to one GET.

        Args:
            url: without secrets; parameters are never logged.
            parameters: query, all text.
            headers: added to our own; keys belong here.

        Raises:
            SourceRefused: any status but 200 and 304, too long, too slow, a refused redirect, or no answer at all.
        """
        host = urlsplit(url).netloc
        until_s = monotonic_s() + self._deadline_s
        hop = _Hop(url)
        try:
            for _ in range(_MOST_HOPS):
                answer = self._follow(hop, parameters, headers, until_s)
                if isinstance(answer, WebAnswer):
                    return answer
                hop, parameters, headers = answer, None, None
        except requests.Timeout as error:
            raise SourceRefused(f"{host} did not answer within {self._deadline_s:g} s") from error
        except ReadTimeoutError as error:
            raise SourceRefused(f"{host} did not finish within {self._deadline_s:g} s") from error
        except (requests.RequestException, HTTPError, OSError) as error:
            raise SourceRefused(f"{host} cannot be reached ({type(error).__name__})") from error
        raise SourceRefused(f"{host} redirects too often")

    def _follow(
        self, hop: "_Hop", parameters: Mapping[str, str] | None, headers: Mapping[str, str] | None, until_s: float
    ) -> "WebAnswer | _Hop":
        """Return the response of one address, or the address to which it redirects."""
        host = urlsplit(hop.url).netloc
        with requests.Session() as session:
            if hop.address:
                session.mount(f"{urlsplit(hop.url).scheme}://", _PinnedAdapter(hop.address))
            with session.get(
                hop.url,
                params=parameters,
                headers={"User-Agent": USER_AGENT, **(headers or {})},
                timeout=(self._connect_s, self._deadline_s),
                stream=True,
                allow_redirects=False,
            ) as reply:
                if reply.is_redirect and self._follow_redirects:
                    return _led_to(hop, reply.headers["Location"])
                return replace(_checked(reply, self._read(reply, until_s, host), host), url=hop.url)

    def _read(self, reply: requests.Response, until_s: float, host: str) -> bytes:
        body = bytearray()
        # read1 returns after one packet; read and iter_content would wait for a full buffer, however long it takes
        while chunk := reply.raw.read1(_CHUNK_BYTES, decode_content=True):
            body += chunk
            if len(body) > self._max_bytes:
                raise SourceRefused(f"{host} sent more than {self._max_bytes} bytes", reply.status_code)
            if monotonic_s() > until_s:
                raise SourceRefused(f"{host} did not finish within {self._deadline_s:g} s", reply.status_code)
        return bytes(body)


@dataclass(frozen=True, slots=True)
class _Hop:
    """A URL, with the resolved IP address of its host ("" for trusted addresses from the settings)."""

    url: str
    address: str = ""


class _PinnedAdapter(HTTPAdapter):
    """Connects to one fixed IP address: a second look-up of the name might give another one (DNS rebinding)."""

    def __init__(self, address: str) -> None:
        self._address = address
        super().__init__()

    def send(self, request: requests.PreparedRequest, *arguments: Any, **named: Any) -> requests.Response:
        """Send the request with its original host name, bypassing any proxy, which would resolve the name again."""
        request.headers["Host"] = urlsplit(request.url or "").netloc
        named["proxies"] = {}
        return super().send(request, *arguments, **named)

    def build_connection_pool_key_attributes(self, *arguments: Any, **named: Any) -> tuple[Any, Any]:
        """Return the pinned address as the host, and the name to verify the certificate against."""
        host, pool = super().build_connection_pool_key_attributes(*arguments, **named)
        known: dict[str, Any] = dict(pool)
        if host["scheme"] == "https":
            known |= {"server_hostname": host["host"], "assert_hostname": host["host"]}
        return {**host, "host": self._address}, known


def _led_to(hop: _Hop, location: str) -> _Hop:
    """Return the target of a redirect; ``SourceRefused`` if it is not a public address."""
    here, there = urlsplit(hop.url), urlsplit(urljoin(hop.url, location))
    if there.scheme not in ("https", here.scheme):
        raise SourceRefused(f"{here.netloc} redirects to {there.scheme or 'nowhere'}: refused")
    if there.netloc == here.netloc:
        return _Hop(there.geturl(), hop.address)
    address = _public_address(there.hostname or "")
    if not address:
        raise SourceRefused(f"{here.netloc} redirects to {there.netloc}, which is not a public address: refused")
    return _Hop(there.geturl(), address)


def _public_address(host: str) -> str:
    """Return an address of a name if all its addresses are public, "" for any other name."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return ""
    addresses = [str(entry[4][0]).partition("%")[0] for entry in found]
    return addresses[0] if addresses and all(ip_address(each).is_global for each in addresses) else ""


def _checked(reply: requests.Response, body: bytes, host: str) -> WebAnswer:
    if reply.status_code in {200, 304}:
        return WebAnswer(reply.status_code, body, {name.lower(): value for name, value in reply.headers.items()})
    wait_s = retry_after_s(reply.headers.get("Retry-After"))
    raise SourceRefused(f"{host} answered HTTP {reply.status_code}", reply.status_code, wait_s, body[:2000])


def retry_after_s(text: str | None) -> float | None:
    """Return the seconds a ``Retry-After`` header asks for (number or HTTP date), at most 12 h, or None."""
    if not text:
        return None
    try:
        wait_s = float(text)
    except ValueError:
        try:
            wait_s = parsedate_to_datetime(text).timestamp() - SystemClock().now_ms() / 1000
        except (ValueError, OverflowError):
            return None
    return min(max(wait_s, 0.0), _LONGEST_WAIT_S) if math.isfinite(wait_s) else None

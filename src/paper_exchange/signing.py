"""API keys, request signatures and timestamps."""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl

from src.paper_exchange.model import VenueError
from src.paper_exchange.public_keys import PEM_MARK, is_public_key, is_signed, read_public_key

KEY_LENGTH = 64
# The pair that is accepted where no pair is configured; both words are filled up with zeros.
WELL_KNOWN_KEY = "paper".ljust(KEY_LENGTH, "0")
WELL_KNOWN_SECRET = "paper".ljust(KEY_LENGTH, "0")

DEFAULT_WINDOW_MS = 5_000
MAX_WINDOW_MS = 60_000
AHEAD_MS = 1_000
_KEY_FORM = re.compile(rf"[A-Za-z0-9]{{{KEY_LENGTH}}}")


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The API keys that the exchange knows, each with its HMAC secret or its RSA or Ed25519 public key (PEM text)."""

    secrets: Mapping[str, str] = field(repr=False)

    def secret_of(self, key: str | None) -> str:
        """Return the secret of ``key``.

        Raises:
            VenueError: -2014 for no key or an impossible one, -2015 for one that is not known (both HTTP 401).
        """
        if key is None or not _KEY_FORM.fullmatch(key):
            raise VenueError(-2014, "API-key format invalid.", 401)
        secret = self.secrets.get(key)
        if secret is None:
            raise VenueError(-2015, "Invalid API-key, IP, or permissions for action.", 401)
        return secret


def key_ring(keys: str, secrets: str) -> KeyRing:
    """Return the ring of two comma-separated lists that belong together; empty lists give the well-known pair.

    A secret ``pem:FILE`` names a file with the RSA or Ed25519 public key that belongs to the API key.

    Raises:
        ValueError: the lists differ in length, a key is no 64 letters and digits, a key comes twice, or a file does
            not hold such a public key.
    """
    key_list = [word.strip() for word in keys.split(",") if word.strip()]
    secret_list = [word.strip() for word in secrets.split(",") if word.strip()]
    if not key_list and not secret_list:
        return KeyRing({WELL_KNOWN_KEY: WELL_KNOWN_SECRET})
    if len(key_list) != len(secret_list):
        raise ValueError(f"{len(key_list)} API keys but {len(secret_list)} secrets: write one secret for each key")
    if len(set(key_list)) != len(key_list):
        raise ValueError("an API key is listed twice")
    if not all(_KEY_FORM.fullmatch(key) for key in key_list):
        raise ValueError(f"an API key must be {KEY_LENGTH} letters and digits")
    return KeyRing(dict(zip(key_list, map(_secret, secret_list), strict=True)))


def _secret(text: str) -> str:
    if not text.startswith(PEM_MARK):
        return text
    return read_public_key(Path(text.removeprefix(PEM_MARK)).expanduser())


def merged_parameters(query: str, body: str) -> dict[str, str]:
    """Return the parameters of a request; one in both places is taken from the query."""
    parameters = dict(parse_qsl(body, keep_blank_values=True))
    parameters.update(parse_qsl(query, keep_blank_values=True))
    return parameters


def check_text_signature(payload: str, given: str, secret: str) -> None:
    """Check a signature over ``payload``: hex for an HMAC secret, base64 for a public key; -1022 for a wrong one."""
    if is_public_key(secret):
        right = is_signed(secret, payload, given)
    else:
        wanted = hmac.new(secret.encode(), payload.encode(), hashlib.sha256).hexdigest()
        right = hmac.compare_digest(given.lower().encode(), wanted.encode())
    if not right:
        raise VenueError(-1022, "Signature for this request is not valid.")


def signature_of(secret: str, query: str, body: str = "") -> str:
    """Return the HMAC-SHA256 (hex) of the raw query and the raw body, joined without ``&`` as Binance does.

    A ``signature`` parameter inside them is left out, at any position.
    """
    payload = signed_text(query, body)
    return hmac.new(secret.encode(), payload.encode(), hashlib.sha256).hexdigest()


def signed_text(query: str, body: str = "") -> str:
    """Return what a signature of a request is made over: the raw query and the raw body, without the signature."""
    return _unsigned(query) + _unsigned(body)


def _unsigned(raw: str) -> str:
    return "&".join(part for part in raw.split("&") if not part.startswith("signature="))


def check_signature(parameters: Mapping[str, str], query: str, body: str, secret: str) -> None:
    """Check the request's signature, made over the raw text exactly as it was sent.

    Raises:
        VenueError: -1102 without a signature, -1022 for a wrong one.
    """
    given = parameters.get("signature")
    if not given:
        raise mandatory("signature")
    check_text_signature(signed_text(query, body), given, secret)


def check_age(parameters: Mapping[str, str], now_ms: float, speed: float) -> None:
    """Check the request's timestamp against the exchange's time ``now_ms``.

    The windows concern the wire, so they are as long in wall time as Binance's: multiplied by ``speed`` here.

    Raises:
        VenueError: -1102 or -1130 for an impossible figure, -1021 for one outside the window.
    """
    timestamp = _whole(parameters, "timestamp", None)
    window_ms = _whole(parameters, "recvWindow", DEFAULT_WINDOW_MS)
    if not 0 <= window_ms <= MAX_WINDOW_MS:
        raise VenueError(-1131, "recvWindow must be less than 60000")
    if timestamp >= now_ms + AHEAD_MS * speed:
        raise VenueError(-1021, "Timestamp for this request was 1000ms ahead of the server's time.")
    if now_ms - timestamp > window_ms * speed:
        raise VenueError(-1021, "Timestamp for this request is outside of the recvWindow.")


def _whole(parameters: Mapping[str, str], name: str, default: int | None) -> int:
    text = parameters.get(name)
    if text is None and default is not None:
        return default
    if not text or not text.isascii() or not text.isdigit():
        raise mandatory(name)
    return int(text)


def mandatory(name: str) -> VenueError:
    """Return Binance's refusal for a parameter that is missing, empty or malformed."""
    return VenueError(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")

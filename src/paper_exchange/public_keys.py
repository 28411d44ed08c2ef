"""RSA and Ed25519 keys, of which the exchange holds the public half only."""

import base64
import binascii
from functools import lru_cache
from pathlib import Path

from Crypto.Hash import SHA256
from Crypto.PublicKey import ECC, RSA
from Crypto.Signature import eddsa, pkcs1_15

PEM_MARK = "pem:"
_BEGIN = "-----BEGIN"


def read_public_key(path: Path) -> str:
    """Return the text of a PEM file with an RSA or Ed25519 public key.

    Raises:
        ValueError: one sentence: no such file, not a key, a private key, or a key of another kind.
    """
    try:
        text = path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read as a PEM file: {error}") from error
    if "PRIVATE KEY" in text:
        raise ValueError(f"{path} holds a private key: the exchange needs the public one alone")
    try:
        _loaded(text)
    except (ValueError, TypeError, IndexError) as error:
        raise ValueError(f"{path} holds no RSA or Ed25519 public key ({error})") from error
    return text


def is_public_key(secret: str) -> bool:
    """Return whether what belongs to an API key is a public key, not an HMAC secret."""
    return secret.startswith(_BEGIN)


def is_ed25519(secret: str) -> bool:
    """Return whether it is an Ed25519 public key: the only kind that may log on to the WebSocket API."""
    return is_public_key(secret) and isinstance(_loaded(secret), ECC.EccKey)


def is_signed(public_key: str, payload: str, signature: str) -> bool:
    """Return whether ``signature`` (base64) was made over ``payload`` with the private half of ``public_key``."""
    key = _loaded(public_key)
    try:
        given = base64.b64decode(signature, validate=True)
        if isinstance(key, ECC.EccKey):
            eddsa.new(key, "rfc8032").verify(payload.encode(), given)
        else:
            pkcs1_15.new(key).verify(SHA256.new(payload.encode()), given)
    except (binascii.Error, ValueError):
        return False
    return True


@lru_cache(maxsize=64)
def _loaded(text: str) -> RSA.RsaKey | ECC.EccKey:
    try:
        return RSA.import_key(text)
    except (ValueError, TypeError, IndexError):
        key = ECC.import_key(text)
    if key.curve != "Ed25519":
        raise ValueError(f"its curve is {key.curve}")
    return key

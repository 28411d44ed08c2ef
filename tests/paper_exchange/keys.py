"""Key pairs for tests: RSA and Ed25519, made anew, signing as Binance's documentation says."""

import base64
from pathlib import Path

from Crypto.Hash import SHA256
from Crypto.PublicKey import ECC, RSA
from Crypto.Signature import eddsa, pkcs1_15

RSA_API_KEY = "rsa".ljust(64, "1")
ED25519_API_KEY = "ed25519".ljust(64, "2")


class KeyPair:
    """One private key; its public half lies in a file."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self.private = RSA.generate(2048) if kind == "rsa" else ECC.generate(curve="Ed25519")
        public = self.private.public_key()
        text = public.export_key() if kind == "rsa" else public.export_key(format="PEM")
        self.file = folder / f"{kind}.pem"
        self.file.write_text(text.decode() if isinstance(text, bytes) else text)
        self.private_file = folder / f"{kind}_private.pem"
        pem = self.private.export_key() if kind == "rsa" else self.private.export_key(format="PEM", protection=None)
        self.private_file.write_text(pem.decode() if isinstance(pem, bytes) else pem)

    def sign(self, payload: str) -> str:
        """Return the base64 signature of a payload."""
        if self.kind == "rsa":
            raw = pkcs1_15.new(self.private).sign(SHA256.new(payload.encode()))
        else:
            raw = eddsa.new(self.private, "rfc8032").sign(payload.encode())
        return base64.b64encode(raw).decode()

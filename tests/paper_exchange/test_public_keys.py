"""RSA and Ed25519 keys: the exchange knows the public half, and trusts nothing else."""

import pytest
from Crypto.PublicKey import ECC

from src.paper_exchange.model import VenueError
from src.paper_exchange.public_keys import is_ed25519
from src.paper_exchange.signing import check_signature, check_text_signature, key_ring, merged_parameters
from tests.paper_exchange.keys import ED25519_API_KEY, RSA_API_KEY, KeyPair


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    return {kind: KeyPair(kind, folder) for kind in ("rsa", "ed25519")}


@pytest.fixture(scope="module")
def ring(pairs):
    return key_ring(f"{RSA_API_KEY},{ED25519_API_KEY}", f"pem:{pairs['rsa'].file},pem:{pairs['ed25519'].file}")


@pytest.mark.parametrize(("kind", "key"), [("rsa", RSA_API_KEY), ("ed25519", ED25519_API_KEY)])
def test_what_the_private_half_signed_is_accepted_and_nothing_else(pairs, ring, kind, key):
    secret, payload = ring.secret_of(key), "symbol=BTCUSDT&timestamp=1"
    signature = pairs[kind].sign(payload)
    check_text_signature(payload, signature, secret)
    other = pairs["ed25519" if kind == "rsa" else "rsa"].sign(payload)
    for wrong in (signature.lower(), signature[:-4], "", "no base64!", other, pairs[kind].sign(payload + "0")):
        with pytest.raises(VenueError) as caught:
            check_text_signature(payload, wrong, secret)
        assert caught.value.code == -1022
    assert is_ed25519(secret) == (kind == "ed25519")


def test_a_signature_that_is_percent_encoded_in_the_address_is_read(pairs, ring):
    from urllib.parse import quote

    query = "symbol=BTCUSDT&timestamp=1"
    whole = f"{query}&signature={quote(pairs['rsa'].sign(query), safe='')}"
    check_signature(merged_parameters(whole, ""), whole, "", ring.secret_of(RSA_API_KEY))


def test_a_file_that_is_no_such_key_is_refused_with_one_sentence(tmp_path, pairs):
    curve = tmp_path / "p256.pem"
    curve.write_text(ECC.generate(curve="P-256").public_key().export_key(format="PEM"))
    text = tmp_path / "text.pem"
    text.write_text("good morning")
    cases = {
        pairs["rsa"].private_file: "private key",
        tmp_path / "none.pem": "cannot be read",
        curve: "no RSA or Ed25519 public key",
        text: "no RSA or Ed25519 public key",
    }
    for file, words in cases.items():
        with pytest.raises(ValueError, match=words):
            key_ring(RSA_API_KEY, f"pem:{file}")

"""An address at which no Ray cluster answers is one sentence within ten seconds."""

import importlib.util
import socket
import time

import pytest

from src.backtest.ray_cluster import connected, refuse_unreachable
from src.domain.errors import SettingsError

MISSING = importlib.util.find_spec("ray") is None


def refusal(address):
    began = time.monotonic()
    with pytest.raises(SettingsError) as refused:
        refuse_unreachable(address)
    assert time.monotonic() - began < 10.0
    return str(refused.value)


@pytest.fixture
def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_a_closed_port(closed_port, scheme):
    said = refusal(f"{scheme}127.0.0.1:{closed_port}")
    assert said.startswith(f"No Ray cluster answers at {scheme}127.0.0.1:{closed_port} (connection refused)")


def test_a_name_that_is_none():
    assert "No Ray cluster answers at no-such-host.invalid:6379 (" in refusal("no-such-host.invalid:6379")


@pytest.mark.parametrize("address", ["127.0.0.1:port", "127.0.0.1:0", "127.0.0.1:70000"])
def test_a_port_that_is_none(address):
    assert "is no port; write HOST:PORT, ray://HOST:PORT or auto." in refusal(address)


def test_a_server_that_never_answers():
    """Something listens there, and it is no cluster."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        assert refusal(address).startswith(f"No Ray cluster answers at {address} (")


@pytest.mark.skipif(not MISSING, reason="Ray is installed")
def test_without_the_library_the_sentence_says_what_to_install():
    with pytest.raises(SettingsError, match=r"--ray needs a library: .*requirements-ray\.txt"):
        connected("127.0.0.1:6379")

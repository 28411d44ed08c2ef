"""Which names a proxy may offer us under, and which requests come from this machine itself."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.runtime.public_hosts import PublicHosts, is_from_this_machine, name_of, public_paths

LOCAL = {"HTTP_HOST": "127.0.0.1:3000", "SERVER_PROTOCOL": "HTTP/1.1", "REMOTE_ADDR": "127.0.0.1"}


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("", {}),
        ("Bot.Example.org", {"bot.example.org": ""}),
        ("bot.example.org, example.org/bot/", {"bot.example.org": "", "example.org": "/bot"}),
        ("example.org/a/B", {"example.org": "/a/B"}),
    ],
)
def test_names_and_their_paths(text, paths):
    assert public_paths(text) == paths


@pytest.mark.parametrize(
    "text",
    ["https://example.org", "*", "*.example.org", "a b", "example.org:443", "example.org/../x?y", "/bot", "a/b//c"],
)
def test_invalid_names_are_refused(text):
    with pytest.raises(ValueError, match="not a host name"):
        public_paths(text)


@pytest.mark.parametrize("host", ["127.0.0.1:3000", "localhost", "LOCALHOST:5000", "[::1]:3000", "127.9.9.9"])
def test_a_request_by_a_loopback_name_without_a_proxy_is_local(host):
    assert is_from_this_machine(LOCAL | {"HTTP_HOST": host}, {})


@pytest.mark.parametrize(
    "change",
    [
        {"HTTP_HOST": "example.org"},
        {"HTTP_HOST": "localhost.example.org"},
        {"HTTP_HOST": ""},
        {"HTTP_HOST": "[::1"},
        {"SERVER_PROTOCOL": "HTTP/1.0"},
        {"HTTP_VIA": "1.1 x"},
        {"HTTP_X_FORWARDED_HOST": ""},
        {"HTTP_CF_CONNECTING_IP": "198.51.100.3"},
    ],
)
def test_anything_else_is_not(change):
    assert not is_from_this_machine(LOCAL | change, {})


def test_with_a_public_name_no_request_counts_as_local():
    assert not is_from_this_machine(LOCAL, {"example.org": ""})


@given(st.text(max_size=60))
def test_the_name_of_any_host_is_a_name_or_nothing(host):
    name = name_of(host)
    assert name == "" or name in host.lower()


@pytest.mark.parametrize(
    ("host", "path", "scheme", "told"),
    [
        ("example.org", "/bot/api/x", "https", ("/bot", "/api/x", "https")),
        ("example.org", "/api/x", "", ("/bot", "/api/x", "http")),  # the proxy stripped the path itself
        ("example.org:8443", "/bot/", "https, http", ("/bot", "/", "https")),
        ("example.org", "/botany", "", ("/bot", "/botany", "http")),
        ("localhost", "/bot/api/x", "https", ("", "/bot/api/x", "http")),  # who is no public name is not believed
    ],
)
def test_a_request_is_handed_on_with_path_and_scheme(host, path, scheme, told):
    seen = []

    def application(environment, start):
        seen.append((environment.get("SCRIPT_NAME", ""), environment["PATH_INFO"], environment["wsgi.url_scheme"]))
        return [b""]

    asked = {"HTTP_HOST": host, "PATH_INFO": path, "wsgi.url_scheme": "http", "HTTP_X_FORWARDED_PROTO": scheme}
    PublicHosts(application, {"example.org": "/bot"})(asked, None)
    assert seen == [told]

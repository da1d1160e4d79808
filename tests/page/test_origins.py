"""Requests in the name of another host or page are refused; headers that keep others out."""

from benchmarks.server import running
from tests.helpers.attacks import statuses
from tests.helpers.requests import API, find_component, send


def test_answers_carry_security_headers(server):
    for path in ("/", "/config", f"{API}/info", f"{API}/file=x"):
        headers = send(server.url, path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "frame-ancestors 'self' https://huggingface.co" in headers["Content-Security-Policy"]
        assert headers["X-Frame-Options"] is None  # it would keep Spaces from showing the page
        assert headers["Set-Cookie"] is None
    other = send(server.url, f"{API}/info", Origin="http://evil.test").headers
    assert other["Access-Control-Allow-Origin"] is None


def test_requests_for_foreign_hosts_are_refused(server):
    """DNS rebinding: a browser that takes evil.test for this machine says so in Host."""
    assert find_component(server.url, "viewer"), "learnt from an allowed host"
    for host in ("evil.test", "evil.test:7860", "127.0.0.1.evil.test", "localhost.evil.test:1", ""):
        assert statuses(server.url, Host=host) == {400}
        assert statuses(server.url, Host=host, X_Forwarded_Host="localhost") == {400}
    for host in ("localhost", "LocalHost:8000", "127.0.0.1", "127.0.0.1:80", "[::1]:7860"):
        assert statuses(server.url, Host=host) == {200}
    assert server.output() == []


def test_requests_from_foreign_origins_are_refused(server):
    name = server.url.removeprefix("http://")
    for origin in ("http://evil.test", "null", "http://127.0.0.1:9", "https://a.hf.space", "[", ""):
        assert statuses(server.url, Origin=origin) == {403}
        assert send(server.url, f"{API}/mcp/", method="DELETE", Origin=origin).status == 403
    assert statuses(server.url, Origin=f"http://{name}") == {200}
    assert statuses(server.url, Origin="http://localhost:8000", Host="localhost:8000") == {200}
    # A page of another site may send this header, as Gradio allows all that browsers ask about.
    assert statuses(server.url, Origin="https://a.test", X_Forwarded_Host="a.test") == {403}
    assert server.output() == []


def test_the_host_of_the_root_path_is_allowed(arguments):
    public = "https://example.org/geoseg"
    with running([*arguments, "--root-path", public]) as one:
        for host in ("example.org", "Example.org:8443", "localhost"):
            assert statuses(one.url, Host=host, Origin="https://example.org") == {200}
        assert statuses(one.url, Host="evil.test") == {400}
        assert statuses(one.url, Host="example.org", Origin="https://evil.test") == {403}


def test_the_hosts_of_a_space_are_allowed(arguments):
    with running([*arguments, "--host", "0.0.0.0"], SPACE_HOST="ann-geoseg.hf.space") as one:
        assert statuses(one.url, Host="ann-geoseg.hf.space") == {200}
        for origin in ("https://huggingface.co", "https://ann-geoseg.hf.space"):
            assert statuses(one.url, Host="inside:7860", Origin=origin) == {200}
        for origin in ("https://hf.space.evil.test", "https://bob-other.hf.space"):
            assert statuses(one.url, Origin=origin) == {403}

"""Who may read the viewer's page, by a request's Host and Origin."""

from __future__ import annotations

import socket

import pytest

from parc_ray.errors import MissingDependencyError
from parc_ray.viewing.browser.access import access, guarded_server
from parc_ray.viewing.browser.viewer import Viewer
from parc_ray.viewing.scenes.playlist import open_playlist
from tests.viewing.runs import motion_file

HERE = access("127.0.0.1")
PROXY = access("127.0.0.1", ["Lab.Example"])


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:8080", "localhost:8080", "LOCALHOST", "[::1]:8080", "192.168.1.7:8080", socket.gethostname() + ":8080"],
)
def test_own_page(host):
    assert HERE.refusal(host, None) == ""
    assert HERE.refusal(host, f"http://{host}") == ""


@pytest.mark.parametrize(
    "host", ["evil.example:8080", "127.0.0.1.evil.example", "localhost.evil.example", "", "127.1.evil:8080", "[::1"]
)
def test_dns_rebinding(host):
    assert "is not allowed; start parc-ray view with --allow-host" in HERE.refusal(host, f"http://{host}")


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "", "http://127.0.0.1:9999", "http://localhost:8080", "http://evil@127.0.0.1:8080"],
)
def test_pages_of_others(origin):
    """Also those of other ports of this machine, and of localhost where the viewer was reached by its address."""
    assert "are not allowed" in HERE.refusal("127.0.0.1:8080", origin)


def test_access():
    assert PROXY.refusal("lab.example", "https://lab.example") == ""
    assert PROXY.refusal("127.0.0.1:8080", "https://lab.example") == "", "a proxy that rewrites the host"
    assert PROXY.refusal("127.0.0.1:8080", "https://evil.example")
    assert PROXY.refusal("lab.example", "https://evil.example")


def test_a_server_without_guard_is_no_success():
    pytest.importorskip("viser", reason="needs the extra view")
    with pytest.raises(MissingDependencyError, match="viser"), guarded_server(HERE):
        pass


@pytest.mark.slow
def test_the_server_answers_its_own_page_only(tmp_path, walk):
    pytest.importorskip("viser", reason="needs the extra view")
    viewer = Viewer(open_playlist(motion_file(tmp_path / "walk.pkl", walk)), "127.0.0.1", 0, ["lab.example"])
    own = f"127.0.0.1:{viewer.port}"
    try:
        assert status(viewer.port, own) == 200
        assert status(viewer.port, "lab.example") == 200
        assert status(viewer.port, "evil.example") == 403
        assert status(viewer.port, own, f"http://{own}") == 101
        assert status(viewer.port, own, "https://lab.example") == 101
        assert status(viewer.port, own, "http://evil.example") == 403
        assert status(viewer.port, "evil.example", "http://evil.example") == 403
        assert status(viewer.port, f"{own}\r\nHost: evil.example") == 400
    finally:
        viewer.close()


def status(port, host, websocket_from=None):
    """Status of the answer to a page's request, or to that of a WebSocket from a page of an origin."""
    lines = ["GET / HTTP/1.1", f"Host: {host}"]
    if websocket_from:
        lines += ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"]
        lines += ["Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Protocol: viser-v1.1.1"]
        lines += [f"Origin: {websocket_from}"]
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        return int(connection.recv(4096).split()[1])

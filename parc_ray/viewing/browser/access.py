"""Access: which pages a browser may read the viewer from, by the Host and Origin of a request."""

from __future__ import annotations

import http
import ipaddress
import socket
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Collection, Iterator
from urllib.parse import urlsplit

from parc_ray.errors import MissingDependencyError, quote


@dataclass(frozen=True)
class Access:
    """The host names, in lower case, by which browsers may reach a viewer."""

    own: frozenset[str]
    """Host names of this machine."""
    proxies: frozenset[str]
    """Host names of proxies and forwarded ports whose pages may also connect."""

    def refusal(self, host: str, origin: str | None) -> str:
        """Return why a request is refused; empty if it is allowed.

        An unknown name in `host` may be DNS rebinding: another site's name that resolves to this machine. Addresses
        and `localhost` are safe. A page sends its `origin` with a WebSocket; it must be the viewer's or a proxy's.
        Programs other than browsers send none.
        """
        name = _host_name(f"//{host}")
        if not (_is_address(name) or name == "localhost" or name in self.own | self.proxies):
            return f"the host name {quote(name)} is not allowed; start parc-ray view with --allow-host NAME"
        if origin is None or origin.split("://", 1)[-1].lower() == host.lower() or _host_name(origin) in self.proxies:
            return ""
        return f"pages of {quote(origin)} are not allowed; start parc-ray view with --allow-host NAME"


def access(host: str, allow_hosts: Collection[str] = ()) -> Access:
    """Return the access rules of a viewer that listens on `host`."""
    own, proxies = (
        frozenset(name.strip().lower().strip("[]") for name in names)
        for names in ((host, socket.gethostname()), allow_hosts)
    )
    return Access(own, proxies)


@contextmanager
def guarded_server(allowed: Access) -> Iterator[None]:
    """Make viser servers started in this context reject other hosts and pages with status 403.

    viser has no option for this, so its serve function is wrapped temporarily. Raises MissingDependencyError if
    viser did not call it, since the server would then be open to anyone.
    """
    import websockets.asyncio.server as library

    serve, guarded = library.serve, threading.Event()

    def guarding(*arguments: Any, process_request: Any = None, **options: Any) -> Any:
        def check(connection: Any, request: Any) -> Any:
            hosts, origins = (request.headers.get_all(name) for name in ("Host", "Origin"))
            if len(hosts) != 1 or len(origins) > 1:
                return connection.respond(http.HTTPStatus.BAD_REQUEST, "one Host and at most one Origin\n")
            reason = allowed.refusal(hosts[0], origins[0] if origins else None)
            if reason:
                return connection.respond(http.HTTPStatus.FORBIDDEN, f"parc-ray view: {reason}\n")
            return process_request(connection, request) if process_request else None

        guarded.set()
        return serve(*arguments, process_request=check, **options)

    setattr(library, "serve", guarding)  # noqa: B010
    try:
        yield
    finally:
        setattr(library, "serve", serve)  # noqa: B010
    if not guarded.is_set():
        raise MissingDependencyError(
            "this version of viser cannot be kept from serving other sites: pip install 'viser==1.1.1'"
        )


def _host_name(address: str) -> str:
    """Return the host of an address, in lower case and without its port; empty if there is none."""
    try:
        return (urlsplit(address).hostname or "").rstrip(".")
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.split("%")[0])
    except ValueError:
        return False
    return True

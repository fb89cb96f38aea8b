"""The network under httpcore's pools (RELIABILITY 16). A module of its own, since a process that never connects to an address
that somebody named needs none of httpcore and httpx, 5 MB: whoever uses this imports it where it is used.
"""

import time
from collections.abc import Iterable, Sequence
from ssl import SSLContext
from typing import Any

import httpcore

from app.outbound import Address


class PinnedNetwork(httpcore.NetworkBackend):
    """A network for httpcore's pools that connects to the given addresses, whatever host it is asked for, until a deadline.

    The name goes on serving for TLS and for the Host header. All waiting together ends `timeout_s` seconds after the making
    (httpcore limits each read alone, and the handshake with a SOCKS proxy not at all). `close()` closes what is still open.
    """

    def __init__(self, addresses: Sequence[Address], timeout_s: float) -> None:
        self._addresses = addresses
        self._ends = time.monotonic() + timeout_s
        self._streams: list[httpcore.NetworkStream] = []

    def remaining(self) -> float:
        """Seconds until the deadline. Raises httpcore.ReadTimeout when it has passed."""
        left = self._ends - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout("deadline")
        return left

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """A connection to the first address that answers; each may take its share of the time that is left."""
        failure: Exception = httpcore.ConnectError("no address")
        for index, address in enumerate(self._addresses):
            share = self.remaining() / (len(self._addresses) - index)
            try:
                stream = httpcore.SyncBackend().connect_tcp(str(address.ip), address.port, share, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return self.keep(stream)
        raise failure

    def keep(self, stream: httpcore.NetworkStream) -> httpcore.NetworkStream:
        """The stream under this network's deadline, to be closed with it."""
        self._streams.append(stream)
        return _Stream(stream, self)

    def close(self) -> None:
        """Close every connection that is open (httpcore forgets those whose SOCKS handshake failed)."""
        for stream in self._streams:
            stream.close()


class _Stream(httpcore.NetworkStream):
    """A stream that waits no longer than its network may."""

    def __init__(self, stream: httpcore.NetworkStream, network: PinnedNetwork) -> None:
        self._stream = stream
        self._network = network

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._network.remaining())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._network.remaining())

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return self._network.keep(self._stream.start_tls(ssl_context, server_hostname, self._network.remaining()))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)

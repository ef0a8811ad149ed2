"""The ways out to upstreams: one pool of connections for each proxy, and one without.

In: an account's proxy. Out: the transport that all its fellows share: 10,000 accounts at one
upstream need no 10,000 pools, and what tells them apart is in each request's headers.
"""

from collections.abc import Iterable

from groxy.wire.http import HttpTransport


class Transports:
    """Opens pools, and closes them."""

    def __init__(self, *, connect_timeout_s: float) -> None:
        self._connect_timeout_s = connect_timeout_s
        self._by_proxy: dict[str, HttpTransport] = {}

    def to(self, proxy_url: str) -> HttpTransport:
        """Return the transport behind a proxy; empty for the direct one."""
        transport = self._by_proxy.get(proxy_url)
        if transport is None:
            transport = self._by_proxy[proxy_url] = HttpTransport.create(
                connect_timeout_s=self._connect_timeout_s, proxy_url=proxy_url
            )
        return transport

    def set_connect_timeout(self, seconds: float) -> None:
        """Change how long connecting may take."""
        self._connect_timeout_s = seconds
        for transport in self._by_proxy.values():
            transport.set_connect_timeout(seconds)

    async def close_all_but(self, proxy_urls: Iterable[str]) -> None:
        """Close the pools of proxies that nobody uses any more."""
        used = {"", *proxy_urls}
        for proxy_url in [one for one in self._by_proxy if one not in used]:
            await self._by_proxy.pop(proxy_url).close()

    async def close(self) -> None:
        """Close every pool."""
        for transport in self._by_proxy.values():
            await transport.close()

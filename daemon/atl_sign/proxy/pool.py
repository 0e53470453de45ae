"""Connections to providers that are kept for the next request: a pool for each link and origin, as its settings are now."""

import asyncio
from dataclasses import dataclass, field

from atl_sign.base.urls import Url
from atl_sign.config.links import Link
from atl_sign.proxy.connection import Connection
from atl_sign.proxy.network import Network, View
from atl_sign.proxy.next_proxy import find_proxy

KEPT_MAX = 32  # connections without a request, a pool
KEPT_S = 30.0  # how long; servers close them after 5 s and more


@dataclass(slots=True, eq=False)
class Pool:
    """The connections of one link to one origin that have no request."""

    network: Network
    kept: list[tuple[Connection, float]] = field(default_factory=list)  # with the loop's time when they became idle, oldest first

    def take(self, age_s_max: float) -> Connection | None:
        """Return the connection that became idle last, None if there is none that the provider still holds open."""
        since_when = asyncio.get_running_loop().time() - age_s_max
        while self.kept:
            connection, idle_since = self.kept[-1]
            if idle_since < since_when:
                return None
            self.kept.pop()
            if connection.is_quiet():
                return connection
            connection.close()
        return None

    def close(self, since_when: float | None = None) -> None:
        """Close all, or those that have been idle since *since_when*, by the loop's time, or longer."""
        while self.kept and (since_when is None or self.kept[0][1] <= since_when):
            self.kept.pop(0)[0].close()


class Pools:
    """All pools, and the connections that are lent from them."""

    def __init__(self) -> None:
        """Begin without a connection; all that follows happens in one event loop."""
        self._pools: dict[tuple[str, str], Pool] = {}  # by link and origin
        self._lent: dict[Connection, Pool] = {}
        self._proxies: dict[str, str | None] = {}  # by origin, from the environment, which does not change
        self._sweeping: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._pools)

    async def find(self, link: Link, origin: Url) -> Pool:
        """Return the pool for *link* as it is now; idle connections that were made with other settings are closed."""
        proxy = link.proxy
        if proxy is None:
            if origin.origin not in self._proxies:
                self._proxies[origin.origin] = await find_proxy(link, origin)
            proxy = self._proxies[origin.origin]
        view, name = View.of(link, proxy), (link.name, origin.origin)
        pool = self._pools.get(name)
        if pool is None or pool.network.view != view:
            if pool is not None:
                pool.close()
            pool = self._pools[name] = Pool(Network(link, origin, view))
        pool.network.link = link  # its time-out may be another one
        return pool

    def lend(self, pool: Pool, connection: Connection) -> None:
        """Note that *connection* has a request."""
        self._lent[connection] = pool

    def take_back(self, pool: Pool, connection: Connection, is_usable: bool) -> None:
        """Keep *connection* for the next request, if it can have one and the link's settings are still those."""
        self._lent.pop(connection, None)
        if not is_usable:
            return
        if pool not in self._pools.values() or len(pool.kept) >= KEPT_MAX:
            connection.close()
            return
        loop = asyncio.get_running_loop()
        pool.kept.append((connection, loop.time()))
        if self._sweeping is None:
            self._sweeping = loop.call_later(KEPT_S, self._sweep)

    async def aclose(self) -> None:
        """Close every connection, also those with an exchange under way."""
        if self._sweeping is not None:
            self._sweeping.cancel()
        for pool in self._pools.values():
            pool.close()
        self._pools.clear()
        await asyncio.gather(*(connection.abort() for connection in tuple(self._lent)))

    def _sweep(self) -> None:
        """Close what has been idle for too long, and forget pools without a connection."""
        loop = asyncio.get_running_loop()
        for pool in self._pools.values():
            pool.close(loop.time() - KEPT_S)
        busy = set(self._lent.values())
        self._pools = {name: pool for name, pool in self._pools.items() if pool.kept or pool in busy}
        oldest = min((pool.kept[0][1] for pool in self._pools.values() if pool.kept), default=None)
        self._sweeping = None if oldest is None else loop.call_at(oldest + KEPT_S, self._sweep)

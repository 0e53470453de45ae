"""The refusals of the proxy's own, as they are kept for `atl-sign why`."""

from atl_sign.agent.build import Agent
from atl_sign.agent.refusals import Address, split_address
from atl_sign.base.errors import DaemonError
from atl_sign.proxy.heads import Head
from atl_sign.proxy.routes import Way


def keep_refusal(agent: Agent, error: DaemonError, way: Way, head: Head | None = None, url: str | None = None) -> None:
    """
    Keep *error*, by which a request was refused.

    Args:
        agent: keeps it.
        error: what was answered.
        way: how the request came in.
        head: its head; None when it cannot be read.
        url: the URL that it means; None as long as that is not known.
    """
    agent.refusals.add(way.caller, error, Address() if head is None else _read_address(head, way, url))


def _read_address(head: Head, way: Way, url: str | None) -> Address:
    target = head.target.decode("latin-1")
    if head.method == "CONNECT":
        return Address("CONNECT", target)
    if url is not None or "://" in target.partition("?")[0]:
        return split_address(head.method, url or target)
    hosts = head.find_all(b"host")
    host = way.origin.origin.partition("://")[2] if way.origin is not None else hosts[0].decode("latin-1") if hosts else None
    return Address(head.method, host, target)

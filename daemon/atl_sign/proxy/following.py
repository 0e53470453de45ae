"""Requests of `atl-sign curl`, which follows redirects by itself: which are signed, and which go on as curl sends them."""

from collections.abc import Awaitable, Callable

from atl_sign.agent.sign import Asked
from atl_sign.base.errors import UnknownLinkError
from atl_sign.proxy.inbound import Inbound
from atl_sign.proxy.relay import Relay
from atl_sign.proxy.routes import Wanted, Way


async def follow_curl(send: Callable[..., Awaitable[None]], relay: Relay, inbound: Inbound, way: Way, wanted: Wanted) -> None:
    """
    Sign and send a request that curl's own line, or a redirect of the same link, leads to; send others unsigned.

    Another server must not decide what is done with the user's right. Raises as *send*, one of the methods of *relay*; for an
    address outside the links that no redirect has led to, UnknownLinkError.
    """
    note, origin, caller = way.note, way.origin, way.caller
    assert note is not None  # noqa: S101 - of each curl
    signing = relay.signing
    try:
        if note.is_led:
            link = await signing.admit(caller, Asked(inbound.head.method, wanted.text, link=wanted.link))
            if not note.may_sign(link.name):
                note.tell(f"link {link.name}: a request that follows a redirect of another server was sent unsigned", None)
                await relay.pass_on(inbound, wanted, signing.links_for(caller))
                return
        await send(inbound, caller, wanted, note)
    except UnknownLinkError:
        if origin is None or not note.may_leave(origin.host, origin.port):
            raise
        await relay.pass_on(inbound, wanted, signing.links_for(caller))

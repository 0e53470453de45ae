"""An agent's parts, as tests in its own process call them."""

import asyncio

from atl_sign.access.caller import Caller
from atl_sign.agent.build import Agent
from atl_sign.agent.sign import Asked
from atl_sign.base.urls import Pairs
from atl_sign.config.links import Link
from atl_sign.custody.safe import Safe
from atl_sign.grants.live import Grants
from tests.audit_lab import PEER

CALLER = Caller(PEER)


def sign(agent: Agent, method: str, url: str, form: Pairs | None = None, link: str | None = None) -> tuple[str, Link]:
    """Return the header's value for one request, and its link."""
    signed = asyncio.run(agent.signing.sign(CALLER, Asked(method, url, form, link)))
    return signed.authorization.reveal(), signed.link


def safe_of(agent: Agent) -> Safe:
    return agent.life._safe


def link_of(agent: Agent, name: str) -> Link:
    return agent.links.show(CALLER, name).link


def grants_of(agent: Agent) -> Grants:
    return agent.checks._grants

"""The hosts of Atlassian Cloud: who is served where, and what they remember together."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from atl_sign.sandbox.call import Product, Site
from atl_sign.sandbox.cloud.account import ACCOUNT, make_accounts
from atl_sign.sandbox.cloud.auth import AUTH
from atl_sign.sandbox.cloud.bitbucket import make_workspace
from atl_sign.sandbox.cloud.consumers import BackEnd, make_bitbucket_pages
from atl_sign.sandbox.cloud.site_data import SiteData
from atl_sign.sandbox.cloud.three_legged import CloudSite
from atl_sign.sandbox.oauth2.server import OAuth2Server
from atl_sign.sandbox.received import RequestLog
from atl_sign.sandbox.state import SiteState
from atl_sign.sandbox.tokens import TokenStore

Host = Literal["site", "gateway", "account", "bitbucket", "bitbucket-api", "auth"]
HOSTS: tuple[Host, ...] = get_args(Host)
AppServer = Literal["auth", "bitbucket"]  # where apps are registered: those of Jira and Confluence, and Bitbucket's consumers
PREFIX = "ATATT3xFfGF0"
SECRET_BYTES = 120  # real tokens are that long too, though nobody should rely on it

_APP_SERVERS: dict[Host, AppServer] = {  # those that know a host's bearers
    "site": "auth",
    "gateway": "auth",
    "auth": "auth",
    "bitbucket": "bitbucket",
    "bitbucket-api": "bitbucket",
}


@dataclass(slots=True)
class CloudState(RequestLog):
    """The requests that Atlassian Cloud has received and its memory, for tests to read."""

    accounts: SiteState  # users by e-mail address, and their API tokens
    site: SiteData
    cloud_id: str
    sites: dict[str, CloudSite]  # all that the accounts reach, by their ids; the first one is the served one
    oauth2: dict[AppServer, OAuth2Server]


def make_cloud_state(clock: Callable[[], float], bitbucket_back_end: BackEnd) -> tuple[CloudState, dict[Host, Site]]:
    """Return what Cloud begins with, and its hosts; raises ValueError for an unknown back end."""
    accounts = SiteState(clock, tokens=TokenStore(PREFIX, must_expire=True, random_bytes=SECRET_BYTES))
    accounts.users = make_accounts()
    own = CloudSite(str(uuid.uuid4()), "Acme", "")
    pages: dict[AppServer, Product] = {"auth": AUTH, "bitbucket": make_bitbucket_pages(bitbucket_back_end)}
    servers: dict[AppServer, OAuth2Server] = {
        name: OAuth2Server(product.oauth2.flavour, clock) for name, product in pages.items() if product.oauth2 is not None
    }
    products: dict[Host, Product] = {"auth": pages["auth"], "bitbucket": pages["bitbucket"]}
    workspace = make_workspace()
    data: dict[Host, object] = {"bitbucket": workspace, "bitbucket-api": workspace, "site": own.data, "gateway": own.data}
    sites: dict[Host, Site] = {}
    for host in HOSTS:
        server = servers[_APP_SERVERS[host]] if host in _APP_SERVERS else None
        sites[host] = Site(products.get(host, ACCOUNT), accounts, "", "", data=data.get(host), oauth2=server)
    return CloudState(accounts, own.data, own.id, {own.id: own}, servers), sites

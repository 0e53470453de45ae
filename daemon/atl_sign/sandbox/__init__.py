"""
A provider to try against: Bamboo, Jira, Confluence and Bitbucket with OAuth 1.0a, OAuth 2.0 and personal access tokens,
Atlassian Cloud with API tokens and apps, GitHub, GitLab and a generic OAuth 2.0 provider, and a few REST calls of each.

Apart from the rest of the package: it imports nothing of it and verifies by code of its own, so that two implementations meet
in every test. docs/sandbox.md has what it imitates and what it does not.
"""

from atl_sign.sandbox.cloud.hosts import HOSTS
from atl_sign.sandbox.cloud.server import Cloud
from atl_sign.sandbox.forge.server import FORGES, Forge
from atl_sign.sandbox.oauth2.faults import Faults
from atl_sign.sandbox.oauth2.records import App
from atl_sign.sandbox.oauth2.server import OAuth2Server
from atl_sign.sandbox.person import ApproveError
from atl_sign.sandbox.received import Received, SandboxState
from atl_sign.sandbox.server import PRODUCTS, Sandbox
from atl_sign.sandbox.tokens import PersonalToken

__all__ = [
    "FORGES",
    "HOSTS",
    "PRODUCTS",
    "App",
    "ApproveError",
    "Cloud",
    "Faults",
    "Forge",
    "OAuth2Server",
    "PersonalToken",
    "Received",
    "Sandbox",
    "SandboxState",
]

"""The account pages of id.atlassian.com: login, and the page where users make API tokens, with scopes or without."""

from dataclasses import replace

from atl_sign.sandbox.call import Product, TokenKind
from atl_sign.sandbox.cloud.bitbucket import API_ROUTES
from atl_sign.sandbox.cloud.bitbucket_access import WRITE, make_error
from atl_sign.sandbox.cloud.confluence import CONFLUENCE_ROUTES
from atl_sign.sandbox.cloud.jira import JIRA_ROUTES
from atl_sign.sandbox.state import User, make_users

TOKEN_PAGE = "/manage-profile/security/api-tokens"  # noqa: S105 - an address
SCOPES = tuple(sorted({scope for route in JIRA_ROUTES + CONFLUENCE_ROUTES + API_ROUTES for scope in route.scopes} | {WRITE}))


def make_accounts() -> dict[str, User]:
    """Return the products' users by their e-mail addresses, with which they log in; each password is the part before the @."""
    return {user.email: replace(user, name=user.email) for user in make_users().values()}


ACCOUNT = Product(
    type_id="account",
    title="Atlassian account",
    version="1.0",
    build_number="1",
    login_path="/login",
    routes=(),
    make_data=lambda: None,
    make_error=make_error,
    tokens=TokenKind(since=(), page_path=TOKEN_PAGE, routes=(), permissions=SCOPES, needs_permissions=False, title="API tokens"),
    has_oauth=False,
)

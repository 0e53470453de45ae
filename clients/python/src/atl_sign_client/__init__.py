"""
Asks the user's atl-signd to sign requests to Atlassian products.

`sign` and `AtlSign` need only the standard library. `AtlSignAuth` is for requests and `AtlSignHTTPXAuth` for httpx; neither
library is imported before its name is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atl_sign_client.client import AtlSign, SignedHeader, sign
from atl_sign_client.errors import AtlSignError

if TYPE_CHECKING:
    from atl_sign_client.httpx_auth import AtlSignHTTPXAuth
    from atl_sign_client.requests_auth import AtlSignAuth

__version__ = "0.1.0"
__all__ = ["AtlSign", "AtlSignAuth", "AtlSignError", "AtlSignHTTPXAuth", "SignedHeader", "sign"]


def __getattr__(name: str) -> Any:
    """Import what needs requests or httpx when it is first asked for (PEP 562)."""
    if name == "AtlSignAuth":
        from atl_sign_client.requests_auth import AtlSignAuth

        return AtlSignAuth
    if name == "AtlSignHTTPXAuth":
        from atl_sign_client.httpx_auth import AtlSignHTTPXAuth

        return AtlSignHTTPXAuth
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

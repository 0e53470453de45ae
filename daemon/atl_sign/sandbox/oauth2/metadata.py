"""The metadata: a server's description of itself (RFC 8414 §2)."""

from typing import Any

from atl_sign.sandbox.call import Call
from atl_sign.sandbox.oauth2.pages import find_server
from atl_sign.sandbox.wire import Answer, make_json

_METHODS = {"basic": "client_secret_basic", "body": "client_secret_post", "none": "none"}


def show_metadata(call: Call) -> Answer:
    """Answer the server's metadata to anybody."""
    server = find_server(call)
    flavour = server.flavour
    endpoints = flavour.endpoints
    grants = ["authorization_code", *(["refresh_token"] if any(rule.refresh for rule in flavour.kinds.values()) else [])]
    if flavour.device is not None:
        grants.append("urn:ietf:params:oauth:grant-type:device_code")
    fields: dict[str, Any] = {
        "issuer": server.faults.metadata_issuer if server.faults.metadata_issuer is not None else call.site.base_url,
        "authorization_endpoint": _address(call, endpoints.authorize),
        "token_endpoint": _address(call, endpoints.token),
        "response_types_supported": ["code"],
        "grant_types_supported": grants,
        "scopes_supported": list(flavour.scopes.implied),
        "token_endpoint_auth_methods_supported": [_METHODS[method] for method in flavour.client_auth],
    }
    if flavour.pkce_methods:
        fields["code_challenge_methods_supported"] = list(flavour.pkce_methods)
    if endpoints.revoke is not None:
        fields["revocation_endpoint"] = _address(call, endpoints.revoke)
    if endpoints.device is not None:
        fields["device_authorization_endpoint"] = _address(call, endpoints.device)
    if flavour.sends_iss:
        fields["authorization_response_iss_parameter_supported"] = True
    return make_json(fields)


def _address(call: Call, path: str) -> str:
    return call.link_to(path.replace("{version}", find_server(call).flavour.endpoints.version))

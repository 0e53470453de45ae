"""The challenge of a product that speaks OAuth 1.0a, in `WWW-Authenticate` (RFC 9110 §11.3)."""

import re

OAUTH_CHALLENGE = re.compile(r"(?:^|,)\s*OAuth\s+(?P<parameters>.*)", re.I | re.S)


def has_oauth_challenge(www_authenticate: str) -> bool:
    """Tell whether the header's value holds a challenge for OAuth: with a problem, or the bare one of a product's every 401."""
    return OAUTH_CHALLENGE.search(www_authenticate) is not None

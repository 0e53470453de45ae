"""PKCE (RFC 7636): whether a verifier is the one of the challenge."""

import hmac
import re
from base64 import urlsafe_b64encode
from hashlib import sha256

_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")


def is_right_verifier(challenge: str, method: str, verifier: str) -> bool:
    """Tell whether *verifier* is well formed and belongs to *challenge*, whose *method* is "S256" or "plain"."""
    if _VERIFIER.fullmatch(verifier) is None:
        return False
    made = urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode() if method == "S256" else verifier
    return hmac.compare_digest(made.encode(), challenge.encode())

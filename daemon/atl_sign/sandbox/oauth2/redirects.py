"""Redirect URIs: which ones may be registered, which ones of a request match, and what is added to them."""

from urllib.parse import SplitResult, quote, urlsplit

from atl_sign.sandbox.oauth2.flavour import RedirectRule, RegistrationRule
from atl_sign.sandbox.parameters import Pairs

_LENGTH_MAX = 450  # facts oauth2 section 2
_LOOPBACK_IPS = ("127.0.0.1", "::1")
_LOOPBACK = (*_LOOPBACK_IPS, "localhost")


def check_registration(rule: RegistrationRule, uri: str) -> None:
    """Return if *uri* may be registered; raises ValueError with the reason."""
    parts = _split(uri)
    if parts is None or not parts.scheme or not uri.isprintable() or " " in uri:
        raise ValueError("the redirect URL must be absolute")
    if "#" in uri:
        raise ValueError("the redirect URL must have no fragment")
    if rule == "any":
        return
    if len(uri) > _LENGTH_MAX:
        raise ValueError(f"the redirect URL must have at most {_LENGTH_MAX} characters")
    if parts.scheme == "http" and (parts.hostname != "localhost" or parts.port is None):
        raise ValueError("the redirect URL must begin with https:// or http://localhost:PORT")


def is_well_formed(uri: str) -> bool:
    """Tell whether *uri* is an absolute http or https address."""
    parts = _split(uri)
    return parts is not None and parts.scheme in ("http", "https") and bool(parts.hostname) and uri.isprintable()


def is_match(rule: RedirectRule, registered: str, given: str) -> bool:
    """Tell whether the *given* redirect URI of a request is allowed by a *registered* one."""
    if given == registered:
        return True
    if rule == "exact":
        return False
    if rule == "prefix":
        return given.startswith(registered) and (registered.endswith("/") or given[len(registered)] in ":/?")
    own, other = _split(registered), _split(given)
    if own is None or other is None or own.scheme != other.scheme:
        return False
    if rule == "below":
        return _is_below(own, other)
    frees_port = own.hostname in (_LOOPBACK if rule == "any loopback port" else _LOOPBACK_IPS)
    return frees_port and own.hostname == other.hostname and (own.path, own.query) == (other.path, other.query)


def add_parameters(uri: str, pairs: Pairs) -> str:
    """Return *uri* with *pairs* added to its query."""
    query = "&".join(f"{quote(name, safe='-._~')}={quote(value, safe='-._~')}" for name, value in pairs)
    return f"{uri}{'&' if '?' in uri else '?'}{query}"


def _is_below(own: SplitResult, other: SplitResult) -> bool:
    """GitHub's rule: a loopback's port is free, subdomains and what lies below the path are fine."""
    host, own_host = other.hostname or "", own.hostname or ""
    if own_host in _LOOPBACK:
        is_host = host == own_host
    else:
        is_host = (host == own_host or host.endswith(f".{own_host}")) and own.port == other.port
    return is_host and (other.path == own.path or other.path.startswith(own.path.rstrip("/") + "/"))


def _split(uri: str) -> SplitResult | None:
    try:
        parts = urlsplit(uri)
        _ = parts.port
    except ValueError:
        return None
    return parts

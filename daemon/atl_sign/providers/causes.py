"""Why a provider cannot be reached, and what to do about it: each sentence stands here once, whichever library noticed."""

from atl_sign.base.errors import ProviderUnreachableError
from atl_sign.config.links import Link

Cause = tuple[str, str]  # why, and what to do

TOO_MANY_WAIT: Cause = (
    "too many requests wait for providers",
    "try again in a moment, or lower the timeout_s of links that do not answer",
)
TLS_FAILED: Cause = ("TLS failed", "check that the address is an https one, and whether it wants a client_cert")
UNKNOWN_HOST: Cause = ("its host name is not known", "check the base URL for typing errors, and the network")
NOBODY_THERE: Cause = ("nobody takes the connection there", "check the base URL, the network and the link's proxy")
TOO_LARGE: Cause = ("its answer is larger than any real one", "check the base URL")
CUT_SHORT: Cause = ("the connection broke in the middle of an answer", "try again")
BROKEN: Cause = ("the connection broke, or what answers there does not speak HTTP", "check the base URL and its port")

_TUNNEL_STATUSES = {403: ": it forbids this address", 502: ": it cannot reach the provider", 503: ": it is not available"}


def cannot_be_reached(link: Link, cause: str, hint: str) -> ProviderUnreachableError:
    """Return the error for a provider from which nothing came, for this *cause*."""
    return ProviderUnreachableError(say_unreachable(link, cause), hint)


def say_unreachable(link: Link, cause: str) -> str:
    """Return the sentence for a provider from which nothing came, for this *cause*."""
    return f"the provider of link {link.name} at {link.url.origin} cannot be reached: {cause}"


def name_proxy(link: Link) -> str:
    """Return the words for the proxy that requests of *link* go through, if they go through one."""
    return "the link's proxy" if link.proxy else "the proxies in the daemon's environment"


def not_trusted(word: str) -> Cause:
    """OpenSSL does not accept the certificate; *word* is its own on why."""
    return (
        f"its TLS certificate is not trusted ({word})",
        "set the link's ca_bundle to your company's CA certificates, or correct the address",
    )


def not_let_through(link: Link, status: int | None) -> Cause:
    """The proxy makes no connection; *status* is its answer to CONNECT, None if there was none."""
    proxy = name_proxy(link)
    if status == 407:
        return (
            "the proxy does not let us through: it requires a user name and a password (status 407)",
            f"check the user name and the password of {proxy}",
        )
    words = _TUNNEL_STATUSES.get(status or 0, "")
    return f"the proxy does not let us through{words}{f' (status {status})' if status else ''}", f"check {proxy}"


def unusable_proxy(link: Link) -> Cause:
    """The proxy's address has a scheme that does not work here."""
    return (
        "the proxy's address is of no kind that works here (SOCKS needs the Python package PySocks)",
        f"check {name_proxy(link)}",
    )


def too_late(link: Link) -> Cause:
    """The exchange took longer than the link allows."""
    return f"no whole answer within {link.timeout_s:g} s", "try again, or raise the link's timeout_s"


def not_connected(seconds: float) -> Cause:
    """Connecting took too long, whatever the link allows."""
    return f"no connection within {seconds:g} s", NOBODY_THERE[1]


def stalled(seconds: float) -> Cause:
    """The exchange had begun, and then nothing went on."""
    return f"nothing went on for {seconds:g} s in the middle of an exchange", "try again"

"""Refusals: the answers of ours, in a shape that the tools of all four products can show (facts leases-proxy.md section 4.5)."""

import json

from atl_sign.base.errors import (
    BadRequestError,
    DaemonError,
    InternalError,
    NotFoundError,
    ProviderUnreachableError,
    TooLargeError,
)

Headers = list[tuple[bytes, bytes]]


class MalformedError(BadRequestError):
    """This is not a request as HTTP/1.1 has it, or one that two servers could read differently."""

    status = 400


class HeadTooLargeError(TooLargeError):
    """The request's head is over its limit."""

    status = 431


class OwnCredentialsError(DaemonError):
    """The request has credentials of its own, which would not be sent."""

    code = "own_credentials"
    status = 403


class SecretNeededError(DaemonError):
    """A port takes only requests that show the lease's secret."""

    code = "secret_needed"
    status = 403


class ProxySecretNeededError(SecretNeededError):
    """The same for programs that use the port as their proxy: HTTP has a status for it, and they wait for that."""

    status = 407


class BrowserRefusedError(DaemonError):
    """The request to a port comes from a web page, or names another host than the port's own."""

    code = "browser_refused"
    status = 403


class UpgradeRefusedError(DaemonError):
    """The connection would become something else than HTTP/1.1, which no rule could look at."""

    code = "upgrade_refused"
    status = 403


class ProxyBusyError(DaemonError):
    """As many requests as may be are under way."""

    code = "proxy_busy"
    status = 403


_OWN_STATUS = (MalformedError, TooLargeError, NotFoundError, ProxySecretNeededError, InternalError)


def status_of(error: DaemonError) -> int:
    """
    Return the status of the answer that tells of *error*.

    Never 401, 429, 503 or 202: tools answer those by asking again, at once or for ever, or take them for a success.
    """
    if isinstance(error, ProviderUnreachableError):
        return 504 if error.is_timeout else 502
    return error.status if isinstance(error, _OWN_STATUS) else 403


def make_refusal(error: DaemonError) -> tuple[int, Headers, bytes]:
    """
    Return status, headers and body of the answer that tells of *error*.

    Each product's tools look for the message in another place; one body has them all.
    """
    status = status_of(error)
    message = f"atl-sign: {error.message}" + (f" ({error.hint})" if error.hint else "")
    body = json.dumps(
        {
            "errors": [{"context": None, "message": message, "exceptionName": None}],  # Bitbucket
            "errorMessages": [message],  # Jira
            "message": message,  # Confluence, Bamboo
            "statusCode": status,
            "status-code": status,
        }
    ).encode()
    headers = [
        (b"Content-Type", b"application/json"),
        (b"Content-Length", b"%d" % len(body)),
        (b"Cache-Control", b"no-store"),
        (b"X-Atl-Sign", error.code.encode()),
    ]
    if isinstance(error, ProxySecretNeededError):
        headers.append((b"Proxy-Authenticate", b'Basic realm="atl-sign"'))
    return status, headers, body

"""
OAuth 1.0a signatures: from a request, a consumer and a token to one Authorization header value.

The one place that knows the signature method. The daemon's answers and the dance's own requests are signed here alike.
"""

from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from urllib.parse import quote, unquote

from atl_sign.base.credentials import Consumer
from atl_sign.base.errors import BadUrlError
from atl_sign.base.request import Request
from atl_sign.base.urls import PARAMETERS_MAX, Pairs, parse_pairs
from atl_sign.schemes.oauth1.tokens import AccessToken, RequestToken

SIGNATURE_METHOD = "RSA-SHA1"  # the only one that Atlassian's servers take (facts atlassian-auth.md section 1.1)
# Names that belong to the signature; the provider takes each only once (net.oauth, SimpleOAuthValidator.SINGLE_PARAMETERS).
PROTOCOL_PARAMETERS = frozenset(
    {
        "oauth_callback",
        "oauth_consumer_key",
        "oauth_nonce",
        "oauth_signature",
        "oauth_signature_method",
        "oauth_timestamp",
        "oauth_token",
        "oauth_token_secret",
        "oauth_version",
    }
)


@dataclass(frozen=True, slots=True)
class LegRequest(Request):
    """A request of the dance, with the protocol parameters that go into its header beside the usual ones."""

    oauth: Pairs = field(default=(), repr=False)  # oauth_callback, oauth_verifier, oauth_session_handle


def sign(
    request: Request,
    consumer: Consumer,
    token: AccessToken | RequestToken | None,
    *,
    nonce: str,
    timestamp: int,
) -> str:
    """
    Return the Authorization header value for *request*.

    Args:
        request: the request; its URL is the one the provider believes it was called by.
        consumer: who signs.
        token: the access token; the request token when it is swapped; None for the dance's first request.
        nonce: hex, 16 random bytes or more, never used twice with the same timestamp and token.
        timestamp: seconds since 1970-01-01 UTC, by the provider's clock.

    Raises:
        BadUrlError: the query or the form repeats one of the header's parameters, has too many parameters or one without a name,
            or cannot be decoded exactly.

    Source: RFC 5849 §3.4 (signature), §3.5.1 (header).
    """
    oauth = _protocol_parameters(request, consumer, token, nonce, timestamp)
    base_string = _base_string(request, oauth)
    signature = b64encode(consumer.private_key.sign_sha1(base_string.encode("ascii"))).decode("ascii")
    escaped = signature.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")  # base64 has nothing else to escape
    items = ", ".join(f'{name}="{value}"' for name, value in oauth)
    return f'OAuth {items}, oauth_signature="{escaped}"'


def signature_base_string(
    request: Request, consumer: Consumer, token: AccessToken | RequestToken | None, *, nonce: str, timestamp: int
) -> str:
    """
    Return what `sign` signs for the same arguments; it holds the token, so it is a secret until that is struck out.

    Source: RFC 5849 §3.4.1.
    """
    return _base_string(request, _protocol_parameters(request, consumer, token, nonce, timestamp))


def signature_of(header: str) -> bytes:
    """Return the signature in *header*, which `sign` made."""
    return b64decode(unquote(header.rpartition('oauth_signature="')[2].rstrip('"')))


def base_string_of(request: Request, header: str) -> str:
    """Return the signature base string for *request* that `sign` made *header* of."""
    items = [item.partition("=") for item in header.removeprefix("OAuth ").split(", ")]
    return _base_string(request, [(name, value.strip('"')) for name, _, value in items if name != "oauth_signature"])


def _protocol_parameters(
    request: Request, consumer: Consumer, token: AccessToken | RequestToken | None, nonce: str, timestamp: int
) -> list[tuple[str, str]]:
    """Return what the header carries besides the signature, percent-encoded, in the header's order."""
    oauth = [("oauth_consumer_key", _escape(consumer.key))]
    if token is not None:
        oauth.append(("oauth_token", _escape(token.key.reveal())))
    oauth += [
        ("oauth_signature_method", SIGNATURE_METHOD),
        ("oauth_timestamp", str(timestamp)),
        ("oauth_nonce", _escape(nonce)),
        ("oauth_version", "1.0"),
    ]
    if isinstance(request, LegRequest):
        oauth.extend((name, _escape(value)) for name, value in request.oauth)
    return oauth


def _base_string(request: Request, oauth: list[tuple[str, str]]) -> str:
    url = request.url
    sent = [*(parse_pairs(url.query, "query") if url.query else ()), *(request.form or ())]
    if len(sent) > PARAMETERS_MAX:  # the provider counts query and form together
        raise BadUrlError(f"the request has more than {PARAMETERS_MAX} parameters", "the provider would not read them all")
    for name, _ in sent:
        if name in PROTOCOL_PARAMETERS:
            raise BadUrlError(
                f"the request carries a parameter {name} of its own", "take it out: the name is reserved for the signature"
            )
        if not name:  # a form given as pairs; parse_pairs refuses it in a text
            raise BadUrlError("the form has a part without a name", "the provider would drop it: take it out")
    # RFC 5849 §3.4.1.3.2: sorted by encoded name, then by encoded value. Encoded text is ASCII, so str order is byte order.
    encoded = sorted([*((_escape(name), _escape(value)) for name, value in sent), *oauth])
    parameters = "%26".join(f"{_escape_again(name)}%3D{_escape_again(value)}" for name, value in encoded)
    return f"{_escape(request.method.upper())}&{_escape(url.origin + url.path)}&{parameters}"


def _escape_again(encoded: str) -> str:
    """Percent-encode what `_escape` gave: nothing is left to encode but its percent signs."""
    return encoded.replace("%", "%25")


def _escape(text: str) -> str:
    """Percent-encode as RFC 5849 §3.6: only letters, digits and "-._~" stay."""
    try:
        return quote(text, safe="-._~")
    except UnicodeEncodeError:
        # Half a surrogate pair: JSON can carry it, no request can. No chain: the cause would show the text.
        raise BadUrlError("the request holds text that is not valid Unicode", "encode the text as UTF-8 first") from None

"""The begin of a device flow (RFC 8628 §3.1, §3.2): a code for the user to enter on any device."""

from collections.abc import Sequence

from atl_sign.base.credentials import App, Secret
from atl_sign.base.errors import BadRequestError, BadUrlError, ProviderRefusedError
from atl_sign.config.links import Link
from atl_sign.providers.unexpected import explain_bystander
from atl_sign.schemes.base import Consent, DeviceCode
from atl_sign.schemes.oauth2.begun import Begun
from atl_sign.schemes.oauth2.exchange import post
from atl_sign.schemes.oauth2.metadata import parse_server_address
from atl_sign.schemes.oauth2.server import Server
from atl_sign.schemes.oauth2.token_answer import read_word
from atl_sign.schemes.oauth2.token_request import TokenRequests

INTERVAL_S_DEFAULT = 5.0  # RFC 8628 §3.2
INTERVAL_S_MIN = 1.0
INTERVAL_S_MAX = 60.0
LIFETIME_S_DEFAULT = 900.0
LIFETIME_S_MAX = 3600.0
PATIENCE = 1.2  # a server may count a poll that comes a little early as one too many (facts oauth2.md section 8.3)


def begin_device_flow(link: Link, app: App, server: Server, scopes: Sequence[str]) -> Consent:
    """
    Return a dance that waits for the user at another device.

    Raises:
        BadRequestError: the provider has no device flow.
        ProviderRefusedError, ProviderBusyError, ProviderUnreachableError: it begins none.
    """
    if server.device_url is None:
        raise BadRequestError("this provider has no device flow", f"atl-sign dance {link.name} --oob", link=link.name)
    answer = post(link, server.device_url, TokenRequests(app, server.client_auth).for_device_code(scopes))
    found = answer.json_object or {}
    code, user_code, page = (found.get(name) for name in ("device_code", "user_code", "verification_uri"))
    page = page or found.get("verification_url")  # as some had it before RFC 8628
    if not (_is_word(code, 4096) and _is_word(user_code, 64) and _is_page(page)):
        word = read_word(found.get("error"))
        passing = None if word else explain_bystander(link, answer)
        if passing is not None:
            raise passing
        shown = f" ({word})" if word else f" (status {answer.status})"
        raise ProviderRefusedError(
            f"the provider begins no device flow{shown}",
            f"the app may need it ticked: atl-sign link setup {link.name}; or: atl-sign dance {link.name}",
            link=link.name,
            problem=word,
        )
    whole = found.get("verification_uri_complete")
    device = DeviceCode(
        user_code=str(user_code),
        whole_url=str(whole) if _is_page(whole) else None,
        interval_s=PATIENCE * max(_read_seconds(found.get("interval"), INTERVAL_S_DEFAULT, INTERVAL_S_MAX), INTERVAL_S_MIN),
        lifetime_s=_read_seconds(found.get("expires_in"), LIFETIME_S_DEFAULT, LIFETIME_S_MAX),
    )
    return Consent(str(page), Secret(str(code)), None, Begun(server, None, tuple(scopes)), device)


def _is_word(value: object, chars_max: int) -> bool:
    return isinstance(value, str) and 0 < len(value) <= chars_max and value.isascii() and value.isprintable()


def _is_page(value: object) -> bool:
    if not isinstance(value, str):
        return False
    try:
        parse_server_address(value)
    except BadUrlError:
        return False
    return True


def _read_seconds(value: object, default: float, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        return default
    return float(min(value, most))

"""The environment's variables that change what a daemon does, and how they are shown: without passwords."""

from collections.abc import Mapping

from atl_sign.striking import strike_address

_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
NAMES = (
    "DBUS_SESSION_BUS_ADDRESS",
    "XDG_RUNTIME_DIR",
    "XDG_CONFIG_HOME",
    "XDG_STATE_HOME",
    "ATL_SIGN_STORE",
    *_PROXIES,
    "no_proxy",
    "NO_PROXY",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "SSL_CERT_FILE",
)


def show_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Return those of `NAMES` that are set in *environment*; proxies without name and password."""
    return {
        name: strike_address(environment[name]) if name in _PROXIES else environment[name]
        for name in NAMES
        if environment.get(name)
    }

"""The environment's variables that change what a daemon does, and how they are shown: without passwords."""

from collections.abc import Mapping
from pathlib import Path

from atl_sign.base.striking import strike_address

_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
NAMES = (
    "DBUS_SESSION_BUS_ADDRESS",
    "XDG_RUNTIME_DIR",
    "XDG_CONFIG_HOME",
    "XDG_STATE_HOME",
    "ATL_SIGN_STORE",
    "ATL_SIGN_SYSTEM_CONFIG",
    *_PROXIES,
    "no_proxy",
    "NO_PROXY",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "SSL_CERT_FILE",
)
# Variables that any program needs, that name the socket, that open the store's file, and that pass's keyring back end reads.
_BASICS = (
    *("HOME", "PATH", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "LD_LIBRARY_PATH"),
    *("ATL_SIGN_SOCK", "CREDENTIALS_DIRECTORY", "GNUPGHOME", "PASSWORD_STORE_DIR"),
)

_PATHS = (
    "ATL_SIGN_SOCK",
    "ATL_SIGN_SYSTEM_CONFIG",
    "CREDENTIALS_DIRECTORY",
    *(name for name in NAMES if name.startswith("XDG_") or name.endswith(("_BUNDLE", "_FILE"))),
)


def absolute_paths(environment: Mapping[str, str]) -> dict[str, str]:
    """Return those variables of *environment* whose paths begin at the current folder, with the path from the root."""
    found = {name: environment.get(name, "") for name in _PATHS}
    return {name: str(Path(value).absolute()) for name, value in found.items() if value and not value.startswith("/")}


def show_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Return those of `NAMES` that are set in *environment*; proxies without name and password."""
    return {
        name: strike_address(environment[name]) if name in _PROXIES else environment[name]
        for name in NAMES
        if environment.get(name)
    }


def choose_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """
    Return what of a client's *environment* a daemon is started with.

    The rest is the client's own business, and the daemon outlives it: `PYTHONHOME`, a preloaded library, a service's
    `JOURNAL_STREAM` or `NOTIFY_SOCKET`.
    """
    wanted = {*NAMES, *_BASICS}
    return {name: value for name, value in environment.items() if name in wanted or name.startswith("LC_")}

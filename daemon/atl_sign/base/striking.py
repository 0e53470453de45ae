"""Strikes secrets out of texts that others wrote: addresses with passwords, foreign logs."""

import re

# Up to the last "@" of a word: a password may hold one, or a slash, though an address must not.
_USER_INFO = re.compile(r"(?<=://)\S*@")
# The same without a scheme, as proxies may be written.
_BARE_USER_INFO = re.compile(r"(?<![^\s\"'=,;(])[^\s\"'=,;:/@()]+:(?!//)[^\s\"']*@(?=[\w\[])")
_ADDRESS = re.compile(r"(?s)\A(?P<scheme>[A-Za-z][\w+.-]*://)?.*@")
# Secrets that a line of a foreign log must not bring along, should it ever hold one.
_HEADER = re.compile(r"(?i)(?P<name>(?:proxy-)?authorization|(?:set-)?cookie)(?P<between>[\"']?\s*[:=]).*")
_SCHEME = re.compile(r"\b(?P<scheme>Bearer|Basic) (?=\S*\d)[A-Za-z0-9._~+/=-]{6,}")
_SECRETS = re.compile(
    r"(?i)(?P<name>oauth_(?:token(?:_secret)?|verifier|session_handle|signature|nonce|refresh_token)"
    r"|password|passphrase|credential|jsessionid|\w*_secret|\w*_token)"
    r"(?P<between>[\"']?\s*(?:=|:|%3D)\s*[\"']?)[^\s\"',&;]+"
)
_PEM = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.S)


def strike_user_info(text: str) -> str:
    """Return *text* with the names and passwords of its addresses struck out."""
    return _BARE_USER_INFO.sub("…@", _USER_INFO.sub("…@", text))


def strike_address(address: str) -> str:
    """Return *address*, which is one and nothing else, without name and password; also where these make it none."""
    return _ADDRESS.sub(lambda found: f"{found['scheme'] or ''}…@", address)


def strike_secrets(text: str) -> str:
    """Return *text* with everything struck out that looks like a secret."""
    text = _PEM.sub("<secret>", strike_user_info(text))
    text = _HEADER.sub(r"\g<name>\g<between> <secret>", text)
    text = _SCHEME.sub(r"\g<scheme> <secret>", text)
    return _SECRETS.sub(r"\g<name>\g<between><secret>", text)

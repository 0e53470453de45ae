"""The command that changes one setting of a link and keeps the others, to be pasted into a shell."""

from shlex import quote

from atl_sign.base.urls import Url
from atl_sign.config.links import TIMEOUT_S_DEFAULT, Link

_OPTIONS = ("signing_url", "ca_bundle", "client_cert", "proxy", "git", "git_days")


def format_link_command(link: Link, *, url: Url | None = None, **changes: object) -> str:
    """
    Return `atl-sign link add … --replace` for *link*: that command drops every setting that it does not name.

    Args:
        link: as it is now; its consumer key stays without being named.
        url: another base URL.
        changes: settings of `_OPTIONS`, with the values they are to have.
    """
    words = ["atl-sign", "link", "add", link.name, str(url or link.url)]
    for setting in _OPTIONS:
        value = changes.get(setting, getattr(link, setting))
        if value is not None:
            words += [f"--{setting.replace('_', '-')}", str(value)]
    if link.timeout_s != TIMEOUT_S_DEFAULT:
        words += ["--timeout", f"{link.timeout_s:g}"]
    if link.allow_insecure:
        words.append("--allow-insecure")
    return " ".join(map(quote, [*words, "--replace"]))

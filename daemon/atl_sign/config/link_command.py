"""The command that changes one setting of a link and keeps the others, to be pasted into a shell."""

from shlex import quote

from atl_sign.base.urls import Url
from atl_sign.config.links import Link
from atl_sign.config.setting import written


def format_link_command(link: Link, *, url: Url | None = None, **changes: object) -> str:
    """
    Return `atl-sign link add … --replace` for *link*: that command drops every setting that it does not name.

    Args:
        link: as it is now; what a PUT keeps, as its consumer key, stays without being named.
        url: another base URL.
        changes: settings that have an option, with the values they are to have.
    """
    words = ["atl-sign", "link", "add", link.name, str(url or link.url)]
    for row, current in link.settings():
        value = changes.get(row.name, current)
        if row.flag and not row.is_kept and value != row.default:
            words.append(row.flag)
            if row.metavar:
                words.append(f"{value:g}" if isinstance(value, float) else str(written(value)))
    return " ".join(map(quote, [*words, "--replace"]))

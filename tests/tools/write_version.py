"""Writes the version of `daemon/atl_sign/__init__.py` wherever else it stands: `python -m tests.tools.write_version`."""

import re
from pathlib import Path

from atl_sign import __version__
from tests.lab import REPOSITORY

# By file, what stands before it and behind it on its line.
PLACES = {
    REPOSITORY / "clients/bash/atl-sign": ("VERSION=", ""),
    REPOSITORY / "clients/node/package.json": ('  "version": "', '",'),
    REPOSITORY / "clients/python/src/atl_sign_client/__init__.py": ('__version__ = "', '"'),
    REPOSITORY / "docs/man/atl-sign.1": (r".Os atl\-sign ", ""),
    REPOSITORY / "docs/man/atl-signd.1": (r".Os atl\-sign ", ""),
}


def with_version(path: Path, version: str) -> str:
    """Return the text of the file at *path*, one of `PLACES`, with *version* in its place."""
    before, after = map(re.escape, PLACES[path])
    text, count = re.subn(rf"(?m)^({before})[\w.]+({after})$", lambda found: f"{found[1]}{version}{found[2]}", path.read_text())
    assert count == 1, f"{path}: the version stands {count} times"
    return text


if __name__ == "__main__":
    for place in PLACES:
        place.write_text(with_version(place, __version__))

"""The .deb: the tree, with what Debian wants beside it."""

import gzip
import hashlib
import shutil
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

from tests.tools.packages.environment import BEYOND, HOME, PYTHONS
from tests.tools.packages.source import Source

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def make_deb(source: Source, tree: Path, work: Path, machine: str, folder: Path) -> Path:
    """Write the .deb for *machine* into *folder*, and return it; *work* is free to use."""
    root = work / "deb"
    shutil.copytree(tree, root, symlinks=True)
    zsh = root / "usr/share/zsh"
    (zsh / "site-functions").rename(zsh / "vendor-completions")
    documents = root / "usr/share/doc/atl-sign"
    day = format_datetime(datetime.fromtimestamp(source.epoch, UTC))
    source.fill("debian/changelog", documents / "changelog", DAY=day)
    (documents / "changelog.gz").write_bytes(gzip.compress((documents / "changelog").read_bytes(), mtime=0))
    (documents / "changelog").unlink()
    source.fill("debian/lintian-overrides", root / "usr/share/lintian/overrides/atl-sign")
    source.fill("debian/rtupdate", root / "usr/share/python3/runtime.d/atl-sign.rtupdate", 0o755)
    _write_control(source, root, ARCHITECTURES[machine])
    for path in root.rglob("*"):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
    package = folder / f"atl-sign_{source.system_version}_{ARCHITECTURES[machine]}.deb"
    # With one thread, since xz's blocks depend on how many there are.
    source.run("dpkg-deb", "--root-owner-group", "-Zxz", "-z2", "--threads-max=1", "--build", root, package)
    return package


def _write_control(source: Source, root: Path, architecture: str) -> None:
    files = sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    sums = [f"{hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()}  {path.relative_to(root)}\n" for path in files]
    size = sum(-(-path.stat().st_size // 1024) for path in files)
    control = root / "DEBIAN"
    more = {"ARCHITECTURE": architecture, "SIZE": str(size), "OLDEST": PYTHONS[0], "BEYOND": BEYOND}
    source.fill("debian/control", control / "control", 0o644, **more)
    for script in ("postinst", "prerm"):
        source.fill(f"debian/{script}", control / script, 0o755, HOME=f"/{HOME}")
    (control / "md5sums").write_text("".join(sums))
    (control / "md5sums").chmod(0o644)

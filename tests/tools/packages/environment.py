"""The tree `/usr` of the system packages: the program with its libraries in an environment of its own, and links to it."""

import gzip
import hashlib
import platform
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path

from installer import install
from installer.destinations import SchemeDictionaryDestination
from installer.sources import WheelFile

from tests.tools.packages.source import Source

# Of Debian 12, Ubuntu 24.04, Debian 13 and newer. Modules for all of them lie in one folder: their names tell which is whose.
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
BEYOND = "3.15"  # the first Python that no module is for
HOME = Path("usr/lib/atl-sign")
COMMANDS = ("atl-sign", "atl-signd", "git-credential-atl-sign")
_GLIBC = ("manylinux_2_28", "manylinux_2_17", "manylinux2014", "manylinux_2_12", "manylinux2010", "manylinux_2_5", "manylinux1")
# From the environment's folder to where man, the shells and systemd look.
_MOVED = {
    "share/bash-completion/completions/atl-sign": "usr/share/bash-completion/completions/atl-sign",
    "share/zsh/site-functions/_atl-sign": "usr/share/zsh/site-functions/_atl-sign",
    "share/fish/vendor_completions.d/atl-sign.fish": "usr/share/fish/vendor_completions.d/atl-sign.fish",
    "share/systemd/user/atl-signd.socket": "usr/lib/systemd/user/atl-signd.socket",
    "share/systemd/user/atl-signd.service": "usr/lib/systemd/user/atl-signd.service",
}


def fetch_wheels(requirements: Path, cache: Path) -> Path:
    """Return the folder below *cache* with *requirements* as wheels for each Python; pip fetches them once, and checks hashes."""
    name = hashlib.sha256(requirements.read_bytes() + str((PYTHONS, _GLIBC)).encode()).hexdigest()[:16]
    folder = cache / f"{name}-{platform.machine()}"
    if folder.is_dir():
        return folder
    unfinished = folder.with_suffix(".part")
    platforms = [word for libc in _GLIBC for word in ("--platform", f"{libc}_{platform.machine()}")]
    for python in PYTHONS:
        tag = f"cp{python.replace('.', '')}"
        kinds = ["--python-version", python, "--implementation", "cp", "--abi", tag, "--abi", "abi3", "--abi", "none"]
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += [
            "--require-hashes",
            "--only-binary",
            ":all:",
            *platforms,
            *kinds,
            "--dest",
            str(unfinished),
            "-r",
            str(requirements),
        ]
        subprocess.run(command, check=True)
    unfinished.rename(folder)
    return folder


def make_tree(source: Source, wheels: Iterable[Path], tree: Path) -> None:
    """Install *wheels* into *tree* as they are to lie on a user's machine."""
    home = tree / HOME
    packages = home / "lib/python3/site-packages"
    seen: set[str] = set()
    for wheel in sorted(wheels):  # cp311 before cp312
        name = wheel.name.partition("-")[0]
        if name in seen:
            _add_modules(wheel, packages)
        else:
            _install(wheel, tree, packages)
        seen.add(name)
    for script in set((home / "bin").iterdir()) - {home / "bin" / name for name in (*COMMANDS, "keyring")}:
        script.unlink()  # of libraries
    (home / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n")
    (home / "bin/python3").symlink_to("../../../bin/python3")
    for python in PYTHONS:
        (home / f"lib/python{python}").symlink_to("python3")
    (tree / "usr/bin").mkdir()
    for command in COMMANDS:
        (tree / "usr/bin" / command).symlink_to(f"../lib/atl-sign/bin/{command}")
    for old, new in _MOVED.items():
        (tree / new).parent.mkdir(parents=True, exist_ok=True)
        (home / old).rename(tree / new)
    for name in ("atl-signd.socket", "atl-signd.service"):  # `atl-sign service install` looks for them in the environment
        (home / "share/systemd/user" / name).symlink_to(f"../../../../systemd/user/{name}")
    _write_manual(home, tree)
    licence = tree / "usr/share/doc/atl-sign/copyright"
    source.fill("copyright", licence, LICENCE=_indent((source.folder / "LICENSE").read_text()))
    for path in sorted(home.rglob("share/**/"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
    _settle(tree)


def pack_tree(source: Source, tree: Path, archive: Path) -> None:
    """Write *tree* into the tarball *archive*, whose bytes depend only on the files."""
    plain = archive.with_suffix("")
    owner = ("--owner=0", "--group=0", "--numeric-owner", "--format=gnu")
    source.run("tar", "--create", f"--file={plain}", "--sort=name", f"--mtime=@{source.epoch}", *owner, "usr", folder=tree)
    source.run("gzip", "-n", plain)


def _install(wheel: Path, tree: Path, packages: Path) -> None:
    def rooted(path: Path) -> str:
        return f"/{path.relative_to(tree)}"

    home = rooted(tree / HOME)
    scheme = {"purelib": rooted(packages), "platlib": rooted(packages), "scripts": f"{home}/bin", "data": home, "headers": home}
    target = SchemeDictionaryDestination(scheme, interpreter=f"{home}/bin/python3", script_kind="posix", destdir=str(tree))
    with WheelFile.open(wheel) as opened:
        install(opened, target, additional_metadata={"INSTALLER": b"atl-sign\n"})


def _add_modules(wheel: Path, packages: Path) -> None:
    """Add what this wheel for one more Python has beside the files that the first one brought; the others must be the same."""
    with zipfile.ZipFile(wheel) as content:
        for name in content.namelist():
            if ".dist-info/" in name or name.endswith("/"):
                continue
            path = packages / name
            if not path.exists():
                path.write_bytes(content.read(name))
            elif path.read_bytes() != content.read(name):
                raise SystemExit(f"{wheel.name}: {name} is not what the wheel for another Python has")


def _write_manual(home: Path, tree: Path) -> None:
    for page in sorted(home.glob("share/man/man1/*.1")):
        if page.stem in COMMANDS:  # else it is a library's
            packed = tree / "usr/share/man/man1" / f"{page.name}.gz"
            packed.parent.mkdir(parents=True, exist_ok=True)
            packed.write_bytes(gzip.compress(page.read_bytes(), mtime=0))
        page.unlink()


def _indent(text: str) -> str:
    """Return *text* as a field of Debian's copyright file."""
    return "\n".join(f" {line}" if line else " ." for line in text.rstrip().split("\n"))


def _settle(tree: Path) -> None:
    """Give each file its mode, regardless of the umask and the wheels."""
    for path in sorted(tree.rglob("*")):
        if path.is_symlink():
            continue
        if path.is_dir():
            path.chmod(0o755)
        else:
            path.chmod(0o755 if path.parent == tree / HOME / "bin" else 0o644)
    tree.chmod(0o755)

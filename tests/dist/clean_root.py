"""A Debian system in a folder, with nothing on it but what a package depends on; its programs have no network."""

import hashlib
import os
import subprocess
from pathlib import Path

DEPENDENCIES = "python3,curl"  # and apt, which the image of the containers needs
_USER = 1000
# Where package managers keep their records.
_LEDGERS = ("var/lib/dpkg/", "var/lib/rpm/", "root/.rpmdb", "var/log/dpkg.log", "var/cache/ldconfig/")
_ENTER = """
ip link set lo up
mount -t proc proc "$1/proc"
exec chroot --userspec "$2" "$1" "${@:3}"
"""


class CleanRoot:
    """The folder, and what is done in it."""

    def __init__(self, archive: Path, folder: Path) -> None:
        """Unpack *archive*, made by `make_archive`, into *folder*."""
        folder.mkdir()
        folder.chmod(0o755)
        command = ["tar", "--extract", "--numeric-owner", "--same-permissions", f"--file={archive}", f"--directory={folder}"]
        subprocess.run(command, check=True)
        self.folder = folder
        home = folder / "home/ann"
        for path in (home, folder / f"run/user/{_USER}"):
            path.mkdir(parents=True, mode=0o700)
            os.chown(path, _USER, _USER)

    def run(self, *command: str, is_root: bool = False, timeout: float = 300) -> str:
        """Run *command* as root or as the user ann, without a network; what it starts ends with it. Returns its output."""
        variables = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "LANG": "C.UTF-8"}
        if not is_root:
            variables |= {"HOME": "/home/ann", "XDG_RUNTIME_DIR": f"/run/user/{_USER}", "ATL_SIGN_STORE": "memory"}
        who = "0:0" if is_root else f"{_USER}:{_USER}"
        outside = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "bash", "-euc", _ENTER, "bash", str(self.folder), who]
        done = subprocess.run(
            [*outside, *command],
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
        )
        assert done.returncode == 0, f"{command}: {done.stdout}"
        return done.stdout

    def install(self, package: Path) -> None:
        """Install or upgrade to the .deb *package* by the root's own dpkg."""
        copy = self.folder / "tmp" / package.name
        copy.write_bytes(package.read_bytes())
        self.run("dpkg", "--install", f"/tmp/{package.name}", is_root=True)
        copy.unlink()

    def files(self) -> dict[str, str]:
        """Return what there is: by path what a link leads to, the digest of a file, and nothing for a folder."""
        found = {}
        for place, folders, names in os.walk(self.folder):
            inside = Path(place).relative_to(self.folder)
            if inside.parts[:1] in (("proc",), ("dev",), ("sys",)):
                folders.clear()
                continue
            for name in (*folders, *names):
                path = Path(place, name)
                if str(inside / name).startswith(_LEDGERS):
                    continue
                if path.is_symlink():
                    found[str(inside / name)] = str(path.readlink())
                elif path.is_file():
                    found[str(inside / name)] = hashlib.sha256(path.read_bytes()).hexdigest()
                elif path.is_dir():
                    found[str(inside / name)] = ""
        return found


def make_archive(suite: str, archive: Path) -> None:
    """Bootstrap Debian's *suite* into the tarball *archive*: its essential packages and what ours depends on."""
    options = ["--quiet", "--mode=root", "--variant=essential", f"--include=apt,{DEPENDENCIES}"]
    done = subprocess.run(["mmdebstrap", *options, suite, archive], capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr

"""The .deb and the .rpm in a clean Debian: installed, used, upgraded, removed."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.dist.clean_root import CleanRoot
from tests.dist.conftest import Made

pytestmark = [pytest.mark.dist, pytest.mark.slow, pytest.mark.timeout(1200)]
SEEN = (
    "usr/bin/atl-sign",
    "usr/bin/atl-signd",
    "usr/bin/git-credential-atl-sign",
    "usr/lib/systemd/user/atl-signd.service",
    "usr/lib/systemd/user/atl-signd.socket",
    "usr/share/bash-completion/completions/atl-sign",
    "usr/share/fish/vendor_completions.d/atl-sign.fish",
    "usr/share/man/man1/atl-sign.1.gz",
    "usr/share/man/man1/atl-signd.1.gz",
)
COMPILED = "usr/lib/atl-sign/lib/python3/site-packages/atl_sign/__pycache__"


def build_rpm(made: Made, folder: Path) -> Path:
    """Build the .rpm by the spec, from the tarball beside it."""
    defined = ("--define", f"_topdir {folder}", "--define", f"_sourcedir {made.folder}")
    done = subprocess.run(["rpmbuild", "-bb", *defined, made.file("*.spec")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (package,) = folder.glob("RPMS/*/*.rpm")
    return package


class Deb:
    """By dpkg in the root."""

    zsh = "usr/share/zsh/vendor-completions/_atl-sign"

    def install(self, root: CleanRoot, made: Made, folder: Path) -> None:
        """Install, or upgrade."""
        root.install(made.file("*.deb"))

    def remove(self, root: CleanRoot) -> None:
        """Remove with its settings."""
        root.run("dpkg", "--purge", "atl-sign", is_root=True)


class Rpm:
    """By this machine's rpm, whose --root runs the package's scripts inside; Debian's packages satisfy no dependency in its eyes."""

    zsh = "usr/share/zsh/site-functions/_atl-sign"

    def install(self, root: CleanRoot, made: Made, folder: Path) -> None:
        """Install, or upgrade."""
        self._rpm(root, "--upgrade", "--nodeps", build_rpm(made, folder / made.folder.name))

    def remove(self, root: CleanRoot) -> None:
        """Remove."""
        self._rpm(root, "--erase", "atl-sign")

    def _rpm(self, root: CleanRoot, *arguments: str | Path) -> None:
        # Debian's rpm keeps its database in the home folder, which is looked up inside.
        home = {**os.environ, "HOME": "/root"}
        done = subprocess.run(["rpm", "--root", root.folder, *arguments], env=home, capture_output=True, text=True)
        said = [line for line in done.stderr.splitlines() if not line.startswith("rpm: ")]  # Debian's rpm warns of itself
        assert (done.returncode, said) == (0, [])


@pytest.mark.parametrize("manager", [Deb(), Rpm()], ids=["deb", "rpm"])
def test_the_life_of_an_installation(
    manager: Deb | Rpm, clean_root: CleanRoot, made_before: Made, made: Made, tmp_path: Path
) -> None:
    """Install the package before, use it, upgrade, run the demo, remove: nothing is left but the user's own."""
    before = clean_root.files()

    manager.install(clean_root, made_before, tmp_path)
    installed = clean_root.files()
    first = clean_root.run("atl-sign", "--version")
    clean_root.run("sh", "-c", "atl-sign link add jira https://jira.example.com; atl-sign stop")  # the product is not there
    manager.install(clean_root, made, tmp_path)
    upgraded = clean_root.files()
    second = clean_root.run("atl-sign", "--version")
    third = clean_root.run("atl-signd", "--version")
    kept = clean_root.run("sh", "-c", "atl-sign link list && atl-sign stop")
    demo = clean_root.run("atl-sign", "demo")
    manager.remove(clean_root)

    for found in (installed, upgraded):
        assert {name for name in (*SEEN, manager.zsh, COMPILED) if name not in found} == set()
    assert made_before.stamp in first
    assert made.stamp in second
    assert made.stamp in third
    assert "https://jira.example.com" in kept
    assert "signature_invalid" in demo  # of the last step
    assert demo.endswith(" is gone. How to add your own product: atl-sign help link\n")
    after = clean_root.files()
    users = {name for name in after if name.startswith(("home/ann/", "run/user/1000/"))}
    assert "home/ann/.config/atl-sign/config.toml" in users
    assert {name: what for name, what in after.items() if name not in users} == before


def test_the_same_deb_runs_with_another_python(newer_root: CleanRoot, made: Made) -> None:
    """It brings modules for each."""
    newer_root.install(made.file("*.deb"))

    assert newer_root.run("/usr/lib/atl-sign/bin/python3", "--version").startswith("Python 3.13.")
    assert "\nDone; " in newer_root.run("atl-sign", "demo")


def test_the_service_finds_the_units_of_the_package(clean_root: CleanRoot, made: Made) -> None:
    """Both where systemd looks, and where `atl-sign service install` links from."""
    clean_root.install(made.file("*.deb"))
    code = "from atl_sign.server import installed; print(installed.find_units(), installed.find_command())"

    found = clean_root.run("/usr/lib/atl-sign/bin/python3", "-c", code)

    assert found == "/usr/lib/atl-sign/share/systemd/user /usr/lib/atl-sign/bin/atl-signd\n"
    for name in ("atl-signd.socket", "atl-signd.service"):
        unit = clean_root.run("cat", f"/usr/lib/atl-sign/share/systemd/user/{name}")
        assert unit == (clean_root.folder / "usr/lib/systemd/user" / name).read_text()


def test_lintian_finds_no_error(made: Made) -> None:
    """Warnings there are: see the overrides for what is meant to be as it is."""
    done = subprocess.run(["lintian", "--fail-on", "error", made.file("*.deb")], capture_output=True, text=True, timeout=600)

    assert done.returncode == 0, done.stdout


def test_the_rpm_asks_for_a_python_that_its_modules_are_for(made: Made, tmp_path: Path) -> None:
    """The lower bound is the project's; nothing is asked for by the scan of its modules."""
    package = build_rpm(made, tmp_path)

    done = subprocess.run(["rpm", "-qp", "--requires", package], capture_output=True, text=True, check=True)

    needed = {line for line in done.stdout.splitlines() if not line.startswith(("rpmlib(", "/bin/sh"))}
    assert needed == {"bash >= 4.4", "curl >= 7.76", "glibc >= 2.28", "libgcc", "python3 >= 3.11", "python3 < 3.15"}

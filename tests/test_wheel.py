"""What a wheel brings beside the package: commands, manual pages and completions, where shells and man look for them."""

import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from atl_sign import __version__
from tests.lab import REPOSITORY
from tests.tools.packages.build_stamp import describe_commit
from tests.wheel_lab import PIP, PIP_TIMEOUT_S, QUIETLY, build_wheel

pytestmark = pytest.mark.slow

STAMP = "data/libexec/atl-sign/build"
SHARED = {
    "scripts/atl-sign": "clients/bash/atl-sign",
    "scripts/git-credential-atl-sign": "clients/git/git-credential-atl-sign",
    **{
        f"data/libexec/atl-sign/{path.name}": f"clients/bash/{path.name}"
        for path in sorted((REPOSITORY / "clients/bash").glob("*.bash"))
    },
    "data/share/man/man1/atl-sign.1": "docs/man/atl-sign.1",
    "data/share/man/man1/atl-signd.1": "docs/man/atl-signd.1",
    "data/share/bash-completion/completions/atl-sign": "clients/completion/atl-sign.bash",
    "data/share/zsh/site-functions/_atl-sign": "clients/completion/_atl-sign",
    "data/share/fish/vendor_completions.d/atl-sign.fish": "clients/completion/atl-sign.fish",
    "data/share/systemd/user/atl-signd.socket": "systemd/atl-signd.socket",
    "data/share/systemd/user/atl-signd.service": "systemd/atl-signd.service",
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(REPOSITORY, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel without its dependencies, installed as into a virtual environment."""
    folder = tmp_path_factory.mktemp("environment")
    command = [*PIP, "install", *QUIETLY, "--no-index", "--ignore-installed", "--prefix", str(folder), str(wheel)]
    subprocess.run(command, check=True, timeout=PIP_TIMEOUT_S)
    return folder


@pytest.mark.parametrize("name", SHARED)
def test_the_wheel_has_it(wheel: Path, name: str) -> None:
    """To the byte; of the script pip rewrites no line, since it is not Python's."""
    with zipfile.ZipFile(wheel) as content:
        packed = content.read(f"atl_sign-{__version__}.data/{name}")

    assert packed == (REPOSITORY / SHARED[name]).read_bytes()


def test_the_wheel_has_every_preset(wheel: Path) -> None:
    """They are not Python, and no other file of the package is data."""
    presets = REPOSITORY / "daemon/atl_sign/access/presets"
    with zipfile.ZipFile(wheel) as content:
        packed = {name for name in content.namelist() if name.startswith("atl_sign/") and not name.endswith(".py")}

    assert packed == {f"atl_sign/{path.relative_to(presets.parents[1])}" for path in presets.rglob("*.rules")} | {
        "atl_sign/py.typed"
    }


def test_the_wheel_has_no_other_shared_file(wheel: Path) -> None:
    """The twin: whatever else of clients/ and docs/ there is stays in the sources."""
    with zipfile.ZipFile(wheel) as content:
        names = {name.partition(".data/")[2] for name in content.namelist() if ".data/" in name}

    assert {name for name in names if name not in SHARED} == {STAMP}


def test_the_wheel_names_its_commit(wheel: Path, environment: Path) -> None:
    """The commit that is checked out, in the file that both commands read."""
    with zipfile.ZipFile(wheel) as content:
        stamp = content.read(f"atl_sign-{__version__}.data/{STAMP}").decode()

    assert stamp == f"{describe_commit(REPOSITORY)}\n"
    assert (environment / "libexec/atl-sign/build").read_text() == stamp
    done = subprocess.run([environment / "bin/atl-sign", "--version"], capture_output=True, text=True, timeout=30)
    assert done.stdout == f"atl-sign {__version__} ({stamp.strip()})\n"


def curl_version(command: Path) -> "subprocess.CompletedProcess[str]":
    """`atl-sign curl --version`, for which the whole of its files is read and no daemon is asked."""
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/nonexistent", "ATL_SIGN_AUTOSTART": "0"}
    return subprocess.run([command, "curl", "--version"], env=environment, capture_output=True, text=True, timeout=30)


def test_no_helper_file_is_a_command(environment: Path) -> None:
    """Only what is typed is in the folder of commands; git looks for its helper by name."""
    assert {path.name for path in (environment / "bin").iterdir()} == {"atl-sign", "atl-signd", "git-credential-atl-sign"}


def test_the_command_finds_its_files(environment: Path, tmp_path: Path) -> None:
    """From where the wheel puts them, from the checkout, and through symbolic links to both; the twin: without them."""
    for number, installed in enumerate((environment / "bin/atl-sign", REPOSITORY / "clients/bash/atl-sign")):
        link = tmp_path / f"link-{number}"
        link.symlink_to(os.path.relpath(installed, tmp_path))
        for command in (installed, link):
            done = curl_version(command)
            assert (done.returncode, done.stdout[:5]) == (0, "curl "), done.stderr
    lonely = tmp_path / "bin/atl-sign"
    lonely.parent.mkdir()
    shutil.copy(REPOSITORY / "clients/bash/atl-sign", lonely)

    refused = curl_version(lonely)

    assert (refused.returncode, refused.stdout) == (125, "")
    assert "nothing was sent: there is no " in refused.stderr
    assert refused.stderr.endswith("hint: install atl-sign again\n")


def where(environment: Path, page: str, *, is_on_path: bool) -> str:
    """What `man -w` says of *page*."""
    man = shutil.which("man")
    assert man, "man is not installed: make system-packages"
    path = "/usr/bin:/bin" if not is_on_path else f"{environment / 'bin'}:/usr/bin:/bin"
    variables = {name: value for name, value in os.environ.items() if name != "MANPATH"}
    done = subprocess.run([man, "-w", page], capture_output=True, text=True, env={**variables, "PATH": path}, timeout=30)
    return done.stdout.strip()


@pytest.mark.parametrize("page", ["atl-sign", "atl-signd"])
def test_man_finds_the_page_beside_the_command(environment: Path, page: str) -> None:
    """As soon as the environment's commands are on PATH; the twin has them not."""
    assert where(environment, page, is_on_path=True) == str(environment / "share/man/man1" / f"{page}.1")
    assert where(environment, page, is_on_path=False) == ""

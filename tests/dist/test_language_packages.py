"""The packages for Python and Node, in clean environments without an index."""

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.tools.packages.environment import fetch_wheels
from tests.dist.conftest import WHEELS, Made
from tests.lab import REPOSITORY

pytestmark = [pytest.mark.dist, pytest.mark.slow, pytest.mark.timeout(900)]


def run(*command: str | Path, folder: Path | None = None) -> str:
    """Run *command*; returns its output, and fails when it does."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder)
    assert done.returncode == 0, done.stdout
    return done.stdout


class Environment:
    """A virtual environment with only pip, which installs from files."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, with_pip=True)
        self.folder = folder

    def pip(self, command: str, *arguments: str | Path) -> None:
        """Run pip without an index."""
        offline = ("--no-index",) if command == "install" else ("--yes",)
        run(self.folder / "bin/python", "-m", "pip", "--isolated", command, "--quiet", *offline, *arguments)

    def files(self) -> dict[str, str]:
        """Return the digest of each file, without bytecode, which Python itself writes."""
        return {
            str(path.relative_to(self.folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in self.folder.rglob("*")
            if path.is_file() and path.suffix != ".pyc"
        }


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    return Environment(tmp_path / "environment")


def test_the_life_of_the_wheel(environment: Environment, made_before: Made, made: Made) -> None:
    """With the pinned libraries and nothing else: installed, upgraded, used, removed without a trace."""
    libraries = fetch_wheels(REPOSITORY / "tests/tools/packages/runtime.txt", WHEELS)
    environment.pip("install", "--find-links", libraries, "--require-hashes", "-r", REPOSITORY / "tests/tools/packages/runtime.txt")
    before = environment.files()

    environment.pip("install", made_before.file("atl_sign-*.whl"))
    first = run(environment.folder / "bin/atl-sign", "--version")
    environment.pip("install", "--force-reinstall", "--no-deps", made.file("atl_sign-*.whl"))
    second = run(environment.folder / "bin/atl-sign", "--version")
    demo = run(environment.folder / "bin/atl-sign", "demo")
    environment.pip("uninstall", "atl-sign")

    assert made_before.stamp in first
    assert made.stamp in second
    assert "\nDone; " in demo
    assert environment.files() == before


def test_the_life_of_the_client_wheel(environment: Environment, made: Made) -> None:
    """It needs no library."""
    before = environment.files()

    environment.pip("install", made.file("atl_sign_client-*.whl"))
    said = run(environment.folder / "bin/python", "-c", "import atl_sign_client as client; print(client.__version__)")
    environment.pip("uninstall", "atl-sign-client")

    assert said == f"{made.file('atl_sign_client-*.whl').name.split('-')[1]}\n"
    assert environment.files() == before


@pytest.mark.parametrize("package", ["atl_sign", "atl_sign_client"])
def test_the_source_archive_makes_the_same_wheel(package: str, made: Made, tmp_path: Path) -> None:
    """To the byte, with the commit in it, though there is no git in the archive."""
    source = made.file(f"{package}-*.tar.gz")
    options = ("--no-index", "--no-deps", "--no-build-isolation", "--wheel-dir", tmp_path)

    moment = subprocess.run(
        ["git", "-C", REPOSITORY, "log", "-1", "--format=%ct", made.commit], stdout=subprocess.PIPE, text=True, check=True
    )
    environment = {**os.environ, "SOURCE_DATE_EPOCH": moment.stdout.strip()}
    subprocess.run([sys.executable, "-m", "pip", "wheel", "--quiet", *options, source], env=environment, check=True)

    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.read_bytes() == made.file(f"{package}-*.whl").read_bytes()


def test_the_life_of_the_npm_package(made: Made, tmp_path: Path) -> None:
    """Installed from the file, offline, and removed."""
    (tmp_path / "package.json").write_text('{"private": true}\n')
    code = "import {AtlSignError, sign} from 'atl-sign'; console.log(typeof sign, AtlSignError.name)"

    run("npm", "install", "--offline", "--no-audit", "--no-fund", made.file("atl-sign-*.tgz"), folder=tmp_path)
    said = run("node", "--input-type=module", "--eval", code, folder=tmp_path)
    run("npm", "uninstall", "--offline", "--no-audit", "--no-fund", "atl-sign", folder=tmp_path)

    assert said == "function AtlSignError\n"
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left - {"node_modules/.package-lock.json"} == {"package.json", "package-lock.json"}

"""What `make dist` promises of its files: the same bytes, checksums, a bill of materials, and files that others build from."""

import hashlib
import json
import os
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.tools.packages.environment import PYTHONS
from tests.dist.conftest import WHEELS, Made
from tests.lab import REPOSITORY

pytestmark = [pytest.mark.dist, pytest.mark.slow, pytest.mark.timeout(900)]


def pins(path: Path) -> dict[str, str]:
    """Return by name the versions that a list of requirements pins."""
    lines = [line.split(";")[0].split("\\")[0].strip() for line in path.read_text().splitlines() if "==" in line]
    return {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines)}


RUNTIME, CONSTRAINTS = pins(REPOSITORY / "tests/tools/packages/runtime.txt"), pins(REPOSITORY / "constraints.txt")


def test_the_same_commit_gives_the_same_bytes(made: Made, tmp_path: Path) -> None:
    """From a clone in another folder, with another umask, time zone and language."""
    clone, again = tmp_path / "elsewhere", tmp_path / "again"
    subprocess.run(["git", "clone", "--quiet", "--no-checkout", REPOSITORY, clone], check=True)
    subprocess.run(["git", "-C", clone, "checkout", "--quiet", "--detach", made.commit], check=True)
    (clone / "build").mkdir()
    (clone / "build/wheels").symlink_to(WHEELS)
    environment = {**os.environ, "TZ": "Asia/Tokyo", "LC_ALL": "C", "PYTHONHASHSEED": "7"}
    command = [sys.executable, "-m", "tests.tools.packages", "--folder", str(again)]

    subprocess.run(command, cwd=clone, env=environment, umask=0o077, check=True)

    first, second = ({path.name: path.read_bytes() for path in folder.iterdir()} for folder in (made.folder, again))
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []


def test_another_commit_gives_another_wheel(made: Made, made_before: Made) -> None:
    """The twin: it names its commit, even if no file of the program has changed."""
    first, second = (each.file("atl_sign-*.whl").read_bytes() for each in (made_before, made))

    assert first != second


def test_the_checksums_are_those_of_all_files(made: Made) -> None:
    """As sha256sum reads them."""
    done = subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=made.folder, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    checked = {line.removesuffix(": OK") for line in done.stdout.splitlines()}
    assert checked == {path.name for path in made.folder.iterdir()} - {"SHA256SUMS"}


def test_the_bill_names_each_library_with_its_licence(made: Made) -> None:
    """As pinned, and what needs what."""
    bill = json.loads(made.file("*.cdx.json").read_text())

    assert bill["bomFormat"] == "CycloneDX"
    assert bill["metadata"]["component"]["name"] == "atl-sign"
    assert bill["metadata"]["component"]["version"] == made.file("atl_sign-*.whl").name.split("-")[1]
    assert {canonicalize_name(each["name"]): each["version"] for each in bill["components"]} == RUNTIME
    assert [each["name"] for each in bill["components"] if not each.get("licenses")] == []
    assert len(bill["dependencies"]) == len(RUNTIME) + 1


def test_the_libraries_are_those_that_the_tests_run_with() -> None:
    """`make lock` writes the list from constraints.txt."""
    assert {name: version for name, version in RUNTIME.items() if CONSTRAINTS.get(name) != version} == {}


def test_the_build_backend_is_the_one_that_the_sources_name() -> None:
    """Else a wheel that pip builds of the sources would be another."""
    for path in (REPOSITORY / "pyproject.toml", REPOSITORY / "clients/python/pyproject.toml"):
        assert tomllib.loads(path.read_text())["build-system"]["requires"] == [f"hatchling=={CONSTRAINTS['hatchling']}"]


@pytest.mark.parametrize("python", PYTHONS)
def test_the_list_of_libraries_is_complete(python: str) -> None:
    """For each Python: all that the program requires, and all that those require."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    waiting = [Requirement(line) for line in project["dependencies"]]
    needed: set[tuple[str, frozenset[str]]] = set()

    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if (name, frozenset(requirement.extras)) in needed:
            continue
        needed.add((name, frozenset(requirement.extras)))
        for line in metadata.requires(name) or ():
            inner = Requirement(line)
            machine = {"python_version": python, "python_full_version": f"{python}.0", "sys_platform": "linux"}
            if inner.marker is None or any(inner.marker.evaluate({**machine, "extra": each}) for each in ("", *requirement.extras)):
                waiting.append(inner)

    assert {name for name, _ in needed} - RUNTIME.keys() == set()


def test_the_formula_is_for_the_source_archive(made: Made) -> None:
    """Ruby can read it, and its digest is that of the file that it names."""
    formula = made.file("atl-sign.rb")
    archive = made.file("atl_sign-*.tar.gz")

    done = subprocess.run(["ruby", "-wc", formula], capture_output=True, text=True)

    assert (done.stdout, done.stderr) == ("Syntax OK\n", "")
    assert f'url "file://#{{__dir__}}/{archive.name}"' in formula.read_text()
    assert f'sha256 "{hashlib.sha256(archive.read_bytes()).hexdigest()}"' in formula.read_text()

"""`make dist`: makes every package of one commit; the same commit gives the same bytes."""

import argparse
import hashlib
import os
import platform
import shutil
import sys
import tempfile
import venv
from pathlib import Path

from tests.tools.packages.debian import ARCHITECTURES, make_deb
from tests.tools.packages.environment import BEYOND, HOME, PYTHONS, fetch_wheels, make_tree, pack_tree
from tests.tools.packages.source import Source, count_changes, export_commit

REPOSITORY = Path(__file__).resolve().parents[3]
BESIDE = "file://#{__dir__}"  # in the formula's language: its own folder


def make_packages(commit: str, folder: Path, cache: Path, release_url: str = BESIDE) -> Source:
    """Make the packages of *commit* in the empty *folder*; wheels of libraries are kept in *cache*. Returns what they are of."""
    os.umask(0o022)
    with tempfile.TemporaryDirectory(prefix="atl-sign-dist-") as name:
        work = Path(name)
        source = export_commit(REPOSITORY, commit, work / "source")
        for package in (source.folder, source.folder / "clients/python"):
            source.run(sys.executable, "-m", "hatchling", "build", "-d", folder, folder=package)
        source.run("npm", "pack", "--silent", "--pack-destination", folder, folder=source.folder / "clients/node")
        _make_system_packages(source, work, folder, cache)
        _write_formula(source, folder, release_url)
    _write_sums(folder)
    return source


def _make_system_packages(source: Source, work: Path, folder: Path, cache: Path) -> None:
    """Make what brings an environment with it: tarball, .deb, and the files from which .rpm and images are built of them."""
    machine = platform.machine()
    if sys.platform != "linux" or machine not in ARCHITECTURES or shutil.which("dpkg-deb") is None:
        names = " or ".join(ARCHITECTURES)
        print(f"skipped the .deb, tarball, spec, Containerfile and SBOM: they need Linux on {names}, and dpkg-deb")
        return
    (program,) = folder.glob("atl_sign-*.whl")
    tree = work / "tree"
    wheels = fetch_wheels(source.folder / "tests/tools/packages/runtime.txt", cache)
    make_tree(source, [program, *wheels.glob("*.whl")], tree)
    pack_tree(source, tree, folder / f"atl-sign-{source.system_version}-linux-{machine}.tar.gz")
    make_deb(source, tree, work, machine, folder)
    source.fill("atl-sign.spec", folder / "atl-sign.spec", OLDEST=PYTHONS[0], BEYOND=BEYOND)
    source.fill("Containerfile", folder / "Containerfile")
    _write_bill(source, tree, work, folder)


def _write_bill(source: Source, tree: Path, work: Path, folder: Path) -> None:
    """Write the SBOM of *tree*: each library with its version, its licence and what it needs."""
    environment = work / "environment"
    venv.create(environment)
    (packages,) = environment.glob("lib/python3*/site-packages")
    (packages / "tree.pth").write_text(f"{tree / HOME}/lib/python3/site-packages\n")
    project = work / "pyproject.toml"
    text = (source.folder / "pyproject.toml").read_text()
    project.write_text(text.replace('dynamic = ["version"]', f'version = "{source.version}"', 1))
    bill = folder / f"atl-sign-{source.system_version}.cdx.json"
    tool = (sys.executable, "-m", "cyclonedx_py", "environment", "--output-reproducible")
    source.run(*tool, "--output-file", bill, "--pyproject", project, environment / "bin/python")


def _write_formula(source: Source, folder: Path, release_url: str) -> None:
    """Write the formula for Homebrew, which takes the source archive from *release_url*."""
    archive = folder / f"atl_sign-{source.version}.tar.gz"
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    source.fill("atl-sign.rb", folder / "atl-sign.rb", SDIST_URL=f"{release_url}/{archive.name}", SDIST_SHA256=digest)


def _write_sums(folder: Path) -> None:
    files = sorted(path for path in folder.iterdir() if path.name != "SHA256SUMS")
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files]
    (folder / "SHA256SUMS").write_text("".join(sums))


def _list_sums(folder: Path) -> set[str]:
    """Return the names of the packages that were made in *folder* before, and of their sums."""
    sums = folder / "SHA256SUMS"
    return {line.split("  ", 1)[-1] for line in sums.read_text().splitlines()} | {sums.name} if sums.is_file() else set()


def main() -> None:
    """Make the packages of HEAD, or of another commit, in `dist`, or another folder."""
    parser = argparse.ArgumentParser(prog="python -m tests.tools.packages", description=__doc__)
    parser.add_argument("--commit", default="HEAD", help="default: HEAD; what is not committed is left out")
    parser.add_argument("--folder", type=Path, default=REPOSITORY / "dist", help="its packages are replaced; default: dist")
    parser.add_argument("--release-url", default=BESIDE, help="where the formula finds the source archive; default: beside it")
    given = parser.parse_args()
    folder = given.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    before = _list_sums(folder)
    if {path.name for path in folder.iterdir()} - before:
        raise SystemExit(f"{folder} has files that are not packages: name an empty folder")
    if changes := count_changes(REPOSITORY):
        print(f"not committed, so left out: changes in {changes} files")
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as made:  # so that a failure changes nothing
        source = make_packages(given.commit, Path(made), REPOSITORY / "build/wheels", given.release_url)
        for name in before:
            (folder / name).unlink(missing_ok=True)
        for path in Path(made).iterdir():
            path.rename(folder / path.name)
    print(f"{folder}: {source.system_version}")
    for path in sorted(folder.iterdir()):
        print(f"  {path.stat().st_size:>10,}  {path.name}")


if __name__ == "__main__":
    main()

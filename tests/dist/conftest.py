"""The packages of this commit and of one before it, and a clean root, made once for all tests here."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.dist.clean_root import CleanRoot, make_archive
from tests.lab import REPOSITORY

WHEELS = REPOSITORY / "build/wheels"


@dataclass(frozen=True, slots=True)
class Made:
    """The packages of one commit."""

    commit: str
    folder: Path

    def file(self, pattern: str) -> Path:
        """Return the one file whose name matches *pattern*."""
        (path,) = self.folder.glob(pattern)
        return path

    @property
    def stamp(self) -> str:
        """What `--version` names."""
        return f"(commit {self.commit[:12]}, {git('log', '-1', '--format=%cs', self.commit)})"


def git(*arguments: str) -> str:
    """Ask git about this repository."""
    done = subprocess.run(["git", "-C", REPOSITORY, *arguments], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.strip()


def make_dist(commit: str, folder: Path) -> Made:
    """Run what `make dist` runs."""
    subprocess.run([sys.executable, "-m", "tests.tools.packages", "--commit", commit, "--folder", folder], cwd=REPOSITORY, check=True)
    return Made(git("rev-parse", commit), folder)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The packages of HEAD."""
    return make_dist("HEAD", tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="session")
def made_before(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Those of the newest commit before that one that could make packages; of an earlier second, which the version has."""
    made_at = git("log", "-1", "--format=%ct", made.commit)
    for commit in git("rev-list", f"--before={int(made_at) - 1}", made.commit).split():
        if subprocess.run(["git", "-C", REPOSITORY, "cat-file", "-e", f"{commit}:tests/tools/packages/runtime.txt"]).returncode == 0:
            return make_dist(commit, tmp_path_factory.mktemp("made-before"))
    pytest.skip("no commit before this one makes packages")


def make_root_archive(suite: str, factory: pytest.TempPathFactory) -> Path:
    """Bootstrap Debian's *suite*; only root can."""
    if os.getuid() != 0:
        assert not os.environ.get("CI"), "CI runs these as root"
        pytest.skip("only root can enter another root")
    archive = factory.mktemp("root") / f"{suite}.tar"
    make_archive(suite, archive)
    return archive


@pytest.fixture(scope="session")
def root_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Debian 12, whose Python is the oldest that the packages are for."""
    return make_root_archive("bookworm", tmp_path_factory)


@pytest.fixture
def clean_root(root_archive: Path, tmp_path: Path) -> CleanRoot:
    """A root of its own for each test."""
    return CleanRoot(root_archive, tmp_path / "root")


@pytest.fixture
def newer_root(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> CleanRoot:
    """Debian 13, with Python 3.13."""
    return CleanRoot(make_root_archive("trixie", tmp_path_factory), tmp_path / "root")

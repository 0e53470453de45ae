"""One version for all that is published, and which commit a build is of."""

import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from atl_sign import __version__
from tests.lab import REPOSITORY
from tests.tools.packages.build_stamp import describe_commit
from tests.tools.write_version import PLACES, with_version

UNNOTED = "$Format:%H %cs$\n"


@pytest.mark.parametrize("path", PLACES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_the_version_is_the_same_everywhere(path: Path) -> None:
    """As `make format` writes it; the twin: another version would be another text."""
    assert path.read_text() == with_version(path, __version__)
    assert path.read_text() != with_version(path, "9.9.9")


def test_no_project_file_has_a_version_of_its_own() -> None:
    """Both Python packages read it from their source."""
    for path in (REPOSITORY / "pyproject.toml", REPOSITORY / "clients/python/pyproject.toml"):
        project = tomllib.loads(path.read_text())["project"]
        assert (project["dynamic"], "version" in project) == (["version"], False)
    assert json.loads((REPOSITORY / "clients/node/package.json").read_text())["version"] == __version__


def git(folder: Path, *arguments: str | Path) -> str:
    """Run git in *folder* without anybody's configuration, on a fixed day."""
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": str(folder),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_COMMITTER_DATE": "2026-03-01T12:00:00Z",
    }
    command: list[str | Path] = ["git", "-C", folder, "-c", "user.name=a", "-c", "user.email=a@example.com", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository of one commit with the file that `git archive` fills."""
    note = tmp_path / "tests/tools/packages/commit"
    note.parent.mkdir(parents=True)
    note.write_text(UNNOTED)
    (tmp_path / ".gitattributes").write_text("tests/tools/packages/commit export-subst\n")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message=first")
    return tmp_path


def test_a_checkout_is_named_by_its_commit(checkout: Path) -> None:
    """With the commit's day; a change since then is mentioned."""
    commit = git(checkout, "rev-parse", "HEAD")[:12]

    assert describe_commit(checkout) == f"commit {commit}, 2026-03-01"

    (checkout / ".gitattributes").write_text("# changed\n")
    assert describe_commit(checkout) == f"commit {commit}, 2026-03-01, changed since"


def test_a_repository_without_a_commit_has_none_to_name(tmp_path: Path) -> None:
    """As when somebody unpacks the sources and begins a repository of their own: the build goes on."""
    note = tmp_path / "tests/tools/packages/commit"
    note.parent.mkdir(parents=True)
    note.write_text(UNNOTED)
    git(tmp_path, "init", "--quiet")

    assert describe_commit(tmp_path) == "commit unknown"


def test_an_archive_knows_its_commit(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Without git, from what `git archive` wrote into it; the twin: the same files copied know nothing."""
    commit = git(checkout, "rev-parse", "HEAD")[:12]
    unpacked, copied = tmp_path_factory.mktemp("unpacked"), tmp_path_factory.mktemp("copied")
    git(checkout, "archive", "--output=archive.tar", "HEAD")
    subprocess.run(["tar", "-xf", checkout / "archive.tar", "-C", unpacked], check=True)
    (copied / "tests/tools/packages").mkdir(parents=True)
    (copied / "tests/tools/packages/commit").write_text(UNNOTED)

    assert describe_commit(unpacked) == f"commit {commit}, 2026-03-01"
    assert describe_commit(copied) == "commit unknown"


def test_sources_inside_another_project_are_not_named_by_its_commit(checkout: Path) -> None:
    """Unpacked in somebody's repository, git would answer with that one's commit."""
    inside = checkout / "vendored"
    (inside / "tests/tools/packages").mkdir(parents=True)
    (inside / "tests/tools/packages/commit").write_text(UNNOTED)

    assert describe_commit(inside) == "commit unknown"


def test_this_repository_is_filled_in_by_git_archive() -> None:
    """The attribute and the file are there as the build hook reads them."""
    attribute = git(REPOSITORY, "check-attr", "export-subst", "tests/tools/packages/commit")

    assert attribute == "tests/tools/packages/commit: export-subst: set"
    assert re.fullmatch(re.escape(UNNOTED), (REPOSITORY / "tests/tools/packages/commit").read_text())

"""The two versions of git, and a folder with settings of its own for each test."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from atl_sign.sandbox import Sandbox
from atl_sign.sandbox.tokens import PersonalToken
from tests.lab import REPOSITORY, Daemon

HELPER = REPOSITORY / "clients/git/git-credential-atl-sign"
ATL_SIGN = REPOSITORY / "clients/bash/atl-sign"


def find_newer_git() -> str:
    """Return a git of 2.46 or newer; where there is none the test is left out, and in CI it fails."""
    done = subprocess.run([REPOSITORY / "tests/tools/newer-git"], capture_output=True, text=True, timeout=110, check=False)
    if done.returncode != 0:
        assert not os.environ.get("CI"), done.stderr
        pytest.skip(done.stderr.strip() or "no newer git")
    return done.stdout.strip()


@dataclass
class Lab:
    """A daemon, a sandbox, one git, and a home for its settings."""

    daemon: Daemon
    sandbox: Sandbox
    git_program: str
    home: Path
    more: dict[str, str] = field(default_factory=dict)

    @property
    def base(self) -> str:
        return self.sandbox.base_url("bitbucket")

    @property
    def url(self) -> str:
        return f"{self.base}/scm/web/shop.git"

    @property
    def environment(self) -> Mapping[str, str]:
        return {
            **{name: value for name, value in self.daemon.environment.items() if not name.startswith("COV")},
            "PATH": f"{HELPER.parent}:{ATL_SIGN.parent}:{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self.home),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            **{f"GIT_{who}_{what}": "x@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
            **self.more,
        }

    def run(self, *command: object, text: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run *command*, in the home, with *text* on its standard input."""
        return subprocess.run(
            [str(word) for word in command],
            cwd=self.home,
            env=self.environment,
            input=text if text is not None else "",
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def git(self, *arguments: object, text: str | None = None) -> subprocess.CompletedProcess[str]:
        return self.run(self.git_program, *arguments, text=text)

    def works(self, *arguments: object, text: str | None = None) -> str:
        """Run git, which must succeed; returns what it printed."""
        done = self.git(*arguments, text=text)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def commit(self, folder: str) -> None:
        """Add a commit with a file of its own."""
        path = self.home / folder / f"file-{len(list((self.home / folder).iterdir()))}"
        path.write_text("text\n")
        self.works("-C", folder, "add", ".")
        self.works("-C", folder, "commit", "-qm", path.name)

    def tokens(self) -> list[PersonalToken]:
        found: list[PersonalToken] = self.sandbox.state.sites["bitbucket"].state.tokens.of_user("alice")
        return found

    def count_made(self) -> int:
        return sum(each.method == "PUT" and b"access-tokens" in each.target for each in self.sandbox.state.requests)

    def fill(self, *lines: str) -> dict[str, str]:
        """Ask as git does, by `git credential fill`."""
        described = "\n".join([f"url={self.url}", *lines, "", ""])
        return dict(line.split("=", 1) for line in self.works("credential", "fill", text=described).splitlines())


@pytest.fixture(params=["system", "newer"])
def git_program(request: pytest.FixtureRequest) -> str:
    """The system's git, and one that knows `authtype`."""
    return find_newer_git() if request.param == "newer" else str(shutil.which("git"))


@pytest.fixture
def lab(git_program: str, daemon: Daemon, tmp_path: Path) -> Iterator[Lab]:
    """Set up, for alice; everything is the test's own."""
    with Sandbox() as sandbox:
        daemon.dance(sandbox, "bitbucket")
        lab = Lab(daemon, sandbox, git_program, tmp_path)
        done = lab.run(ATL_SIGN, "git", "setup", "bitbucket")
        assert done.returncode == 0, done.stderr
        yield lab

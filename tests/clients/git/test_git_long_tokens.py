"""Git with tokens of 6 KB, which Bitbucket Cloud has announced (facts oauth2.md section 4; git-credential-manager#2428)."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.clients.git.conftest import ATL_SIGN
from tests.clients.git.test_git_oauth2 import KINDS, OAuth2Lab, start
from tests.lab import Daemon

CHARS = 6_000


@pytest.fixture(params=KINDS)
def lab(request: pytest.FixtureRequest, git_program: str, daemon: Daemon, tmp_path: Path) -> Iterator[OAuth2Lab]:
    """Its provider gives long tokens from now on, and takes none of the short ones."""
    with ExitStack() as stack:
        origin, path, server, double = start(request.param, daemon, stack)
        lab = OAuth2Lab(daemon, double, git_program, tmp_path)
        lab.origin, lab.path, lab.server = origin, path, server
        assert lab.run(ATL_SIGN, "git", "setup", "git").returncode == 0
        server.access_token_chars = server.refresh_token_chars = CHARS
        for token in server.access_tokens:
            server.end_token(token)
        lab.git("ls-remote", lab.url + ".none")  # what git reports as refused is renewed
        yield lab


def test_clone_and_push_with_a_token_of_6_kb(lab: OAuth2Lab) -> None:
    """Through the helper, into git and its header, and back into the helper, which forgets what git reports."""
    lab.works("clone", "-q", lab.url, "one")
    lab.commit("one")
    lab.works("-C", "one", "push", "-q", "origin", "main")

    found = lab.fill()

    assert found.get("password", found.get("credential")) in lab.server.access_tokens
    assert CHARS <= len(found.get("password", found.get("credential", ""))) < CHARS + 100
    lab.server.revoke_all()
    lab.commit("one")
    assert lab.git("-C", "one", "push", "-q", "origin", "main").returncode != 0

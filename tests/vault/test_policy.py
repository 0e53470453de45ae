"""`atl-sign vault policy`: the vault takes what it prints, and it is enough; the bad references."""

import pytest

from tests.lab import Daemon
from tests.vault.conftest import Lab


@pytest.fixture
def program() -> Daemon:
    """Runs `atl-signd`; no daemon is started."""
    return Daemon()


def test_the_policy_is_what_the_tests_run_with(program: Daemon, lab: Lab) -> None:
    """To the byte; so whatever signs and keeps tokens in these tests does it with that."""
    printed = program.run_program("vault", "policy", "--key", "vault:ci/transit/atl-sign", "--store", "vault:ci/secret/atl-sign")

    assert (printed.returncode, printed.stderr) == (0, "")
    assert lab.space.call("GET", "sys/policies/acl/atl-sign")["data"]["policy"] == printed.stdout


def test_the_policy_for_a_key_that_is_made(program: Daemon, lab: Lab) -> None:
    """It allows to make that key, and no other one."""
    printed = program.run_program("vault", "policy", "--key", "vault:ci/transit/builds", "--make-key")
    lab.space.make_policy("maker", printed.stdout)
    token = lab.space.make_token("maker")

    lab.space.call("POST", "transit/keys/builds", {"type": "rsa-2048"}, token=token)

    assert '"secret' not in printed.stdout
    with pytest.raises(Exception, match="permission denied"):
        lab.space.call("POST", "transit/keys/other", {"type": "rsa-2048"}, token=token)


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ([], 2, "needs --key or --store"),
        (["--make-key", "--store", "vault:ci/secret/x"], 2, "--make-key goes with --key"),
        (["--key", "vault:ci"], 1, "not a key in a vault"),
        (["--key", 'vault:ci/transit/x" {}'], 1, "not a key in a vault"),
        (["--store", "vault:ci/secret"], 1, "not a store in a vault"),
        (["--store", "file"], 1, "not a store in a vault"),
    ],
)
def test_what_is_no_reference_is_refused(program: Daemon, arguments: list[str], status: int, words: str) -> None:
    """Nothing of it gets into a policy."""
    done = program.run_program("vault", "policy", *arguments)

    assert (done.returncode, done.stdout) == (status, "")
    assert words in done.stderr

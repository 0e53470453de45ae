"""A coding agent behind the command of docs/agents.md: its rights, what it is refused, and its end; also in a sandbox."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from atl_sign.sandbox import Sandbox
from tests.fork_server import ForkServer
from tests.lab import DEADLINE_S, REPOSITORY, Daemon, secrets_of, wait_for

ATL_SIGN = str(REPOSITORY / "clients/bash/atl-sign")
UNDICI = REPOSITORY / "tests/clients/node/node_modules/undici/index.js"
PAGE = (REPOSITORY / "docs/agents.md").read_text()

# Both print a line for each request, its status and what is said about it, then wait for a line, and ask once more.
PYTHON = """
import sys
import requests
base = sys.argv[1]
def ask(method, path, **more):
    try:
        answer = requests.request(method, base + path, timeout=20, **more)
        print(answer.status_code, answer.text.replace("\\n", " ")[:2000], flush=True)
    except requests.RequestException as exc:
        print("nothing", type(exc).__name__, flush=True)
ask("GET", "/rest/api/2/issue/WEB-1")
ask("POST", "/rest/api/2/issue/WEB-1/comment", json={"body": "from Python"})
ask("POST", "/rest/api/2/issue/WEB-1/transitions", json={"transition": {"id": "31"}})
ask("POST", "/rest/pat/latest/tokens", json={"name": "mine", "expirationDuration": 90})
ask("PUT", "/rest/pat/latest/tokens", json={"name": "mine"})
sys.stdin.readline()
ask("GET", "/rest/api/2/issue/WEB-1")
"""
NODE = """
import {createInterface} from 'node:readline';
const [base, undici] = process.argv.slice(2);
// Node reads the proxy of its environment from 22.21 and 24.5 on.
if (undici) {
	const {EnvHttpProxyAgent, setGlobalDispatcher} = (await import(undici)).default;
	setGlobalDispatcher(new EnvHttpProxyAgent());
}
async function ask(method, path, body) {
	const headers = body ? {'Content-Type': 'application/json'} : {};
	try {
		const answer = await fetch(base + path, {method, headers, body: body && JSON.stringify(body)});
		console.log(answer.status, (await answer.text()).replaceAll('\\n', ' ').slice(0, 2000));
	} catch (error) {
		console.log('nothing', error.name);
	}
}
await ask('GET', '/rest/api/2/issue/WEB-1');
await ask('POST', '/rest/api/2/issue/WEB-1/comment', {body: 'from Node'});
await ask('POST', '/rest/api/2/issue/WEB-1/transitions', {transition: {id: '31'}});
await ask('POST', '/rest/pat/latest/tokens', {name: 'mine', expirationDuration: 90});
await ask('PUT', '/rest/pat/latest/tokens', {name: 'mine'});
for await (const _ of createInterface({input: process.stdin})) break;
await ask('GET', '/rest/api/2/issue/WEB-1');
process.exit(0);
"""


def command_of_page() -> list[str]:
    """The words of the page's command, up to the agent's own."""
    found = re.search(r"^    atl-sign (run --link jira .*:comment .*) -- AGENT$", PAGE, re.M)
    assert found is not None
    return found[1].split()


@pytest.fixture(scope="module")
def danced_daemon(sandbox: Sandbox, fork_server: ForkServer) -> Iterator[Daemon]:
    with Daemon(fork_server) as daemon:
        for product in ("jira", "bitbucket"):
            daemon.dance(sandbox, product)
        yield daemon


def agent_of(kind: str, folder: Path, sandbox: Sandbox) -> list[str]:
    """Return the command of an agent in Python or Node."""
    base = sandbox.base_url("jira")
    if kind == "python":
        script = folder / "agent.py"
        script.write_text(PYTHON)
        return [sys.executable, str(script), base]
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    major, minor = map(int, version.strip("v").split(".")[:2])
    knows_proxy = (major, minor) >= (24, 5) or (major == 22 and minor >= 21)
    if not knows_proxy and not UNDICI.exists():
        pytest.skip("this Node does not read the proxy of its environment, and undici is not installed")
    script = folder / "agent.mjs"
    script.write_text(NODE)
    return ["env", "NODE_NO_WARNINGS=1", "node", str(script), base, *([] if knows_proxy else [str(UNDICI)])]


def play(daemon: Daemon, sandbox: Sandbox, agent: Sequence[str], word: str) -> None:
    """Run *agent* by the page's command, and compare what it gets; revoke its lease in the middle."""
    first = {lease["id"] for lease in daemon.request("GET", "/leases").json["leases"]}
    with subprocess.Popen(
        ["bash", ATL_SIGN, *command_of_page(), "--", *agent],
        env=daemon.environment,
        cwd=daemon.folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        lines = []
        for _ in range(5):
            lines.append(process.stdout.readline())
            assert lines[-1], process.communicate()[1]
        issue, comment, transition, token, put = lines
        (lease,) = (each for each in daemon.request("GET", "/leases").json["leases"] if each["id"] not in first)
        revoked = subprocess.run(
            ["bash", ATL_SIGN, "lease", "revoke", lease["id"]],
            env=daemon.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        stdout, stderr = process.communicate("\n", timeout=DEADLINE_S)

    assert issue.startswith("200 ")
    assert '"key": "WEB-1"' in issue
    assert comment.startswith("201 ")
    assert word in comment
    assert transition.startswith("403 ")
    assert "the lease does not allow POST /rest/api/2/issue/WEB-1/transitions: no rule allows it" in transition
    for line in (token, put):
        assert line.startswith("403 ")
        assert "only a rule that names the path without wildcards allows it" in line
    assert "GET /~/lease" in transition
    assert "jira:transition" not in transition
    assert revoked.returncode == 0, revoked.stderr
    assert (stdout.partition(" ")[0], stderr) == ("nothing", "")
    assert (lease["links"], lease["lives_with"] is not None, 3500 < lease["expires_in_s"] <= 3600) == (
        ["bitbucket", "jira"],
        True,
        True,
    )
    why = daemon.run_program("why", lease["id"]).stdout
    assert "--allow jira:transition" in why


@pytest.mark.parametrize(("kind", "word"), [("python", "from Python"), ("node", "from Node")])
def test_an_agent_reads_and_comments_and_no_more(
    danced_daemon: Daemon, sandbox: Sandbox, tmp_path: Path, kind: str, word: str
) -> None:
    """A transition is refused in words that the agent can pass on, a token is not made, and a revoked lease gives nothing."""
    before = len(sandbox.state.sites["jira"].state.access_tokens)

    play(danced_daemon, sandbox, agent_of(kind, tmp_path, sandbox), word)

    assert len(sandbox.state.sites["jira"].state.access_tokens) == before


def test_the_environment_has_no_credential(danced_daemon: Daemon, sandbox: Sandbox) -> None:
    """The lease's own secret, which is gone with it; no token, no key, and not the main socket."""
    done = subprocess.run(
        ["bash", ATL_SIGN, *command_of_page(), "--", "env"],
        env=danced_daemon.environment,
        capture_output=True,
        text=True,
        check=True,
    )

    secrets = set(re.findall(r"atls_[\w-]+", done.stdout))
    assert len(secrets) == 1
    assert str(danced_daemon.socket) not in done.stdout
    assert "oauth" not in done.stdout.lower()
    known = secrets_of(sandbox, "jira") | secrets_of(sandbox, "bitbucket")
    assert [secret for secret in known if secret and secret in done.stdout] == []


def sandboxed(number: int, folder: Path, *command: str) -> list[str]:
    """Return the words of the page's bubblewrap command of this *number*, with *command*, and *folder* for the project."""
    found = re.findall(r"^    atl-sign (run [^\n]*) -- bash -c '\n(.*?)^    '$", PAGE, re.M | re.S)
    words, script = found[number]
    script = script.replace("AGENT", " ".join(command)).replace('"$HOME/project"', str(folder))
    return [*words.split(), "--", "bash", "-c", script]


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")
@pytest.mark.parametrize("number", [0, 1], ids=["with the network", "without a network"])
def test_in_bubblewrap_the_main_socket_is_not_there(danced_daemon: Daemon, sandbox: Sandbox, tmp_path: Path, number: int) -> None:
    """The lease works, and nothing leads past it: neither the sockets of the daemon, nor its folders, nor its processes."""
    if number == 1 and shutil.which("socat") is None:
        pytest.skip("socat is not installed")
    script = tmp_path / "agent.sh"
    base = sandbox.base_url("jira")
    get = "curl -sS -m 20 -o /dev/null -w '%{http_code} '"
    script.write_text(
        f"for _ in 1 2 3 4 5 6 7 8 9; do curl -s -m 5 -o /dev/null {base}/status && break; sleep 0.5; done\n"
        f"{get} {base}/rest/api/2/issue/WEB-1; {get} {base}/rest/api/2/issue/WEB-1 -X DELETE\n"
        f"{get} --noproxy '*' --unix-socket {danced_daemon.socket} http://localhost/status\n"
        f"{get} --noproxy '*' {base}/status\n"
        f"{get} https://localhost:1/\n"
        f"ls {danced_daemon.socket.parent}/agent.sock; ls {danced_daemon.folder}/config\n"
        "ls /proc | grep -c -E '^[0-9]+$'\n"
        'test -s "$SSL_CERT_FILE" && echo certificates\n'
    )

    done = subprocess.run(
        ["bash", ATL_SIGN, *sandboxed(number, tmp_path, "bash", str(script))],
        env=danced_daemon.environment,
        cwd=danced_daemon.folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S * 3,
        check=False,
    )

    *statuses, processes, certificates = done.stdout.split()
    assert (statuses[:3], statuses[4:], certificates) == (["200", "403", "000"], ["000"], "certificates"), (
        done.stdout,
        done.stderr,
    )
    assert statuses[3] == ("200" if number == 0 else "000"), "past the lease there is no credential, or no network"
    assert int(processes) < 12, "bwrap, bash, the forwarder, and what counts them"
    assert done.stderr.count("No such file or directory") >= 2


@pytest.mark.skipif(os.geteuid() != 0, reason="a mount namespace without a user namespace needs root")
def test_in_a_mount_namespace_an_agent_has_only_its_lease(danced_daemon: Daemon, sandbox: Sandbox, tmp_path: Path) -> None:
    """The same agent, with everything of the daemon hidden but the lease's own folder."""
    run = danced_daemon.folder / "run"
    hide = (
        'keep=$(dirname "$SSL_CERT_FILE"); mkdir -p "$0/keep"; mount --bind "$keep" "$0/keep"; mount -t tmpfs none "$1"; '
        'mkdir -p "$keep"; mount --bind "$0/keep" "$keep"; shift; test ! -e "$0/../agent.sock"; exec "$@"'
    )
    agent = agent_of("python", tmp_path, sandbox)

    play(
        danced_daemon,
        sandbox,
        ["unshare", "--mount", "--propagation=private", "bash", "-euc", hide, str(tmp_path), str(run), *agent],
        "from Python",
    )
    assert danced_daemon.socket.is_socket()
    wait_for(lambda: not list(danced_daemon.socket.parent.glob("leases/*")))

"""The recipes of docs/recipes.md, run as they stand: other people's tools, unchanged, with a lease."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from atl_sign.sandbox import Sandbox
from tests.fork_server import ForkServer
from tests.lab import PRODUCTS, REPOSITORY, Daemon
from tests.lease_lab import arrivals, open_lease, revoke_all

HERE = Path(__file__).parent
MCP = REPOSITORY / ".cache/recipes/bin"
NODE_PACKAGES = HERE.parent / "node/node_modules"
ATL_SIGN = REPOSITORY / "clients/bash"
DENIED = (
    "atl-sign: the lease does not allow POST /rest/api/2/issue: no rule allows it"
    " (GET /~/lease at the same socket or port lists what the lease allows)"
)


def recipe(title: str) -> str:
    """Return a program of the page."""
    found = re.findall(rf'^```\w+ title="{re.escape(title)}"\n(.*?)^```$', read_page(), re.MULTILINE | re.DOTALL)
    assert len(found) == 1, title
    return str(found[0])


def line_of_page(words: str) -> str:
    """Return the line of the page that has *words*."""
    (line,) = [line for line in read_page().splitlines() if line.startswith("    ") and words in line]
    return line.strip()


def read_page() -> str:
    return (REPOSITORY / "docs/recipes.md").read_text()


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """One of our own: what is written here must not show in other tests."""
    with Sandbox() as provider:
        yield provider


@pytest.fixture(scope="module")
def linked(sandbox: Sandbox, fork_server: ForkServer) -> Iterator[Daemon]:
    """A daemon that may sign for alice at all four products."""
    with Daemon(fork_server) as started:
        for product in PRODUCTS:
            started.dance(sandbox, product)
        yield started


@pytest.fixture
def daemon(linked: Daemon) -> Iterator[Daemon]:
    yield linked
    revoke_all(linked)


def open_port(daemon: Daemon, *allow: str, **fields: Any) -> dict[str, Any]:
    return open_lease(daemon, links=list(PRODUCTS), allow=list(allow), entries=["http", "port"], **fields)


def start(
    command: Sequence[str], lease: Mapping[str, Any], folder: Path, stdin: str = "", **variables: str
) -> "subprocess.CompletedProcess[str]":
    """Run a tool that knows the lease's port and secret, and nothing else of ours."""
    return subprocess.run(
        command,
        cwd=folder,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "LEASE_URL": lease["url"],
            "LEASE_SECRET": lease["secret"],
            **variables,
        },
        input=stdin,
        capture_output=True,
        text=True,
        timeout=110,
    )


def check_both(done: "subprocess.CompletedProcess[str]", refused: "subprocess.CompletedProcess[str]", port: str) -> None:
    """Check what a tool prints that creates an issue, with a lease that allows it and with one that does not."""
    assert done.returncode == 0, done.stderr
    user, created = done.stdout.splitlines()
    key, address = created.split()
    assert (user, key.partition("-")[0]) == ("alice", "WEB")
    assert address.startswith(f"{port}/jira/rest/api/2/issue/")
    assert (refused.returncode, refused.stdout) == (1, "alice\n")
    assert DENIED in refused.stderr + refused.stdout


@pytest.mark.parametrize("title", ["by_atlassian_python_api.py", "by_jira.py"])
def test_python_libraries(daemon: Daemon, sandbox: Sandbox, tmp_path: Path, title: str) -> None:
    """One creates an issue; the twin's lease only reads, and the provider sees nothing of it."""
    (tmp_path / title).write_text(recipe(title))
    lease, reading = open_port(daemon, "read", "jira:edit"), open_port(daemon, "read")

    with arrivals(sandbox) as came:
        done = start([sys.executable, title], lease, tmp_path)
    with arrivals(sandbox) as came_then:
        refused = start([sys.executable, title], reading, tmp_path)

    check_both(done, refused, lease["url"])
    assert {(each.verdict, each.user) for each in (*came, *came_then)} == {("signed", "alice")}
    assert "POST" in {each.method for each in came}
    assert "POST" not in {each.method for each in came_then}


def test_every_product_answers_atlassian_python_api(daemon: Daemon) -> None:
    """By the port, with addresses that lead there again."""
    from atlassian import Bamboo, Bitbucket, Confluence

    lease = open_port(daemon, "read")
    url, secret = lease["url"], lease["secret"]

    spaces = Confluence(url=f"{url}/confluence", token=secret).get_all_spaces()
    project = next(iter(Bitbucket(url=f"{url}/bitbucket", token=secret).project_list()))
    plan = next(iter(Bamboo(url=f"{url}/bamboo", token=secret).plans()))

    assert spaces is not None
    assert {space["key"] for space in spaces["results"]} >= {"PUB", "TEAM"}
    assert project["links"]["self"][0]["href"] == f"{url}/bitbucket/projects/{project['key']}"
    assert plan["link"]["href"] == f"{url}/bamboo/rest/api/latest/plan/{plan['key']}"


def test_no_address_of_the_port_is_stored(daemon: Daemon, sandbox: Sandbox) -> None:
    """A field that is an address: the product has its own, and the tool gets its own back."""
    from jira import JIRA

    lease = open_port(daemon, "read", "jira:edit")
    client = JIRA(f"{lease['url']}/jira", token_auth=lease["secret"])
    place = f"{lease['url']}/jira/browse/WEB-1"

    issue = client.create_issue(project="WEB", summary="by a lease", description=place, issuetype={"name": "Task"})

    assert client.issue(issue.key).fields.description == place
    other = open_port(daemon, "read")
    again = JIRA(f"{other['url']}/jira", token_auth=other["secret"]).issue(issue.key)
    assert again.fields.description == f"{other['url']}/jira/browse/WEB-1"
    client.close()


@pytest.mark.slow  # make check does not install Node packages
def test_jira_js(daemon: Daemon, tmp_path: Path) -> None:
    if not NODE_PACKAGES.is_dir():
        pytest.fail("the packages are not there: make tests/clients/node/node_modules/.installed", pytrace=False)
    (tmp_path / "node_modules").symlink_to(NODE_PACKAGES)
    (tmp_path / "by_jira_js.mjs").write_text(recipe("by_jira_js.mjs"))
    node = os.environ.get("NODE") or shutil.which("node")
    assert node is not None, "Node is needed: apt-get install nodejs"
    lease, reading = open_port(daemon, "read", "jira:edit"), open_port(daemon, "read")

    done, refused = (start([node, "by_jira_js.mjs"], each, tmp_path) for each in (lease, reading))

    check_both(done, refused, lease["url"])


# --- mcp-atlassian

CREATE = ["jira_create_issue", {"project_key": "WEB", "summary": "by an agent", "issue_type": "Task"}]
READ = ["jira_get_issue", {"issue_key": "WEB-1"}]


@pytest.fixture(scope="module")
def mcp() -> Path:
    """The folder of the environment's programs."""
    if not (MCP / "mcp-atlassian").exists():
        pytest.fail("the environment is not there: make .cache/recipes/.installed", pytrace=False)
    return MCP


def call(
    mcp: Path, command: Sequence[str], lease: Mapping[str, Any], folder: Path, *calls: object, **variables: str
) -> list[dict[str, Any]]:
    """Start an MCP server by *command*, and return what comes of calls of its tools."""
    lines = "".join(f"{json.dumps(each)}\n" for each in calls)
    path = f"{mcp}:{os.environ['PATH']}"
    done = start([str(mcp / "python"), str(HERE / "mcp_calls.py"), *command], lease, folder, lines, PATH=path, **variables)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.slow  # make check does not install it
def test_mcp_atlassian(mcp: Path, daemon: Daemon, sandbox: Sandbox, tmp_path: Path) -> None:
    """An agent reads and creates; the twin's is told why it may not create."""
    (tmp_path / "serve.sh").write_text(recipe("by_mcp_atlassian.sh"))
    lease, reading = open_port(daemon, "read", "jira:edit"), open_port(daemon, "read")

    with arrivals(sandbox) as came:
        read, created = call(mcp, ["bash", "serve.sh"], lease, tmp_path, READ, CREATE)
    read_too, refused = call(mcp, ["bash", "serve.sh"], reading, tmp_path, READ, CREATE)

    assert [read["is_error"], created["is_error"], read_too["is_error"], refused["is_error"]] == [False, False, False, True]
    assert json.loads(read["text"])["browse_url"] == f"{lease['url']}/jira/browse/WEB-1"
    assert "WEB-" in created["text"]
    assert DENIED in refused["text"]
    assert {(each.verdict, each.user) for each in came} == {("signed", "alice")}


@pytest.mark.slow
def test_mcp_atlassian_by_run(mcp: Path, daemon: Daemon, sandbox: Sandbox, tmp_path: Path) -> None:
    """The line of the page: `run` opens the lease, and no file or variable of ours is needed."""
    environment = {**daemon.environment, "PATH": f"{ATL_SIGN}:{mcp}:{daemon.environment.get('PATH', os.environ['PATH'])}"}
    environment |= {"HOME": str(tmp_path), "JIRA_URL": "https://jira.example.com", "JIRA_USERNAME": "ann", "JIRA_API_TOKEN": "x"}
    command = [str(mcp / "python"), str(HERE / "mcp_calls.py"), "bash", "-c", line_of_page("--tool mcp-atlassian")]

    with arrivals(sandbox) as came:
        done = subprocess.run(
            command,
            env=environment,
            cwd=tmp_path,
            input="".join(f"{json.dumps(each)}\n" for each in (READ, CREATE)),
            capture_output=True,
            text=True,
            timeout=110,
        )

    assert done.returncode == 0, done.stderr
    read, refused = (json.loads(line) for line in done.stdout.splitlines())
    assert not read["is_error"]
    assert DENIED in refused["text"]
    assert {(each.verdict, each.user) for each in came} == {("signed", "alice")}


# --- git


@pytest.fixture
def bitbucket(fork_server: ForkServer, sandbox: Sandbox) -> Iterator[Daemon]:
    """A daemon with a token for Bitbucket."""
    token = sandbox.make_token("bitbucket", "alice")
    with Daemon(fork_server) as started:
        words = ["link", "add", "bitbucket", sandbox.base_url("bitbucket"), "--scheme", "bearer"]
        for command, stdin in ((words, ""), (["dance", "bitbucket"], f"{token.secret}\n")):
            done = subprocess.run(
                [ATL_SIGN / "atl-sign", *command],
                env=dict(started.environment),
                input=stdin,
                capture_output=True,
                text=True,
                timeout=60,
                start_new_session=True,
            )
            assert done.returncode == 0, done.stderr
        yield started


def test_git_fetches_and_does_not_push(bitbucket: Daemon, sandbox: Sandbox, tmp_path: Path) -> None:
    """With the rules of the page; git itself is not told anything."""
    script = recipe("by_git.sh")
    push = "cd shop && git -c user.name=x -c user.email=x@example.com commit -q --allow-empty -m x && git push -q"
    environment = {
        **bitbucket.environment,
        "PATH": f"{ATL_SIGN}:{bitbucket.environment.get('PATH', os.environ['PATH'])}",
        "BITBUCKET": sandbox.base_url("bitbucket"),
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_CONFIG_NOSYSTEM": "1",
        "HOME": str(tmp_path),
    }

    def run(text: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["bash", "-euc", text],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=100,
            start_new_session=True,
        )

    cloned = run(script)
    pushed = run(script.replace('git clone -q "$BITBUCKET/scm/web/shop.git"', f"sh -c '{push}'"))

    assert (cloned.returncode, cloned.stderr) == (0, "")
    assert (tmp_path / "shop/.git").is_dir()
    assert pushed.returncode != 0
    assert "The requested URL returned error: 403" in pushed.stderr


def test_every_program_of_the_page_is_run() -> None:
    titles = set(re.findall(r'^```\w+ title="([^"]+)"$', read_page(), re.MULTILINE))

    assert titles == {"by_atlassian_python_api.py", "by_jira.py", "by_jira_js.mjs", "by_mcp_atlassian.sh", "by_git.sh"}

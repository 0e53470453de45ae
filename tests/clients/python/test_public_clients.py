"""The clients that people have already, unchanged, on the sandbox: the examples as they are, and writing calls."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from atlassian import Bamboo, Bitbucket, Confluence, Jira
from jira import JIRA, JIRAError

from atl_sign.sandbox import Sandbox
from atl_sign_client import AtlSignAuth
from tests.lab import PRODUCTS, REPOSITORY, Daemon, revoke_tokens

CLIENT = REPOSITORY / "clients/python"
SHOWN = {
    "sign_alone.py JIRA/rest/api/2/myself": '"name": "alice"',
    "jira_client.py JIRA WEB": "user: alice\nWEB-1: Checkout forgets the delivery address\nWEB-2: Show prices with tax\n",
    "atlassian_client.py JIRA CONFLUENCE BITBUCKET BAMBOO": (
        "Jira user: alice\nConfluence space: PUB\nConfluence space: TEAM\nBitbucket project: WEB\nBitbucket project: PUB\n"
        "Bamboo plan: WEB-BUILD\n"
    ),
    "httpx_async.py JIRA WEB-1 WEB-2": "WEB-1: Checkout forgets the delivery address\nWEB-2: Show prices with tax\n",
}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """One of our own: what is written here must not show in other tests."""
    with Sandbox() as provider:
        yield provider


def run_example(python: str, line: str, sandbox: Sandbox, daemon: Daemon, **environment: str) -> str:
    """Run one with the sandbox's addresses; returns what it printed, and nothing may stand on standard error."""
    for product in PRODUCTS:
        line = line.replace(product.upper(), sandbox.base_url(product))
    name, *words = line.split()
    done = subprocess.run(
        [python, "-W", "error", str(CLIENT / "examples" / name), *words],
        env={**daemon.environment, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_every_example_is_run() -> None:
    """None is left out."""
    assert {line.split()[0] for line in SHOWN} == {path.name for path in (CLIENT / "examples").glob("*.py")}


@pytest.mark.parametrize("line", SHOWN)
def test_an_example_works(line: str, sandbox: Sandbox, danced: Daemon) -> None:
    """Every request of it is signed and taken."""
    count = sandbox.state.count

    printed = run_example(sys.executable, line, sandbox, danced)

    assert SHOWN[line] in printed
    new = sandbox.state.requests[count - sandbox.state.count :]
    assert {(request.verdict, request.user) for request in new} == {("signed", "alice")}


def oldest_python() -> str | None:
    """Return a Python 3.9 that runs, or None."""
    for found in (shutil.which("python3.9"), *Path.home().glob(".pyenv/versions/3.9.*/bin/python")):
        if found is not None and subprocess.run([found, "-c", ""], capture_output=True).returncode == 0:
            return str(found)
    return None


@pytest.mark.skipif(oldest_python() is None, reason="no Python 3.9 on this machine")
def test_the_oldest_python_signs(sandbox: Sandbox, danced: Daemon) -> None:
    """By the standard library alone, with the modules for requests and httpx compiled at least."""
    python, source = str(oldest_python()), CLIENT / "src"
    line = "sign_alone.py JIRA/rest/api/2/myself"

    assert SHOWN[line] in run_example(python, line, sandbox, danced, PYTHONPATH=str(source), PYTHONDONTWRITEBYTECODE="1")
    check = "import ast, pathlib, sys; [ast.parse(path.read_text()) for path in pathlib.Path(sys.argv[1]).rglob('*.py')]"
    subprocess.run([python, "-c", check, str(CLIENT)], check=True)


@pytest.fixture
def session(danced: Daemon) -> Iterator[requests.Session]:
    """Signs everything."""
    with requests.Session() as made:
        made.auth = AtlSignAuth(danced.socket)
        yield made


def test_jira_writes(sandbox: Sandbox, danced: Daemon, tmp_path: Path) -> None:
    """An issue with an attachment, as alice; a refused field comes back as the client's own error."""
    client = JIRA(sandbox.base_url("jira"))
    client._session.auth = AtlSignAuth(danced.socket)
    file = tmp_path / "log é.txt"
    file.write_text("content\n")

    issue = client.create_issue(project="WEB", summary="by jira", issuetype={"name": "Bug"})
    client.add_attachment(issue, str(file))

    again = client.issue(issue.key)
    assert (again.fields.summary, again.fields.reporter.name) == ("by jira", "alice")
    assert again.fields.attachment[0].size == len("content\n")
    with pytest.raises(JIRAError) as caught:
        client.create_issue(project="WEB", summary=" ", issuetype={"name": "Bug"})
    assert "You must specify a summary" in str(caught.value)
    client.close()


def test_jiras_error_shows_no_signature(sandbox: Sandbox, danced: Daemon) -> None:
    """The client puts the headers that were sent into its error's text."""
    client = JIRA(sandbox.base_url("jira"))
    client._session.auth = AtlSignAuth(danced.socket)

    with pytest.raises(JIRAError) as caught:
        client.issue("WEB-999")

    assert caught.value.response is not None
    assert caught.value.response.request.headers["Authorization"].startswith("OAuth ")
    words = f"{caught.value} {caught.value.response.request.headers}"
    assert "<signature for link jira>" in words
    assert "oauth_signature" not in words
    client.close()


def test_atlassian_python_api_writes(sandbox: Sandbox, session: requests.Session) -> None:
    """To each of the products that it knows to write to."""
    jira = Jira(sandbox.base_url("jira"), session=session)
    key = jira.issue_create({"project": {"key": "OPS"}, "summary": "by atlassian", "issuetype": {"name": "Task"}})["key"]
    confluence = Confluence(sandbox.base_url("confluence"), session=session)
    page = confluence.create_page("TEAM", f"Page of {key}", "<p>é</p>")
    bamboo = Bamboo(sandbox.base_url("bamboo"), session=session)
    build = bamboo.execute_build("WEB-BUILD", stage="Test")
    bitbucket = Bitbucket(sandbox.base_url("bitbucket"), session=session)

    assert jira.issue(key)["fields"]["reporter"]["name"] == "alice"
    assert confluence.get_page_by_id(page["id"])["title"] == f"Page of {key}"
    assert build["planKey"] == "WEB-BUILD"
    assert [repository["slug"] for repository in bitbucket.repo_list("WEB")] != []


def test_a_revoked_token_is_said_in_words(caplog: pytest.LogCaptureFixture) -> None:
    """The client fails in its own way, and the remedy stands in the log."""
    with Sandbox(["confluence"]) as sandbox, Daemon() as daemon:
        daemon.dance(sandbox, "confluence")
        revoke_tokens(sandbox, "confluence")
        with requests.Session() as session:
            session.auth = AtlSignAuth(daemon.socket)
            with pytest.raises(requests.HTTPError):
                Confluence(sandbox.base_url("confluence"), session=session).get_all_spaces()

    messages = [record.message for record in caplog.records if record.name == "atl_sign_client"]
    assert len(messages) == 1
    assert "token_rejected" in messages[0]
    assert "hint: atl-sign dance confluence" in messages[0]


def test_the_readme_works(
    sandbox: Sandbox, danced: Daemon, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every block of Python in it, one after the other, as a reader would type it."""
    monkeypatch.setenv("ATL_SIGN_SOCK", str(danced.socket))
    blocks = re.findall(r"^```python\n(.*?)^```$", (CLIENT / "README.md").read_text(), re.M | re.S)
    code = "\n".join(blocks).replace("https://jira.example.com", sandbox.base_url("jira"))
    names: dict[str, Any] = {}

    exec(code.replace("https://wiki.example.com", sandbox.base_url("confluence")), names)

    assert capsys.readouterr().out.count("'name': 'alice'") == 2
    assert names["header"].startswith("OAuth ")
    assert names["issues"].myself()["name"] == "alice"
    assert len(names["confluence"].get_all_spaces()["results"]) == 2
    names["session"].close()
    names["issues"].close()

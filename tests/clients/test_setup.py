"""`atl-sign setup`: each step is done, passed over when it is done, left and gone on with."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from atl_sign.base.errors import BadUrlError, DaemonError, ProviderRefusedError, ProviderUnreachableError
from atl_sign.commands.setup_guide import probe
from atl_sign.sandbox import Sandbox
from tests.clients.person import Person
from tests.lab import REPOSITORY, Daemon
from tests.oauth2_lab import PORT, redirect_of

ATL_SIGN = REPOSITORY / "clients/bash/atl-sign"


def at_terminal(daemon: Daemon, *arguments: str) -> Person:
    return Person([ATL_SIGN, "setup", *arguments], {**daemon.environment, "SSH_TTY": "/dev/pts/0"})


def piped(daemon: Daemon, answers: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ATL_SIGN, "setup", *arguments],
        env={**daemon.environment, "SSH_TTY": "/dev/pts/0"},
        input=answers,
        capture_output=True,
        text=True,
        start_new_session=True,
        timeout=100,
    )


def enter_form(daemon: Daemon, sandbox: Sandbox, name: str) -> None:
    consumer_key = daemon.request("GET", f"/links/{name}").json["consumer_key"]
    public_key = daemon.request("GET", "/key").json["public_key"]
    sandbox.register_consumer("jira", consumer_key, public_key, name="tests")


def test_it_is_left_at_the_form_and_gone_on_with_there(daemon: Daemon) -> None:
    """^C, and the same command passes over address, key and link; the form that was entered meanwhile is seen."""
    with Sandbox(["jira"]) as sandbox:
        person = at_terminal(daemon)
        person.answer("Address: ", sandbox.base_url("jira"))
        person.answer(r"\[jira\]: ", "mine")
        person.read_until("Press Enter when it is entered")
        person.type("\x03")

        assert person.finish() == 130
        assert person.seen.endswith("atl-sign: interrupted\nhint: to continue: atl-sign setup mine\n")
        assert "$ atl-sign link add mine http" in person.seen
        enter_form(daemon, sandbox, "mine")
        again = at_terminal(daemon)
        again.answer(r"Continue with link mine \(http\S+\)\? \[Y/n\] ", "")
        url = again.read_until(r"http\S+oauth_token=\w+")[0]
        again.answer("The code", sandbox.approve("jira", url))

        assert again.finish() == 0, again.seen
        assert "link add" not in again.seen
        assert "form: entered" in again.seen
        assert f"atl-sign curl -sS {sandbox.base_url('jira')}/rest/api/2/myself" in again.seen
        done = piped(daemon, "", "mine")
        assert (done.returncode, done.stderr) == (0, "")
        assert "atl-sign dance" not in done.stdout
        assert "$ atl-sign check mine" in done.stdout


def test_a_dance_that_was_left_is_the_step_to_go_on_with(daemon: Daemon, sandbox: Sandbox) -> None:
    """The command has cancelled it; the hint names the link."""
    daemon.link(sandbox, "jira")
    person = at_terminal(daemon, "jira")
    person.read_until("The code")
    person.type("\x03")

    assert person.finish() == 130
    assert person.seen.endswith("hint: to continue: atl-sign setup jira\n")
    assert daemon.request("GET", "/links/jira").json["token"]["state"] == "none"


def test_piped_answers_go_to_the_steps_and_their_commands(daemon: Daemon) -> None:
    """Address, name, the form that is entered by then, and the code of the dance: all from standard input."""
    with Sandbox(["jira"]) as sandbox:
        first = piped(daemon, f"{sandbox.base_url('jira')}\n\n")
        assert first.returncode == 1
        assert first.stderr.endswith(
            "atl-sign: standard input has ended\n"
            "hint: to continue at a terminal: atl-sign setup jira; or by hand: atl-sign help\n"
        )
        assert daemon.request("GET", "/links/jira").status == 200
        enter_form(daemon, sandbox, "jira")

        second = piped(daemon, "not the code\n", "jira")

        assert second.returncode == 1
        assert "form: entered" in second.stdout
        assert "no other code was given; the dance is cancelled" in second.stderr


def test_without_anybody_it_asks_for_nothing_twice(daemon: Daemon) -> None:
    """No terminal and no input: status 1 and a way on, and nothing was made."""
    refused = piped(daemon, "")

    assert (refused.returncode, refused.stderr.startswith("atl-sign: standard input has ended\nhint: ")) == (1, True)
    assert json.loads(daemon.request("GET", "/links").text)["links"] == []


def test_nothing_typed_or_given_moves_the_cursor(daemon: Daemon, sandbox: Sandbox) -> None:
    """A pasted answer is shown again, and as part of commands and errors."""
    done = piped(daemon, f"\033[31m://\u202e\n{sandbox.base_url('jira')}\n\033[1mname\u202e\n")

    assert done.returncode == 1
    assert "\\u001b[1mname\\u202e" in done.stdout
    assert not [char for char in done.stdout + done.stderr if not char.isprintable() and char != "\n"]


def test_a_form_can_be_skipped(daemon: Daemon) -> None:
    """Then the dance says what is missing."""
    with Sandbox(["jira"]) as sandbox:
        done = piped(daemon, f"{sandbox.base_url('jira')}\n\ns\n")

    assert done.returncode == 1
    assert "$ atl-sign dance jira" in done.stdout
    assert "consumer_key_unknown" in done.stderr
    assert done.stderr.endswith("hint: to continue: atl-sign setup jira\n")


def test_the_products_own_base_url_is_suggested(daemon: Daemon) -> None:
    """It is what signatures are checked against; the twin: a wrong address is asked for again."""
    with Sandbox(["jira"]) as sandbox:
        real = sandbox.base_url("jira")
        with Sandbox(["jira"], base_url=real) as other:
            answers = f"{real}-nowhere\n{other.base_url('jira')}\ny\n\n"
            done = piped(daemon, answers)

    assert f"there is no product at {real}-nowhere" in done.stdout
    assert f"It is configured with the base URL {real}\n" in done.stdout
    assert daemon.request("GET", "/links/jira").json["url"] == real


@pytest.mark.parametrize("page", ["", "/", "/secure/Dashboard.jspa", "/rest/api/2", "/browse/WEB-1?focused=1#x"])
def test_the_base_url_is_found_above_a_page(sandbox: Sandbox, page: str) -> None:
    """The context path belongs to it, and what comes after it does not."""
    url, manifest = probe(sandbox.base_url("jira") + page)

    assert (url, manifest.type_id) == (sandbox.base_url("jira"), "jira")


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda base: base.rpartition("/")[0] + "/nothing/here", ProviderRefusedError),
        (lambda base: "http://127.0.0.1:9/jira/browse", ProviderUnreachableError),
        (lambda base: "ftp://h.example/", BadUrlError),
    ],
)
def test_an_address_without_a_product_is_refused(sandbox: Sandbox, make: Callable[[str], str], error: type[DaemonError]) -> None:
    """The twin: nothing there, nobody there, no address."""
    with pytest.raises(error):
        probe(make(sandbox.base_url("jira")))


def test_a_broken_configuration_is_heard(daemon: Daemon) -> None:
    """The link may be in the part that cannot be read."""
    daemon.config.parent.mkdir(parents=True, exist_ok=True)
    daemon.config.write_text("[links.jira\n")

    refused = piped(daemon, "", "jira")

    assert refused.returncode == 1
    assert refused.stderr.startswith("warning: config.toml line 1")


def test_without_curl_nothing_is_asked(daemon: Daemon, tmp_path: Path) -> None:
    """Its steps need curl: that it is missing is said before an address or a passphrase is typed."""
    refused = subprocess.run(
        [sys.executable, "-m", "atl_sign.commands.cli", "setup"],
        env={**daemon.environment, "PATH": str(tmp_path)},
        input="https://jira.example.com\n",
        capture_output=True,
        text=True,
        timeout=100,
    )

    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == "atl-sign: there is no curl on PATH\nhint: install curl 7.76 or newer\n"


def test_an_app_is_asked_for(daemon: Daemon) -> None:
    """A link of OAuth 2.0 that was added before: its id, its secret, unshown, and the dance; other settings stay."""
    with Sandbox(["jira"]) as sandbox:
        url = sandbox.base_url("jira")
        fields = {"url": url, "scheme": "oauth2", "redirect_port": PORT, "timeout_s": 20}
        assert daemon.request("PUT", "/links/mine", fields).status == 201
        app = sandbox.register_app("jira", redirect_uris=[redirect_of(url)])
        person = at_terminal(daemon, "mine")
        person.answer("The client ID", "")
        person.answer("The client ID", app.client_id)
        person.answer("The secret of the app", str(app.client_secret))
        address = person.read_until(r"http\S+/authorize\?\S+")[0]
        person.answer("The code, or the whole address", sandbox.approve("jira", address))

        assert person.finish() == 0, person.seen
        assert "app: the link has its id and secret" in person.seen
        assert str(app.client_secret) not in person.seen
        link = daemon.request("GET", "/links/mine").json
        assert (link["timeout_s"], link["redirect_port"], link["token"]["user"]) == (20, PORT, "alice")


@pytest.mark.parametrize(
    ("typed", "base", "product"),
    [
        ("https://github.com/acme/shop/pulls?q=x", "https://github.com", "GitHub"),
        ("https://gitlab.com/acme", "https://gitlab.com", "GitLab"),
        ("https://bitbucket.org/acme/shop", "https://bitbucket.org", "Bitbucket Cloud"),
    ],
)
def test_some_addresses_tell_by_themselves(typed: str, base: str, product: str) -> None:
    """Nobody is asked, for they would not say."""
    url, manifest = probe(typed)

    assert url == base
    assert manifest.product is not None
    assert manifest.product.name == product

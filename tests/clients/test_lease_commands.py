"""`atl-sign lease` with the real programs: leases opened, shown, changed and ended, and their log."""

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from atl_sign.sandbox import Sandbox
from tests.fork_server import ForkServer
from tests.lab import DEADLINE_S, REPOSITORY, Daemon, UnixConnection, wait_for

ATL_SIGN = str(REPOSITORY / "clients/bash/atl-sign")


@pytest.fixture(scope="module")
def linked(sandbox: Sandbox, fork_server: ForkServer) -> Iterator[Daemon]:
    """A daemon that may sign at Jira, with a link to Bamboo."""
    with Daemon(fork_server) as daemon:
        daemon.dance(sandbox, "jira")
        daemon.link(sandbox, "bamboo")
        yield daemon


@pytest.fixture
def jira(linked: Daemon) -> Iterator[Daemon]:
    """The same; the leases of a test are revoked after it."""
    yield linked
    for lease in linked.request("GET", "/leases").json["leases"]:
        linked.request("DELETE", f"/leases/{lease['id']}")


def run(daemon: Daemon, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `atl-sign lease` with *words* to its end."""
    return daemon.run_program("lease", *words, **variables)


def opened(daemon: Daemon, *words: str) -> dict[str, Any]:
    """Open a lease and return it."""
    done = run(daemon, "new", "--json", *words)
    assert (done.returncode, done.stderr) == (0, "")
    return dict(json.loads(done.stdout))


def shown(daemon: Daemon, name: str) -> dict[str, Any]:
    done = run(daemon, "show", "--json", name)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def sign(path: str, url: str, method: str = "GET") -> tuple[int, str]:
    """Ask the lease's socket at *path* for a header; returns status and body."""
    body = json.dumps({"method": method, "url": url})
    with closing(UnixConnection(Path(path))) as connection:
        connection.request("POST", "/sign", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read().decode()


def test_new_opens_what_is_wanted(jira: Daemon) -> None:
    """Links, rules, time, uses and entries, and no more than that."""
    lease = opened(
        jira, "--link", "jira", "--allow", "read", "--allow", "jira:comment", "--deny", "GET /rest/api/*/user", "--for", "2h",
        *("--uses", "3", "--sign", "--name", "agent", "--purpose", "review of WEB"),
    )  # fmt: skip

    assert lease["links"] == ["jira"]
    assert {"GET /rest/**", "POST /rest/api/*/issue/*/comment", "deny GET /rest/api/*/user"} <= set(lease["rules"])
    assert 7190 < lease["expires_in_s"] <= 7200
    assert (lease["uses_left"], lease["entries"], lease["peers"], lease["tunnel"]) == (3, ["http", "sign"], "own", False)
    assert (lease["name"], lease["purpose"], lease["lives_with"]) == ("agent", "review of WEB", None)
    base = jira.request("GET", "/links/jira").json["url"]
    assert sign(lease["sockets"]["sign"], f"{base}/rest/api/2/myself")[0] == 200
    assert sign(lease["sockets"]["sign"], f"{base}/rest/api/2/user")[0] == 403


def test_the_defaults_are_narrow(jira: Daemon) -> None:
    """Reading, an hour, one socket, the own user; the twins are wider."""
    lease = opened(jira)
    wide = opened(jira, "--port", "--tunnel", "--peers", "any", "--for", "7d", "--allow", "* /**")
    some = opened(jira, "--peers", "0,4242")

    assert (lease["entries"], lease["peers"], lease["tunnel"], lease["secret"]) == (["http"], "own", False, None)
    assert lease["links"] == ["bamboo", "jira"]
    assert lease["expires_in_s"] == 3600
    assert (wide["entries"], wide["peers"], wide["tunnel"]) == (["http", "port"], "any", True)
    assert wide["secret"].startswith("atls_")
    assert some["peers"] == [0, 4242]


def test_new_prints_a_lease_for_a_person(jira: Daemon) -> None:
    done = run(jira, "new", "--link", "jira", "--port", "--for", "90s")

    lines = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    assert (done.returncode, done.stderr) == (0, "")
    assert lines["link"] == "jira"
    assert lines["allow"] == "read"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ, in (1m 30s|1m 2\ds)", lines["until"])
    assert Path(lines["http_socket"]).is_socket()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", lines["url"])
    assert lines["secret"].startswith("atls_")
    assert lines["secret"] not in run(jira, "show", lines["id"]).stdout + run(jira, "list").stdout


def test_the_environment_can_be_evaluated(jira: Daemon) -> None:
    """A shell that does so has a lease: what it allows goes through, the rest does not."""
    base = jira.request("GET", "/links/jira").json["url"]
    get = "curl -s -o /dev/null -w '%{http_code} '"
    script = (
        f'eval "$(atl-sign lease new --link jira --port --env)"; {get} {base}/rest/api/2/myself; '
        f"{get} -X DELETE {base}/rest/api/2/issue/WEB-1; echo $ATL_SIGN_LEASE"
    )

    done = subprocess.run(
        ["bash", "-c", script],
        env={**jira.environment, "PATH": f"{REPOSITORY}/clients/bash:{jira.environment['PATH']}"},
        capture_output=True,
        text=True,
        timeout=2 * DEADLINE_S,
        check=True,
    )

    good, bad, lease = done.stdout.split()
    assert (good, bad, done.stderr) == ("200", "403", "")
    assert shown(jira, lease)["allowed"] == 1


def test_docker_gets_the_folder_and_what_is_in_it(jira: Daemon) -> None:
    done = run(jira, "new", "--sign", "--docker", "--name", "box")

    lease = shown(jira, "box")
    folder = Path(lease["sockets"]["sign"]).parent
    words = done.stdout.split()
    assert words[:2] == ["-v", f"{folder}:/run/atl-sign"]
    assert "ATL_SIGN_SOCK=/run/atl-sign/sign.sock" in words
    assert str(folder) not in " ".join(words[2:])
    assert done.stderr == (
        "note: a system with SELinux also needs --security-opt label=disable\n"
        "note: only your own user may use the lease: add --user $(id -u), or open it with --peers\n"
    )
    assert "--user" not in run(jira, "new", "--docker", "--peers", "any").stderr


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["new", "--link", "nope"], 1, "atl-sign: no application link is called nope\n"),
        (["new", "--allow", "get /x"], 1, "atl-sign: the rule get /x: a rule has no method 'get'\nhint: write GET\n"),
        (["new", "--allow", "jira:coment"], 1, "atl-sign: the rule jira:coment: "),
        (["new", "--for", "never"], 2, "atl-sign: option --for needs a time such as 90s, 30m, 2h or 7d\nusage: "),
        (["new", "--uses", "many"], 2, "atl-sign: option --uses needs a whole number from 1 to 999999999\nusage: "),
        (["new", "--peers", "nobody"], 2, "atl-sign: option --peers needs own, any, or uids with commas between\nusage: "),
        (["new", "--name", "a b"], 2, "atl-sign: a lease's name is up to 64 letters, digits, dots, dashes and underscores\n"),
        (["new", "--purpose", "x" * 201], 2, "atl-sign: option --purpose takes up to 200 characters\nusage: "),
        (["new", "--env", "--docker"], 2, "atl-sign: --env and --docker exclude each other\nusage: "),
        (["new", "--env", "--json"], 2, "atl-sign: --json and --env exclude each other\nusage: "),
        (["new", "--port", "--docker"], 2, "atl-sign: a container cannot reach the port: --docker and --port exclude each other"),
        (["new", "--allow-reusable"], 2, "atl-sign: --allow-reusable goes with --sign\nusage: "),
        (["new", "agent"], 2, "atl-sign: lease takes 1 argument(s), not 2\nusage: "),
        (["list", "agent"], 2, "atl-sign: lease takes 1 argument(s), not 2\nusage: "),
        (["show"], 2, "atl-sign: lease takes 2 argument(s), not 1\nusage: "),
        (["show", "../status"], 2, "atl-sign: a lease's name is up to 64 letters, digits, dots, dashes and underscores\nusage: "),
        (
            ["revoke", "a", "b/c"],
            2,
            "atl-sign: a lease's name is up to 64 letters, digits, dots, dashes and underscores\nusage: ",
        ),
        (["revoke"], 2, "atl-sign: lease revoke needs the ID of a lease, or --all\nusage: "),
        (["suspend", "x", "--all"], 2, "atl-sign: lease suspend needs the ID of a lease, or --all\nusage: "),
        (["change", "x"], 2, "atl-sign: lease change needs --for or --uses\nusage: "),
        (["change", "x", "--tunnel"], 2, "atl-sign: lease change does not take --tunnel\nusage: "),
        (["show", "nope"], 1, "atl-sign: there is no such lease; those that have ended are forgotten after an hour\nhint: "),
        (["change", "nope", "--for", "1h"], 1, "atl-sign: there is no such lease; those that have ended are forgotten"),
        (["log", "nope"], 1, "atl-sign: there is no such lease; those that have ended are forgotten after an hour\nhint: "),
    ],
)
def test_what_cannot_be_is_refused(jira: Daemon, words: list[str], status: int, message: str) -> None:
    """A slip with the usage, the rest in the daemon's words; no lease is opened."""
    done = run(jira, *words)

    assert done.returncode == status
    assert done.stderr.startswith(message), done.stderr
    assert done.stdout == ""
    assert [lease for lease in jira.request("GET", "/leases").json["leases"] if lease["state"] == "open"] == []


def test_errors_are_json_when_that_is_wanted(jira: Daemon) -> None:
    for words in (["new", "--link", "nope"], ["show", "nope"], ["revoke", "nope"], ["change", "nope", "--uses", "1"]):
        done = run(jira, *words, "--json")

        error = done.stderr.splitlines()[0]
        assert json.loads(error)["error"]["code"] in ("unknown_link", "unknown_lease")
        assert done.returncode == 1


def test_without_a_daemon_the_status_is_3(jira: Daemon) -> None:
    for words in (["new"], ["list"], ["show", "x"], ["revoke", "--all"], ["suspend", "x"], ["log", "x"]):
        done = run(jira, *words, ATL_SIGN_SOCK=str(jira.folder / "nothing.sock"))

        assert done.returncode == 3
        assert done.stderr.endswith("\nhint: start it: atl-sign serve &\n")


def test_list_is_a_table(fork_server: ForkServer, sandbox: Sandbox) -> None:
    """Of those that are over too; without any, a sentence beside the output."""
    with Daemon(fork_server) as daemon:
        daemon.link(sandbox, "jira")
        nothing = run(daemon, "list")
        first, second = opened(daemon, "--name", "agent", "--uses", "5"), opened(daemon, "--purpose", "a\x1b[31m\nb")
        run(daemon, "revoke", second["id"])

        table = run(daemon, "list")
        listed = json.loads(run(daemon, "list", "--json").stdout)["leases"]

    assert (nothing.returncode, nothing.stdout, nothing.stderr) == (0, "", "there are no leases\n")
    heads, *rows = table.stdout.splitlines()
    assert heads.split() == ["ID", "NAME", "STATE", "UNTIL", "USES", "LINKS", "PURPOSE"]
    assert [row.split()[:3] for row in rows] == [[first["id"], "agent", "open"], [second["id"], "-", "revoked"]]
    assert "0 allowed, 0 denied, 5 left" in rows[0]
    assert rows[1].endswith("jira   a\\u001b[31m\\nb")
    assert [lease["id"] for lease in listed] == [first["id"], second["id"]]


def test_suspend_and_resume(jira: Daemon) -> None:
    """In between, the lease is refused; by name, by id, and all of them."""
    lease, other = opened(jira, "--sign", "--name", "agent"), opened(jira)
    url = f"{jira.request('GET', '/links/jira').json['url']}/rest/api/2/myself"

    suspended = run(jira, "suspend", "agent")
    during = sign(lease["sockets"]["sign"], url)
    all_suspended = run(jira, "suspend", "--all")
    resumed = run(jira, "resume", "--all", "--json")
    after = sign(lease["sockets"]["sign"], url)
    nothing = run(jira, "resume", "--all")

    assert suspended.stdout == f"suspended {lease['id']} (agent)\n"
    assert during[0] == 403
    assert "lease_suspended" in during[1]
    assert all_suspended.stdout == f"suspended {other['id']}\n"
    assert json.loads(resumed.stdout) == {"resumed": [lease["id"], other["id"]]}
    assert after[0] == 200
    assert (nothing.returncode, nothing.stdout, nothing.stderr) == (0, "", "there are no leases to resume\n")


def test_change_gives_another_time_and_count(jira: Daemon) -> None:
    """What is not named stays; one that has ended cannot be changed."""
    lease = opened(jira, "--uses", "1", "--name", "agent")

    longer = json.loads(run(jira, "change", "agent", "--for", "1d", "--json").stdout)
    more = run(jira, "change", "agent", "--uses", "7")
    run(jira, "revoke", "agent")
    late = run(jira, "change", lease["id"], "--for", "1d")

    assert (longer["uses_left"], longer["expires_in_s"]) == (1, 86400)
    assert "\nuses_left: 7\n" in more.stdout
    assert (late.returncode, late.stderr.splitlines()[0]) == (1, "atl-sign: the lease was revoked")


def test_revoke_ends_several(jira: Daemon) -> None:
    """And goes on behind one that is not there; the socket is gone when it returns."""
    first, second, third, fourth = (opened(jira, *words) for words in ([], ["--name", "agent"], [], []))

    done = run(jira, "revoke", first["id"], "nope", "agent")
    rest = run(jira, "revoke", "--all", "--json")
    nothing = run(jira, "revoke", "--all")

    assert done.returncode == 1
    assert done.stdout == f"revoked {first['id']}\nrevoked {second['id']} (agent)\n"
    assert done.stderr.startswith("atl-sign: there is no such lease")
    assert json.loads(rest.stdout) == {"revoked": [third["id"], fourth["id"]]}
    assert (nothing.returncode, nothing.stderr) == (0, "there are no leases to revoke\n")
    for lease in (first, second, third, fourth):
        assert shown(jira, lease["id"])["state"] == "revoked"
        assert not Path(lease["sockets"]["http"]).exists()


def test_a_lease_that_has_expired_is_shown_so(jira: Daemon) -> None:
    lease = opened(jira, "--for", "1s", "--sign")
    url = f"{jira.request('GET', '/links/jira').json['url']}/rest/x"

    def is_refused() -> bool:
        with suppress(ConnectionError):  # once, connections are cut
            status, answer = sign(lease["sockets"]["sign"], url)
            return status == 403 and "lease_expired" in answer
        return False

    wait_for(lambda: shown(jira, lease["id"])["state"] == "expired")
    wait_for(is_refused)


def test_log_shows_the_rules_that_decided(jira: Daemon) -> None:
    """Of one lease alone; by name, by id, and by id when no daemon runs."""
    base = jira.request("GET", "/links/jira").json["url"]
    lease, other = opened(jira, "--sign", "--name", "agent", "--deny", "GET /rest/api/*/user"), opened(jira, "--sign")
    for address in (f"{base}/rest/api/2/myself", f"{base}/rest/api/2/user"):
        sign(lease["sockets"]["sign"], address)
        sign(other["sockets"]["sign"], address)

    by_name = run(jira, "log", "agent").stdout
    by_id = run(jira, "log", lease["id"], ATL_SIGN_SOCK=str(jira.folder / "nothing.sock")).stdout
    from_log = jira.run_program("log", "--lease", lease["id"]).stdout
    as_json = [json.loads(line) for line in run(jira, "log", "agent", "--json").stdout.splitlines()]

    heads, *lines = by_name.splitlines()
    assert heads.endswith("REQUEST  RULE")
    assert [re.split(r"  +", line)[1] for line in lines] == ["ok", "ok", "lease_denied"]
    assert lines[0].endswith("  open  read")
    assert lines[1].endswith("/rest/api/2/myself  GET /rest/**")
    assert lines[2].endswith("/rest/api/2/user  GET /rest/api/*/user")
    assert by_id == from_log == by_name
    assert {line["lease"] for line in as_json} == {lease["id"]}
    assert "RULE" not in jira.run_program("log").stdout.splitlines()[0]


def test_log_follows_a_lease(jira: Daemon) -> None:
    lease = opened(jira, "--name", "agent")
    command = ["bash", ATL_SIGN, "lease", "log", "agent", "--follow"]
    with subprocess.Popen(command, env=jira.environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "RULE" in process.stdout.readline()
        assert "  open  " in process.stdout.readline()

        run(jira, "new", "--name", "another")
        run(jira, "suspend", lease["id"])

        assert "  suspend  -" in process.stdout.readline()
        process.kill()


def test_each_daemon_has_its_own(jira: Daemon, sandbox: Sandbox, fork_server: ForkServer) -> None:
    """A lease of one is unknown to the other."""
    with Daemon(fork_server) as other:
        other.link(sandbox, "jira")
        lease = opened(jira, "--name", "agent")

        listed = run(other, "list")
        revoked = run(other, "revoke", lease["id"])
        same_name = opened(other, "--name", "agent")

    assert listed.stderr == "there are no leases\n"
    assert revoked.returncode == 1
    assert same_name["id"] != lease["id"]
    assert shown(jira, "agent")["state"] == "open"


def test_a_lease_that_cannot_be_printed_is_revoked(jira: Daemon) -> None:
    """Its secret would be known to nobody."""
    done = subprocess.run(
        ["bash", "-c", f"exec bash {ATL_SIGN} lease new --port --env >/dev/full"],
        env=jira.environment,
        capture_output=True,
        text=True,
        timeout=2 * DEADLINE_S,
        check=False,
    )

    assert done.returncode == 1
    assert done.stderr == "atl-sign: standard output cannot be written\n"
    assert jira.request("GET", "/leases").json["leases"][-1]["state"] == "revoked"

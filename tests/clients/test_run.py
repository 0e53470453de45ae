"""`atl-sign run`: a program with a lease, its environment, its signals and its end."""

import json
import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from atl_sign.sandbox import Sandbox
from tests.fork_server import ForkServer
from tests.lab import DEADLINE_S, REPOSITORY, Daemon, wait_for

ATL_SIGN = str(REPOSITORY / "clients/bash/atl-sign")
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
AUTHORITIES = ("SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "GIT_SSL_CAINFO")
Process = subprocess.Popen[str]


@pytest.fixture(scope="module")
def jira(sandbox: Sandbox, fork_server: ForkServer) -> Iterator[Daemon]:
    """A daemon that may sign at Jira and Bamboo."""
    with Daemon(fork_server) as daemon:
        daemon.dance(sandbox, "jira")
        daemon.dance(sandbox, "bamboo")
        yield daemon


def run(daemon: Daemon, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `atl-sign run` with *words* to its end."""
    return subprocess.run(
        ["bash", ATL_SIGN, "run", *words],
        env={**daemon.environment, **variables},
        cwd=daemon.folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=3 * DEADLINE_S,
        start_new_session=True,
        check=False,
    )


def start(daemon: Daemon, *words: str) -> Process:
    """Start `atl-sign run` with *words*; the first line that the program prints shows that it runs."""
    return subprocess.Popen(
        ["bash", ATL_SIGN, "run", *words],
        env=daemon.environment,
        cwd=daemon.folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def line_of(process: Process) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def lease_of(daemon: Daemon, lease_id: str) -> Mapping[str, Any]:
    reply = daemon.request("GET", f"/leases/{lease_id}")
    assert reply.status == 200, reply.text
    return dict(reply.json)


def environment_of(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """What `env -0` printed."""
    assert done.returncode == 0, done.stderr
    return dict(pair.split("=", 1) for pair in done.stdout.split("\0") if pair)


def test_the_environment_leads_through_the_lease(jira: Daemon) -> None:
    """Proxies in both spellings, certificates, and the id; not the daemon's own socket, also when the caller names it."""
    found = environment_of(run(jira, "--", "env", "-0", ATL_SIGN_SOCK=str(jira.socket), HTTPS_PROXY="http://other.example.com"))

    lease = lease_of(jira, found["ATL_SIGN_LEASE"])
    assert "ATL_SIGN_SOCK" not in found
    assert str(jira.socket) not in found.values()
    assert {name: found[name] for name in PROXIES if "no" not in name.lower()} == dict.fromkeys(
        (name for name in PROXIES if "no" not in name.lower()), found["HTTPS_PROXY"]
    )
    assert re.fullmatch(r"http://\w+:atls_[\w-]+@127\.0\.0\.1:\d+/?", found["HTTPS_PROXY"])
    assert {found[name] for name in AUTHORITIES} == {lease["ca_file"]}
    assert found["NODE_USE_ENV_PROXY"] == "1"
    assert (lease["state"], lease["tunnel"], lease["rules"][0]) == ("revoked", True, "GET /rest/**")
    assert not Path(lease["ca_file"]).parent.exists()


def test_a_tool_is_pointed_to_the_port(jira: Daemon) -> None:
    """Its address and token are the lease's, and the caller's own are gone; what it does not know stays."""
    others = {
        "JIRA_USERNAME": "ann",
        "JIRA_API_TOKEN": "canary",
        "JIRA_URL": "https://jira.example.com",
        "JIRA_SSL_VERIFY": "yes",
    }

    found = environment_of(run(jira, "--tool", "mcp-atlassian", "--", "env", "-0", **others))
    plain = environment_of(run(jira, "--", "env", "-0", **others))

    port, secret = re.fullmatch(r"http://\w+:(atls_[\w-]+)@(127\.0\.0\.1:\d+)/?", found["HTTPS_PROXY"]).group(2, 1)  # type: ignore[union-attr]
    assert (found["JIRA_URL"], found["JIRA_PERSONAL_TOKEN"]) == (f"http://{port}/jira", secret)
    assert "canary" not in found.values()
    assert found["JIRA_SSL_VERIFY"] == "yes"
    assert not {"JIRA_USERNAME", "JIRA_API_TOKEN", "CONFLUENCE_URL"} & found.keys()
    assert {name: plain[name] for name in others} == others  # the twin


def test_a_pointed_tool_has_what_the_rules_allow(jira: Daemon) -> None:
    """Of the links that were chosen, with the token of the lease."""
    get = "curl -s -o /dev/null -w '%{http_code} ' -H \"Authorization: Bearer $JIRA_TOKEN\" --noproxy '*'"
    script = (
        f"{get} $JIRA_URL/rest/api/2/myself; {get} -X DELETE $JIRA_URL/rest/api/2/issue/WEB-1; {get} $JIRA_URL/../bamboo/rest/x"
    )

    done = run(jira, "--tool", "terraform-jira", "--link", "jira", "--", "sh", "-c", script)

    assert done.stdout.split()[:2] == ["200", "403"], done.stderr
    assert done.stdout.split()[2] != "200"


@pytest.mark.parametrize("tool", ["jira-cli", "go-jira"])
@pytest.mark.parametrize("ending", [None, signal.SIGTERM, signal.SIGINT])
def test_the_files_of_a_tool_go_with_it(jira: Daemon, tool: str, ending: signal.Signals | None) -> None:
    """They are there while it runs, and hold no secret; no folder is left, however the program ends."""
    show = 'for file in "$TMPDIR"/atl-sign-*/* "$TMPDIR"/atl-sign-*/.j*/*; do cat "$file"; done 2>/dev/null'
    script = f"echo ready; {show}; echo; echo -; read -r _"
    folder = jira.folder / f"tmp-{tool}-{ending}"
    folder.mkdir()
    jira.environment["TMPDIR"] = str(folder)
    try:
        with start(jira, "--tool", tool, "--link", "jira", "--", "sh", "-c", script) as process:
            assert line_of(process) == "ready"
            written = ""
            while (line := line_of(process)) != "-":
                written += line
            during = list(folder.iterdir())

            if ending is None:
                process.communicate("\n", timeout=DEADLINE_S)
            else:
                process.send_signal(ending)
                process.wait(DEADLINE_S)
    finally:
        del jira.environment["TMPDIR"]

    assert process.returncode == (0 if ending is None else 128 + ending)
    assert "/jira" in written
    assert "atls_" not in written
    assert len(during) == 1
    assert list(folder.iterdir()) == []


def test_a_product_that_is_not_known_is_refused(jira: Daemon) -> None:
    """It might be the one that the tool needs. Named links leave it out; nothing is started otherwise."""
    mark = jira.folder / "pointed"
    jira.request("PUT", "/links/nowhere", {"url": "http://127.0.0.1:1/jira", "scheme": "bearer"})
    try:
        refused = run(jira, "--tool", "terraform-jira", "--", "touch", str(mark))
        named = run(jira, "--tool", "terraform-jira", "--link", "nowhere", "--", "touch", str(mark))
        was_started = mark.exists()
        chosen = run(jira, "--tool", "terraform-jira", "--link", "jira", "--", "touch", str(mark))
    finally:
        jira.request("DELETE", "/links/nowhere")

    assert (refused.returncode, named.returncode, chosen.returncode) == (125, 125, 0)
    assert refused.stderr.splitlines() == [
        "atl-sign: link nowhere does not lead to a product that is known",
        "hint: atl-sign doctor nowhere, or choose the links for terraform-jira with --link",
    ]
    assert named.stderr.splitlines()[1] == "hint: atl-sign doctor nowhere"
    assert not was_started
    assert mark.exists()


def test_sign_names_the_socket_of_the_lease(jira: Daemon) -> None:
    """It signs what the rules allow, and nothing else."""
    base = str(jira.request("GET", "/links/jira").json["url"])
    ask = 'curl -s --unix-socket "$ATL_SIGN_SOCK" -w "%{http_code} " -o /dev/null http://h/sign -d method='
    script = f"{ask}GET -d url={base}/rest/api/2/myself; {ask}POST -d url={base}/rest/api/2/issue; echo $ATL_SIGN_SOCK"

    done = run(jira, "--sign", "--link", "jira", "--", "sh", "-c", script, ATL_SIGN_SOCK=str(jira.socket))

    good, bad, path = done.stdout.split()
    assert (good, bad) == ("200", "403")
    assert path.endswith("/sign.sock")
    assert path != str(jira.socket)


def test_a_program_reaches_what_the_rules_allow(jira: Daemon) -> None:
    """Through the proxy, unchanged; a write, another link and a use too many are refused."""
    base = str(jira.request("GET", "/links/jira").json["url"])
    other = str(jira.request("GET", "/links/bamboo").json["url"])
    get = "curl -s -o /dev/null -w '%{http_code} '"
    script = f"{get} {base}/rest/api/2/myself; {get} -X DELETE {base}/rest/api/2/issue/WEB-1; {get} {other}/rest/api/latest/plan"

    done = run(jira, "--link", "jira", "--uses", "1", "--", "sh", "-c", f"{script}; {get} {base}/rest/api/2/myself")

    statuses = done.stdout.split()
    assert statuses[:2] == ["200", "403"]
    assert statuses[2] in ("403", "401")  # unsigned, or not at all: 127.0.0.1 is the host of both
    assert statuses[3] == "403"


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["--", "true"], 0, ""),
        (["true"], 0, ""),  # the first word that is no option is the program
        (["--", "sh", "-c", "exit 7"], 7, ""),
        (["sh", "-c", "exit 255", "--sign"], 255, ""),
        (["--", "sh", "-c", "kill -9 $$"], 137, ""),
        (["--", "sh", "-c", "kill -TERM $$"], 143, ""),
        (["--", "sh", "-c", "kill -9 0"], 137, ""),  # the whole group, which does not have `run`
        (["--", "no-such-program"], 127, "atl-sign: there is no program no-such-program\n"),
        (["--", "./no/such/program"], 127, "atl-sign: there is no program ./no/such/program\n"),
        (["--", "/etc/passwd"], 126, "atl-sign: /etc/passwd cannot be run: Permission denied\n"),
        (["--", "/"], 126, "atl-sign: / cannot be run: Permission denied\n"),
        (["--link", "nope", "--", "true"], 125, "atl-sign: no application link is called nope\n"),
        (["--allow", "get /x", "--", "true"], 125, "atl-sign: the rule get /x: a rule has no method 'get'\n"),
        (["--deny", "jira:coment", "--", "true"], 125, "atl-sign: the rule jira:coment: "),
        (["--tool", "jira", "true"], 125, "atl-sign: no tool called jira is known\nhint: one of these: atlassian-dc-mcp, "),
        (["--tool", "go-jira", "--link", "nope", "true"], 125, "atl-sign: no application link is called nope\n"),
        (["--tool", "go-jira", "--link", "bamboo", "true"], 125, "atl-sign: go-jira speaks to Jira, and the lease has no such"),
        ([], 2, "atl-sign: run takes at least 1 argument(s), not 0\n"),
        (["--", "--sign"], 127, "atl-sign: there is no program --sign\n"),
        (["--sgin", "true"], 2, "atl-sign: unknown option --sgin, did you mean: --sign\n"),
        (["--for", "2x", "true"], 2, "atl-sign: option --for needs a time such as 90s, 30m, 2h or 7d\n"),
        (["--for", "31d", "true"], 2, "atl-sign: option --for takes from 1s to 30d\n"),
        (["--uses", "0", "true"], 2, "atl-sign: option --uses needs a whole number from 1 to 999999999\n"),
        (["--uses", "1.5", "true"], 2, "atl-sign: option --uses needs a whole number from 1 to 999999999\n"),
        (["--allow", "", "true"], 2, "atl-sign: option --allow needs a value in one line\n"),
        (["--link", "jira\nbamboo", "true"], 2, "atl-sign: option --link needs a value in one line\n"),
        (["--read-only", "--allow", "jira:edit", "true"], 2, "atl-sign: --allow and --read-only exclude each other\n"),
    ],
)
def test_the_exit_status_says_whose_it_is(jira: Daemon, words: list[str], status: int, message: str) -> None:
    """The program's own; ours only when it was not started."""
    done = run(jira, *words)

    assert done.returncode == status, done.stderr
    assert done.stderr.startswith(message) if message else done.stderr == ""
    assert done.stdout == ""
    open_ones = [lease for lease in jira.request("GET", "/leases").json["leases"] if lease["state"] == "open"]
    assert open_ones == []


def test_without_a_daemon_nothing_is_started(jira: Daemon) -> None:
    """125, and the hint that the other commands have; also when atl-signd is not there."""
    mark = jira.folder / "started"

    done = run(jira, "--", "touch", str(mark), ATL_SIGN_SOCK=str(jira.folder / "nothing.sock"))
    alone = run(jira, "--", "touch", str(mark), PATH="/usr/bin:/bin")

    assert (done.returncode, alone.returncode) == (125, 125)
    assert done.stderr.endswith("\nhint: start it: atl-sign serve &\n")
    assert alone.stderr.startswith("atl-sign: atl-signd is neither beside this program nor on PATH\n")
    assert not mark.exists()


def test_a_lease_that_is_refused_starts_nothing(daemon: Daemon) -> None:
    """A token that can be used again is not given out at sign.sock; without a link there is nothing to give."""
    mark = daemon.folder / "started"

    without_link = run(daemon, "--", "touch", str(mark))
    daemon.request("PUT", "/links/wiki", {"url": "https://wiki.example.com", "scheme": "bearer"})
    reusable = run(daemon, "--sign", "--", "touch", str(mark))
    proxied = run(daemon, "--", "touch", str(mark))

    assert (without_link.returncode, reusable.returncode, proxied.returncode) == (125, 125, 0)
    assert "there are no links to lease" in without_link.stderr
    assert "link wiki, which is good for any request" in reusable.stderr
    assert mark.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1])
def test_signals_reach_the_programs_group(jira: Daemon, number: signal.Signals) -> None:
    """The program and what it started; the program may handle them and end as it likes."""
    name = number.name.removeprefix("SIG")
    script = (
        f"trap 'echo got {name}; exit 5' {name}; (trap 'echo inner; exit' {name}; echo ready; while :; do sleep .1; done) & wait"
    )
    with start(jira, "--", "bash", "-c", script) as process:
        assert line_of(process) == "ready"

        process.send_signal(number)

        output, error = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 5, error
    assert set(output.split("\n")) >= {f"got {name}"}
    assert "inner" in output


def test_a_signal_that_is_not_handled_ends_both(jira: Daemon) -> None:
    """128 and its number, and the lease is gone."""
    with start(jira, "--", "sh", "-c", "echo $ATL_SIGN_LEASE; exec sleep 60") as process:
        lease = line_of(process)
        assert lease_of(jira, lease)["state"] == "open"

        process.terminate()

        assert process.wait(DEADLINE_S) == 128 + signal.SIGTERM
    assert lease_of(jira, lease)["state"] == "revoked"


def test_an_ignored_signal_stays_ignored(jira: Daemon) -> None:
    """As nohup wants it: neither of the two ends, the twin without it does."""
    script = "echo ready; read -r _; echo still here"
    command = ["bash", "-c", 'trap "" HUP; exec bash "$0" run -- sh -c "$1"', ATL_SIGN, script]
    with subprocess.Popen(
        command,
        env=jira.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert line_of(process) == "ready"

        os.killpg(process.pid, signal.SIGHUP)

        output, _ = process.communicate("go on\n", timeout=DEADLINE_S)
    assert (process.returncode, output) == (0, "still here\n")


def test_the_lease_ends_when_run_is_killed(jira: Daemon) -> None:
    """Nobody can revoke it then: the daemon sees the end of the process."""
    with start(jira, "--", "sh", "-c", "echo $ATL_SIGN_LEASE $$; exec sleep 60") as process:
        lease, pid = line_of(process).split()
        before = lease_of(jira, lease)

        process.kill()
        process.wait(DEADLINE_S)

        try:
            assert before["state"] == "open"
            assert before["lives_with"] == process.pid
            wait_for(lambda: lease_of(jira, lease)["state"] == "ended")
            assert not Path(before["ca_file"]).parent.exists()
        finally:
            os.kill(int(pid), signal.SIGKILL)


def test_the_lease_ends_when_the_program_is_killed(jira: Daemon) -> None:
    with start(jira, "--", "sh", "-c", "echo $ATL_SIGN_LEASE $$; exec sleep 60") as process:
        lease, pid = line_of(process).split()

        os.kill(int(pid), signal.SIGKILL)

        assert process.wait(DEADLINE_S) == 137
    assert lease_of(jira, lease)["state"] == "revoked"


def test_what_is_left_of_the_program_has_no_lease(jira: Daemon) -> None:
    """A process that it leaves behind goes on, and is refused."""
    base = str(jira.request("GET", "/links/jira").json["url"])
    script = (
        f"(sleep 0.3; until [ -e go ]; do sleep 0.05; done; curl -s -o /dev/null {base}/rest/x; echo $? >left) >/dev/null 2>&1 &"
    )

    done = run(jira, "--", "sh", "-c", script)
    (jira.folder / "go").touch()

    assert done.returncode == 0
    wait_for(lambda: (jira.folder / "left").exists() and (jira.folder / "left").read_text())
    assert (jira.folder / "left").read_text() == "7\n"  # curl's status for a connection that is refused


def test_a_lease_expires_under_the_program(jira: Daemon) -> None:
    """The program goes on, its requests are refused."""
    base = str(jira.request("GET", "/links/jira").json["url"])
    # Once after the end, connections are cut.
    get = f"curl -s --retry 5 --retry-delay 1 --retry-all-errors -o /dev/null -w '%{{http_code}} ' -D - {base}/rest/api/2/myself"

    done = run(jira, "--for", "1s", "--", "sh", "-c", f"sleep 1.2; {get}; exit 3")

    assert done.returncode == 3
    assert "403" in done.stdout
    assert "lease_expired" in done.stdout


def test_the_program_has_what_the_caller_had(jira: Daemon) -> None:
    """Exported names, descriptors, mask and limits; this command and the script before it need others for themselves."""
    names = ["url", "name", "VERSION", "PROGRAM", "deadline", "reply", "TMOUT"]
    script = "umask; ulimit -S -f; ulimit -S -c; cat <&9; " + "; ".join(f'echo "${name}"' for name in names)
    command = (
        f"umask 027; ulimit -S -f 4096; ulimit -S -c 8; export {' '.join(f'{name}=my-{name}' for name in names)}; "
        f"exec bash {ATL_SIGN} run -- bash -c '{script}' 9<<<'from nine'"
    )
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]

    done = subprocess.run(
        ["bash", "-c", command],
        env=jira.environment,
        cwd=jira.folder,
        capture_output=True,
        text=True,
        timeout=3 * DEADLINE_S,
        start_new_session=True,
        check=False,
    )

    core = "8" if hard == resource.RLIM_INFINITY or hard >= 8 * 1024 else "0"
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["0027", "4096", core, "from nine", *(f"my-{name}" for name in names)]


def test_no_secret_is_seen_beside_the_environment(jira: Daemon) -> None:
    """Neither on a command line, nor in a file, nor in the list of leases, nor in the log."""
    with start(jira, "--", "sh", "-c", "echo $$ $HTTPS_PROXY; read -r _") as process:
        pid, address = line_of(process).split()
        secret = address.split(":")[2].split("@")[0]
        seen = {path: path.read_bytes() for path in jira.folder.rglob("*") if path.is_file()}
        lines = [Path(f"/proc/{each}/cmdline").read_bytes() for each in (pid, process.pid)]
        shown = jira.request("GET", "/leases").text

        process.communicate("\n", timeout=DEADLINE_S)

    assert secret.startswith("atls_")
    assert len(secret) > 40
    assert [path for path, content in seen.items() if secret.encode() in content] == []
    assert [line for line in lines if secret.encode() in line] == []
    assert secret not in shown
    assert secret not in (process.stderr.read() if process.stderr and not process.stderr.closed else "")


def test_the_purpose_names_the_program_and_not_its_words(jira: Daemon) -> None:
    """A name with control characters reaches no terminal as it is."""
    program = jira.folder / "a\x1b]0;b"
    program.write_text("#!/bin/sh\nprintf %s $ATL_SIGN_LEASE\n")
    program.chmod(0o755)

    done = run(jira, "--", str(program), "--password=hunter2")
    missing = run(jira, "--", "no\x1b[31m")

    assert lease_of(jira, done.stdout)["purpose"] == "run a\x1b]0;b"
    assert "hunter2" not in jira.request("GET", "/leases").text
    assert missing.stderr.startswith("atl-sign: there is no program no\\u001b[31m\n")


def test_the_daemon_that_is_named_has_the_lease(jira: Daemon, sandbox: Sandbox, fork_server: ForkServer) -> None:
    """Another daemon of the same user knows nothing of it."""
    with Daemon(fork_server) as other:
        other.link(sandbox, "jira")

        done = run(jira, "--", "sh", "-c", "echo $ATL_SIGN_LEASE", ATL_SIGN_SOCK=str(other.socket))

        lease = done.stdout.strip()
        assert lease_of(other, lease)["state"] == "revoked"
        assert jira.request("GET", f"/leases/{lease}").code == "unknown_lease"


def test_a_daemon_that_ends_does_not_end_the_program(sandbox: Sandbox, fork_server: ForkServer) -> None:
    """Its lease has ended with the daemon, so that nothing is left to be revoked, and nobody complains."""
    with Daemon(fork_server) as daemon:
        daemon.link(sandbox, "jira")
        with start(daemon, "--", "sh", "-c", "echo ready; read -r _; exit 4") as process:
            assert line_of(process) == "ready"
            daemon.stop()

            _, error = process.communicate("\n", timeout=DEADLINE_S)
    assert (process.returncode, error) == (4, "")


def test_the_lease_is_in_the_log(jira: Daemon) -> None:
    """Opened and revoked by `run`, with what it allows."""
    lease = run(jira, "--allow", "jira:comment", "--", "sh", "-c", "echo $ATL_SIGN_LEASE").stdout.strip()

    shown = subprocess.run(
        [sys.executable, "-m", "atl_sign.commands.cli", "lease", "log", lease, "--json"],
        env=jira.environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    lines = [json.loads(line) for line in shown.splitlines()]
    assert [(line["verb"], line["outcome"]) for line in lines] == [("open", "ok"), ("revoke", "ok")]
    assert lines[0]["rule"] == "jira:comment"

"""`atl-signd doctor` as a whole: the real daemon, the sandbox, and real faults, each beside the same without it."""

import json
import os
import re
import shlex
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import pytest

from atl_sign.base.credentials import Passphrase
from atl_sign.base.findings import GRANT_CHECKS, LINK_CHECKS, MACHINE_CHECKS
from atl_sign.custody.keys.software import make_private_key
from atl_sign.custody.stores.file import FileStore
from atl_sign.sandbox import Cloud, Sandbox
from tests.clients.tls.front import Port, TlsFront, make_authority, read_request
from tests.keyring_lab import KeyringLab
from tests.lab import REPOSITORY, Daemon, revoke_tokens, secrets_of

CANARY = "canary-7f3a9c"


def log_of(daemon: Daemon) -> Path:
    """Where this daemon's messages would be, had a client started it."""
    return daemon.folder / ".local/state/atl-sign/atl-signd.log"


def examine(daemon: Daemon, *arguments: str, **variables: str) -> dict[str, dict[str, Any]]:
    """By check, what was found; the exit status is as the worst of them says."""
    done = daemon.run_program("doctor", "--json", *arguments, **variables)
    answer = json.loads(done.stdout)
    assert done.stderr == ""
    results = [each["result"] for each in answer["checks"]]
    worst = "broken" if "broken" in results else "warning" if "warning" in results else "ok"
    assert (answer["result"], done.returncode) == (worst, int(worst == "broken"))
    return {each["check"]: each for each in answer["checks"]}


def broken(found: dict[str, dict[str, Any]]) -> set[str]:
    return {name for name, each in found.items() if each["result"] == "broken"}


def paste(daemon: Daemon, hint: str, **instead: str) -> None:
    """Give the command at the end of *hint* to a shell, with a file's name *instead* of a word that stands for one."""
    command = re.sub(r"\b[A-Z]{4}\b", lambda word: instead[word[0]], hint[hint.index("atl-sign ") :])
    subprocess.run(
        ["bash", "-c", command], env=daemon.environment, cwd=daemon.folder, check=True, capture_output=True, timeout=60
    )


@pytest.fixture
def own_sandbox() -> Iterator[Sandbox]:
    """One whose clock and links a test may spoil."""
    with Sandbox() as started:
        yield started


@pytest.fixture
def jira(daemon: Daemon, own_sandbox: Sandbox) -> Daemon:
    """A daemon that may sign for alice at the own sandbox's Jira."""
    daemon.dance(own_sandbox, "jira")
    return daemon


def test_all_is_well(jira: Daemon) -> None:
    """Every check has a result in its order, none is broken, and the status is 0."""
    found = examine(jira)

    assert tuple(found) == (*MACHINE_CHECKS, *LINK_CHECKS)
    assert broken(found) == set()
    assert {found[check]["result"] for check in LINK_CHECKS} == {"ok"}
    assert found["link.user"]["cause"].startswith("alice, jira ")
    assert {each["link"] for each in found.values()} == {None, "jira"}


def test_the_bash_command_hands_over(jira: Daemon) -> None:
    """`atl-sign doctor` prints a line a check, without colours in a pipe."""
    path = f"{REPOSITORY / 'clients/bash'}:{Path(sys.executable).parent}:{os.environ['PATH']}"

    def ask(*arguments: str) -> "subprocess.CompletedProcess[str]":
        environment = {**jira.environment, "PATH": path}
        return subprocess.run(["atl-sign", *arguments], env=environment, capture_output=True, text=True, timeout=60)

    done, as_json = ask("doctor", "jira"), ask("--json", "doctor", "jira")

    assert json.loads(as_json.stdout)["result"] == "warning"  # the memory store
    assert done.returncode == 0
    assert re.search(r"^ok       jira: user +alice, jira 9", done.stdout, re.M)
    assert "\033" not in done.stdout
    assert len([line for line in done.stdout.splitlines() if line.startswith("ok  ")]) > 20


def test_a_wrong_public_key_is_told(jira: Daemon, own_sandbox: Sandbox) -> None:
    """The administrator entered another one: the base strings are the same, the key is not."""
    consumer = jira.request("GET", "/links/jira").json["consumer_key"]
    own_sandbox.register_consumer("jira", consumer, make_private_key(2048).public.pem, name="other")

    found = examine(jira)

    assert broken(found) == {"link.signature"}
    assert "has another public key for this consumer" in found["link.signature"]["cause"]
    assert "atl-sign key" in found["link.signature"]["hint"]
    assert found["link.consumer"]["result"] == "ok"


def test_an_unknown_consumer_is_told(jira: Daemon) -> None:
    """A typing error in the consumer key."""
    link = jira.request("GET", "/links/jira").json
    jira.request("PUT", "/links/jira", {"url": link["url"], "consumer_key": "mistyped"})

    found = examine(jira)

    assert broken(found) == {"link.consumer"}
    assert "consumer_key_unknown" in found["link.consumer"]["cause"]
    assert "atl-sign link setup jira" in found["link.consumer"]["hint"]


def test_three_legged_oauth_that_is_off_is_told(jira: Daemon, own_sandbox: Sandbox) -> None:
    """Whoever asks the administrator must know what for."""
    for link in own_sandbox.state.sites["jira"].state.links.values():
        assert link.consumer is not None
        link.consumer.is_three_legged = False

    found = examine(jira)

    assert broken(found) == {"link.consent"}
    assert "3LO" in found["link.consent"]["hint"]


def test_a_clock_that_is_off_by_an_hour_is_told(jira: Daemon, own_sandbox: Sandbox) -> None:
    """The daemon makes up for it, and signs; the clock is to be set all the same."""
    own_sandbox.clock = lambda: time.time() + 3600

    started_at = time.monotonic()
    found = examine(jira)
    took_s = time.monotonic() - started_at

    assert broken(found) == {"link.clock"}
    told = re.search(r"is (\d+) s ahead", found["link.clock"]["cause"])
    assert told is not None
    # Both the provider's header and the words have whole seconds, and the header is of a moment in the exchange.
    assert abs(int(told[1]) - 3600) <= 1 + took_s / 2
    assert "timedatectl" in found["link.clock"]["hint"]
    assert found["link.user"]["result"] == "ok"


def test_a_revoked_token_is_told(jira: Daemon, own_sandbox: Sandbox) -> None:
    """Consumer and signature are well."""
    revoke_tokens(own_sandbox, "jira")

    found = examine(jira)

    assert broken(found) == {"link.token"}
    assert found["link.token"]["hint"] == "atl-sign dance jira"
    assert found["link.signature"]["result"] == "ok"


def test_a_proxy_that_hides_the_address_is_told(daemon: Daemon) -> None:
    """The part of the base string that differs; with `signing_url` it is well."""
    seen = "http://jira-backend.example.com:8090/jira"
    with Sandbox(["jira"], base_url=seen, is_behind_proxy=True) as sandbox:
        url = f"http://127.0.0.1:{sandbox.port}/jira"
        key = daemon.make_key()
        daemon.request("PUT", "/links/jira", {"url": url, "consumer_key": "ann", "timeout_s": 9})
        sandbox.register_consumer("jira", "ann", key, name="tests")

        wrong = examine(daemon)
        paste(daemon, wrong["link.signature"]["hint"])
        right = examine(daemon)

    assert wrong["link.signature"]["result"] == "broken"
    assert "jira-backend.example.com:8090" in wrong["link.signature"]["cause"]
    assert "another host or port" in wrong["link.signature"]["cause"]
    assert daemon.request("GET", "/links/jira").json["timeout_s"] == 9
    assert wrong["link.base-url"]["result"] == "warning"
    assert (right["link.signature"]["result"], right["link.base-url"]["result"]) == ("ok", "ok")
    assert broken(right) == {"link.token"}


def test_tls_that_ends_in_front_is_mended_by_pasting(daemon: Daemon, own_sandbox: Sandbox, tmp_path: Path) -> None:
    """An authority of the company's own, then a product that believes in http: two commands, and neither undoes the other."""
    folder = tmp_path / "the company's"
    folder.mkdir()
    authority = make_authority(folder, "company")
    daemon.link(own_sandbox, "jira")
    with TlsFront(authority.issue("front"), own_sandbox.port) as front:
        key = daemon.request("GET", "/links/jira").json["consumer_key"]
        daemon.request("PUT", "/links/jira", {"url": f"{front.origin}/jira", "consumer_key": key, "timeout_s": 9})
        untrusted = examine(daemon)
        paste(daemon, untrusted["link.tls"]["hint"], FILE=shlex.quote(str(folder / "company.pem")))
        unsigned = examine(daemon)
        paste(daemon, unsigned["link.signature"]["hint"])
        well = examine(daemon)

    assert broken(untrusted) == {"link.tls", "link.consumer"}
    assert broken(unsigned) == {"link.signature"}
    assert "another scheme" in unsigned["link.signature"]["cause"]
    assert broken(well) == {"link.token"}
    link = daemon.request("GET", "/links/jira").json
    assert (link["ca_bundle"], link["timeout_s"]) == (str(folder / "company.pem"), 9)


@pytest.mark.parametrize("host", ["site", "bitbucket", "account"])
def test_atlassian_cloud(daemon: Daemon, host: Literal["site", "bitbucket", "account"]) -> None:
    """It has no manifest, and is known all the same; the twin: a host that is neither a site nor Bitbucket."""
    gateways: dict[str, Literal["gateway", "bitbucket-api"]] = {"site": "gateway", "bitbucket": "bitbucket-api"}
    with Cloud() as cloud:
        settings = {"scheme": "basic", "user": "alice@example.com", "gateway": cloud.url(gateways.get(host, "gateway"))}
        assert daemon.request("PUT", "/links/cloud", {"url": cloud.url(host), **settings}).status == 201
        if host != "account":
            scopes = ["read:jira-user", "read:user:bitbucket"]
            begun = daemon.request("POST", "/dance", {"link": "cloud"}).json
            secret = cloud.make_token("alice@example.com", scopes=scopes).secret
            assert daemon.request("POST", f"/dance/{begun['id']}", {"secret": secret}).json["state"] == "granted"

        found = examine(daemon, "cloud")

    assert broken(found) == ({"link.manifest", "link.token"} if host == "account" else set()), found
    assert found["key"]["cause"] == "no link needs one"
    if host != "account":
        assert found["link.manifest"]["cause"] == {"site": "jira-cloud Cloud", "bitbucket": "bitbucket-cloud Cloud"}[host]
        assert found["link.token"]["result"] == "ok"


class PathFront(Port):
    """A proxy that takes /apps off every path, and nothing else."""

    def __init__(self, provider_port: int) -> None:
        super().__init__()
        self._provider_port = provider_port

    def serve(self, connection: socket.socket) -> None:
        head, body = read_request(connection)
        head = head.replace(" /apps/", " /", 1).replace("\r\n", "\r\nConnection: close\r\n", 1)
        with socket.create_connection(("127.0.0.1", self._provider_port), 10) as provider:
            provider.sendall(head.encode("latin-1") + b"\r\n\r\n" + body)
            while more := provider.recv(65_536):
                connection.sendall(more)


def test_a_path_that_is_changed_in_front_is_mended_by_pasting(daemon: Daemon, own_sandbox: Sandbox) -> None:
    """The part that differs, and the base URL that the product sees; the token that was there stays."""
    daemon.link(own_sandbox, "jira")
    key = daemon.request("GET", "/links/jira").json["consumer_key"]
    with PathFront(own_sandbox.port) as front:
        url = f"http://127.0.0.1:{front.port}/apps/jira"
        daemon.request("PUT", "/links/jira", {"url": url, "consumer_key": key})
        wrong = examine(daemon)
        paste(daemon, wrong["link.signature"]["hint"])
        right = examine(daemon)

    assert broken(wrong) == {"link.signature"}
    assert "another path" in wrong["link.signature"]["cause"]
    assert broken(right) == {"link.token"}


def test_a_wrong_base_url_and_an_unknown_host_are_told(daemon: Daemon, sandbox: Sandbox) -> None:
    """Of each link its own; `doctor NAME` looks at one; a name that is none is told."""
    daemon.make_key()
    daemon.request("PUT", "/links/wrong", {"url": f"{sandbox.base_url('jira')}/wrong"})
    daemon.request("PUT", "/links/far", {"url": "https://jira.invalid"})

    wrong, far = examine(daemon, "wrong"), examine(daemon, "far")

    assert broken(wrong) == {"link.manifest", "link.consumer"}
    assert "context path" in wrong["link.manifest"]["hint"]
    assert broken(far) == {"link.dns", "link.consumer"}
    assert {each["link"] for each in far.values()} == {None, "far"}
    assert "there is no link nobody" in examine(daemon, "nobody")["config"]["cause"]


def test_without_a_daemon_the_rest_is_told(jira: Daemon) -> None:
    """What needs no secret."""
    jira.stop()

    found = examine(jira)

    assert broken(found) == {"daemon"}
    assert "atl-sign serve" in found["daemon"]["hint"]
    assert found["link.base-url"]["result"] == "ok"
    assert found["link.consumer"]["result"] == "skipped"


def test_an_environment_that_the_daemon_lacks_is_told() -> None:
    """The daemon tells it itself: an ordinary user may not look into the process. A proxy's password is told nobody."""
    theirs = f"http://ann:{CANARY}@127.0.0.1:9"
    with Daemon(https_proxy=theirs) as daemon:
        ordinary = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"] if os.geteuid() == 0 else []
        command = [*ordinary, sys.executable, "-m", "atl_sign.commands.cli", "doctor", "--json"]

        def ask(**variables: str) -> dict[str, Any]:
            environment = {**daemon.environment, "https_proxy": "", "no_proxy": "example.com", **variables}
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
            assert CANARY not in done.stdout
            (found,) = (each for each in json.loads(done.stdout)["checks"] if each["check"] == "environment")
            return dict(found)

        other, same = ask(), ask(https_proxy=theirs, no_proxy="")
        told = daemon.request("GET", "/environment").json["variables"]

    assert other["result"] == "warning"
    assert "https_proxy is http://…@127.0.0.1:9 there, not set here; no_proxy is not set there" in other["cause"]
    assert same["result"] == "ok"
    assert told["https_proxy"] == "http://…@127.0.0.1:9"
    assert told["XDG_RUNTIME_DIR"] == daemon.environment["XDG_RUNTIME_DIR"]


def test_a_daemon_that_hangs_holds_nobody_up(jira: Daemon) -> None:
    """It is told with its pid, within the deadline."""
    assert jira.process is not None
    started_at = time.monotonic()
    jira.process.send_signal(signal.SIGSTOP)
    try:
        found = examine(jira)
    finally:
        jira.process.send_signal(signal.SIGCONT)

    assert time.monotonic() - started_at < 30
    assert broken(found) == {"daemon"}
    assert f"kill {jira.process.pid}" in found["daemon"]["hint"]
    assert found["link.manifest"]["result"] == "ok"


def test_a_broken_file_is_told_beside_the_rest(jira: Daemon) -> None:
    """Line and cause."""
    with jira.config.open("a") as file:
        file.write('[links.wiki]\nurl = "htps://wiki.example.com"\nconsumer_key = "x"\n')

    found = examine(jira)

    assert broken(found) == {"config"}
    assert "links.wiki" in found["config"]["cause"]
    assert found["link.user"]["result"] == "ok"


def test_many_links_that_hang_end_in_time(daemon: Daemon) -> None:
    """Twelve providers that take connections and say nothing: side by side, not one after the other."""
    daemon.make_key()
    with ExitStack() as stack:
        silent = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(12)]
        links = "".join(
            f'[links.l{number}]\nurl = "http://127.0.0.1:{each.getsockname()[1]}"\nconsumer_key = "x"\ntimeout_s = 2\n'
            for number, each in enumerate(silent)
        )
        daemon.config.parent.mkdir(parents=True, exist_ok=True)
        daemon.config.write_text(links)
        started_at = time.monotonic()
        done = daemon.run_program("doctor", "--json")

    checks = json.loads(done.stdout)["checks"]
    assert time.monotonic() - started_at < 20  # one after the other: 12 times 2.5 s, and the daemon's as much
    assert {each["check"] for each in checks if each["link"] and each["result"] == "broken"} == {"link.manifest", "link.consumer"}
    assert {each["link"] for each in checks} == {None, *(f"l{number}" for number in range(12))}
    assert done.returncode == 1


@pytest.mark.slow
def test_a_locked_keyring_is_told(sandbox: Sandbox) -> None:
    """Nobody is asked for a password; unlocked, all is well."""
    with KeyringLab() as keyring, Daemon(ATL_SIGN_STORE="secret-service", **keyring.env) as daemon:
        daemon.dance(sandbox, "jira")
        well = examine(daemon)
        daemon.stop()
        keyring.lock()
        daemon.start()
        locked = examine(daemon)
        has_prompted = keyring.has_prompted()

    assert broken(well) == set()
    assert well["store"]["result"] == "ok"
    assert broken(locked) == {"store"}
    assert locked["link.consumer"]["result"] == "skipped"
    assert "locked" in locked["store"]["cause"]
    assert "unlock" in locked["store"]["hint"]
    assert locked["key"]["result"] == "skipped"
    assert not has_prompted


def test_the_report_holds_no_secret(jira: Daemon, own_sandbox: Sandbox) -> None:
    """Canaries in environment, journal, log and a refused request; tokens, key and nonces; the file is ours alone."""
    url = own_sandbox.base_url("jira")
    header = jira.request("POST", "/sign", {"method": "GET", "url": f"{url}/rest/x?secret={CANARY}"}).json["authorization"]
    jira.request("POST", "/sign", {"method": "GET", "url": f"https://{CANARY}:{CANARY}@example.com/"})
    programs = jira.folder / "bin"
    programs.mkdir()
    (programs / "journalctl").write_text(
        f'#!/bin/sh\necho \'Authorization: OAuth oauth_token="{CANARY}", oauth_signature="{CANARY}"\'\n'
        f"echo 'GET https://h/x?oauth_verifier={CANARY}&a=1 password: {CANARY}'\n"
        f"printf -- '-----BEGIN PRIVATE KEY-----{CANARY}'\n"
    )
    (programs / "journalctl").chmod(0o755)
    log = log_of(jira)
    log.with_name("atl-signd.log.1").write_bytes(b"before\xff\n")
    log.write_text(
        f"Authorization: OAuth {CANARY}\n-----BEGIN PRIVATE KEY-----\n{CANARY}\n{CANARY}\n-----END PRIVATE KEY-----\n"
        f"GET https://ann:{CANARY}@h/x?oauth_token={CANARY}\natl-signd: ends\n"
    )
    variables = {
        "PATH": f"{programs}:{jira.environment['PATH']}",
        "https_proxy": f"http://ann:{CANARY}@127.0.0.1:9",
        "SECRET_TOKEN": CANARY,
    }

    done = jira.run_program("doctor", "--report", "report.json", **variables)
    path = jira.folder / "report.json"
    text = path.read_text()
    report = json.loads(text)

    assert done.returncode == 1  # the proxy is broken
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "wrote report.json, which only you can read" in done.stdout
    secrets = {CANARY, *secrets_of(own_sandbox, "jira"), header.partition('oauth_nonce="')[2].partition('"')[0], "MIIEv"}
    assert [secret for secret in secrets if secret and secret in text + done.stdout] == []
    assert report["environment"]["https_proxy"] == "http://…@127.0.0.1:9"
    assert report["messages"][0] == "Authorization: <secret>"
    assert report["messages"][1] == "GET https://h/x?oauth_verifier=<secret>&a=1 password: <secret>"
    assert report["messages"][2:] == [
        "<secret>",
        "before\ufffd",
        "Authorization: <secret>",
        "<secret>",
        "GET https://…@h/x?oauth_token=<secret>",
        "atl-signd: ends",
    ]
    assert report["links"]["jira"]["consumer_key"].startswith("consumer-")
    assert {"check": "link.user", "link": "jira"}.items() <= report["checks"][-1].items()
    assert any(each.get("path") == "/jira/rest/x" for each in report["decisions"])
    assert str(jira.folder) not in text
    assert report["status"]["store"] == "memory"
    twin = jira.run_program("doctor", "--report", "report.json", **variables)
    assert twin.returncode == 1
    assert "report.json cannot be written: File exists" in twin.stderr


def test_the_report_of_a_whole_run_holds_no_secret(own_sandbox: Sandbox) -> None:
    """Passphrase, private key, tokens, sessions, a token for git, a signed header, each as it was in this very run."""
    word = "correct horse battery staple"
    with Daemon(ATL_SIGN_STORE="file") as daemon:
        assert daemon.request("POST", "/unlock", {"passphrase": "wrong one", "new_passphrase": word}).status >= 400
        assert daemon.request("POST", "/unlock", {"new_passphrase": word}).status == 200
        assert daemon.request("POST", "/unlock", {"passphrase": f"{word}r"}).status >= 400
        for product in ("jira", "bitbucket"):
            daemon.dance(own_sandbox, product)
        begun = daemon.request("POST", "/dance", {"link": "jira", "callback": "loopback"}).json
        described = f"protocol=http\nhost={own_sandbox.base_url('bitbucket').split('/')[2]}\n"
        given = daemon.request("POST", "/git-credential/get", described.encode(), headers={"Content-Type": "text/plain"})
        url = f"{own_sandbox.base_url('jira')}/rest/x"
        header = daemon.request("POST", "/sign", {"method": "GET", "url": url}).json["authorization"]
        daemon.request("POST", f"/dance/{begun['id']}", {"verifier": "abc123"})

        daemon.run_program("doctor", "--report", "report.json")
        text = (daemon.folder / "report.json").read_text() + log_of(daemon).parent.joinpath("audit.jsonl").read_text()
        daemon.stop()
        text += daemon.log.read_text()
        store = FileStore(daemon.folder / ".local/state/atl-sign/store")
        store.unlock(Passphrase(word.encode()), None)
        items = [store.read(name) for name in ("consumer-key", "token:jira", "token:bitbucket", "git:bitbucket")]

    secrets = {word, "wrong one", "abc123", begun["authorize_url"].partition("oauth_token=")[2]}
    secrets |= {line.partition("=")[2] for line in given.text.splitlines() if line.startswith("password=")}
    secrets |= set(re.findall(r'oauth_(?:token|nonce|signature)="([^"]+)"', header))
    for item in items:
        assert item is not None
        secrets |= set(re.findall(r"[A-Za-z0-9+/=_-]{24,}", item.value.reveal()))
    secrets |= secrets_of(own_sandbox, "jira") | secrets_of(own_sandbox, "bitbucket")
    assert len(secrets) > 40  # a private key has 26 lines
    shown = {secret for secret in secrets if secret and secret in text}
    assert {each.rpartition("-")[0] for each in shown} <= {f"consumer-{daemon.folder.name}"}  # the items name their consumer


def test_the_report_holds_no_secret_of_an_odd_configuration(jira: Daemon) -> None:
    """Passwords as people write them, where they do not belong: in proxies, variables and every part of the file."""
    with jira.config.open("a") as file:
        file.write(
            f'[links.a]\nurl = "https://ann:{CANARY}@wiki.example.com"\nconsumer_key = "x"\n'
            f'[links.b]\nurl = "https://b.example.com"\nproxy = "http://ann:{CANARY}@p:1"\nconsumer_key = "x"\n'
            f'[links.c]\nurl = "https://c.example.com"\nconsumer_key = "x"\npassword = "{CANARY}"\n'
            f'[links.d]\nurl = "https://d.example.com"\nconsumer_key = "x"\nca_bundle = "{CANARY}"\n'
            f'[links.e]\ntoken = "{CANARY}"\n'
            f'[store]\npassphrase = "{CANARY}"\n'
        )
    variables = {
        "http_proxy": f"ann:{CANARY}@127.0.0.1:9",
        "https_proxy": f"http://ann:p/{CANARY}@127.0.0.1:9",
        "HTTPS_PROXY": f"http://ann:p@{CANARY}@127.0.0.1:9",
        "all_proxy": f"http://ann:two {CANARY}@127.0.0.1:9",
        "no_proxy": "127.0.0.1",
        "ATL_SIGN_PASSPHRASE": CANARY,
    }

    shown, done = jira.run_program("doctor", **variables), jira.run_program("doctor", "--report", "report.json", **variables)
    text = (jira.folder / "report.json").read_text()

    with jira.config.open("a") as file:
        file.write(f"[links.f]\ntoken = {CANARY}\n")  # no TOML: no part of the file counts
    broken = jira.run_program("doctor", **variables)

    assert CANARY not in shown.stdout + shown.stderr + done.stdout + done.stderr + text + broken.stdout + broken.stderr
    assert json.loads(text)["environment"]["http_proxy"] == "…@127.0.0.1:9"
    assert "links.e" in shown.stdout
    assert re.search(r"config\.toml line \d+, file: ", broken.stdout)


def test_the_report_has_the_end_of_a_long_log(daemon: Daemon) -> None:
    """A line that was cut, and so shows only the end of a secret, is left out; what is no file has no messages."""
    programs = daemon.folder / "bin"
    programs.mkdir()
    (programs / "journalctl").symlink_to("/bin/true")  # a journal without messages
    path = f"{programs}:{daemon.environment['PATH']}"
    log = log_of(daemon)
    log.with_name("atl-signd.log.1").mkdir(parents=True)
    log.write_text(f"oauth_token={CANARY * 40_000}\n" + "".join(f"message {number}\n" for number in range(60)))

    daemon.run_program("doctor", "--report", "short.json", PATH=path)
    with log.open("a") as file:
        file.writelines(f"message {number}\n" for number in range(60, 150))
    daemon.run_program("doctor", "--report", "long.json", PATH=path)
    short, long = (json.loads((daemon.folder / name).read_text())["messages"] for name in ("short.json", "long.json"))

    assert short == [f"message {number}" for number in range(60)]
    assert long == [f"message {number}" for number in range(50, 150)]


def test_signals_that_the_caller_ignores_change_no_result(daemon: Daemon) -> None:
    """With SIGCHLD ignored, Python takes the status of each program for 0; the check `service` asks programs that fail."""
    command = ["env", "--ignore-signal", sys.executable, "-m", "atl_sign.commands.cli", "doctor", "--json"]

    done = subprocess.run(command, env=daemon.environment, cwd=daemon.folder, capture_output=True, text=True, timeout=100)

    results = {each["check"]: each["result"] for each in json.loads(done.stdout)["checks"]}
    assert results == {name: each["result"] for name, each in examine(daemon).items()}


def test_the_report_without_hosts(jira: Daemon) -> None:
    """Each host is the same number everywhere, and no path stands there; the file's name is made."""
    jira.request("PUT", "/links/wiki", {"url": "https://Wiki.example.com/confluence", "consumer_key": "x"})
    jira.request("POST", "/sign", {"method": "GET", "url": "https://wiki.example.com/confluence/secret-page"})

    proxies = {"https_proxy": "proxy.example.net:9", "no_proxy": "127.0.0.1,wiki.example.com,.corp.example.org,*.lab.example.org"}
    done = jira.run_program("doctor", "--report", "--redact", "--json", **proxies)
    path = jira.folder / json.loads(done.stdout)["report"]
    text = path.read_text()
    report = json.loads(text)

    assert "wiki.example.com" not in text.lower()
    assert "secret-page" not in text
    assert not re.search(r"example\.(?:net|org)", text)
    number = report["links"]["wiki"]["url"].removeprefix("https://").partition("/")[0]
    assert number.endswith(".invalid")
    assert any(each["link"] == "wiki" and number in each["cause"] for each in report["checks"] if each["check"] == "link.dns")
    assert any(each.get("host") == number for each in report["decisions"])
    assert socket.gethostname() not in text


def test_the_call_that_the_doctor_makes(jira: Daemon) -> None:
    """As JSON and as text; a link that is none; and the token of nobody is used up by it."""
    findings = jira.request("POST", "/links/jira/diagnosis").json["findings"]
    text = jira.request("POST", "/links/jira/diagnosis", text=True).text

    assert [(each["check"], each["result"], each["hint"]) for each in findings] == [(check, "ok", None) for check in GRANT_CHECKS]
    assert [line.split()[:2] for line in text.splitlines()] == [["ok", check] for check in GRANT_CHECKS]
    assert jira.request("POST", "/links/nobody/diagnosis").code == "unknown_link"
    assert jira.request("POST", "/links/jira/check").json["user"] == "alice"


def test_usage(daemon: Daemon) -> None:
    """`--redact` alone means nothing."""
    done = daemon.run_program("doctor", "--redact")

    assert done.returncode == 2
    assert "--redact goes with --report" in done.stderr

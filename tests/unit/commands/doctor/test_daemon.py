"""The doctor's checks of configuration, socket, daemon, service, environment and log: real files, sockets and programs."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from atl_sign import __version__
from atl_sign.access.audit import FileSink
from atl_sign.base import folders
from atl_sign.base.findings import GRANT_CHECKS, Finding
from atl_sign.commands.doctor import daemon as doctor_daemon
from atl_sign.commands.doctor.daemon import DaemonView, look_at_daemon, read_config
from atl_sign.commands.doctor.link import check_grant
from atl_sign.commands.doctor.service import check_environment, check_service
from atl_sign.config.settings import parse_settings
from atl_sign.schemes.registry import SCHEME_SETTINGS
from tests.lab import Daemon
from tests.unit.commands.doctor.test_machine import Programs, programs
from tests.unit.provider_lab import make_link

__all__ = ["programs"]  # a fixture

LINKS = '[links.jira]\nurl = "https://jira.example.com"\nconsumer_key = "tests"\n'
UNIT = (
    "Id=atl-signd.{kind}\nLoadState={load}\nActiveState={state}\nUnitFileState={file}\nResult={result}\n"
    "NeedDaemonReload={reload}\n"
)


# What the service's part of a loop adds, between two tries.
LOOP = UNIT.format(kind="socket", load="loaded", state="active", file="enabled", result="success", reload="no") + (
    "\nId=atl-signd.service\nLoadState=loaded\nActiveState=activating\nSubState=auto-restart\nNRestarts=9\nExecMainStatus=203\n"
)


def only(findings: list[Finding]) -> Finding:
    (finding,) = findings
    return finding


def look(environment: dict[str, str], text: str = LINKS) -> dict[str, Finding]:
    findings = look_at_daemon(environment, parse_settings(text, SCHEME_SETTINGS)).findings
    assert [finding.check for finding in findings] == ["socket", "daemon", "version", "memory", "store", "key", "audit"]
    return {finding.check: finding for finding in findings}


@contextmanager
def impostor(path: Path, answer: bytes | None) -> Iterator[None]:
    """Somebody at the daemon's socket who answers everybody with *answer*; None: who is silent."""
    path.parent.mkdir(mode=0o700, parents=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    path.chmod(0o600)
    listener.listen()

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(65_536)
                connection.sendall(answer or b"")

    thread = threading.Thread(target=serve)
    if answer is not None:
        thread.start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        if answer is not None:
            thread.join()


def http(body: str, status: int = 200) -> bytes:
    return f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home and a short path for sockets."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    tmp_path.chmod(0o700)
    return tmp_path


def test_config(home: Path) -> None:
    """Good, without links, open to others, broken, and unreadable."""
    environment = {"XDG_CONFIG_HOME": str(home)}
    path = home / "atl-sign/config.toml"
    path.parent.mkdir()
    assert only(read_config(environment)[2]).result == "warning"
    path.write_text(LINKS)
    path.chmod(0o600)
    assert only(read_config(environment)[2]).cause.startswith("1 link in ")
    path.chmod(0o622)
    assert only(read_config(environment)[2]).hint == f"chmod go-w {path}"
    path.chmod(0o600)
    path.write_text(LINKS + '[links.wiki]\nurl = "htps://x"\nconsumer_key = "x"\ncolour = 5\n')
    _, _, findings = read_config(environment)
    assert only(findings).result == "broken"
    assert "line 4, links.wiki" in only(findings).cause
    assert only(findings).hint == f"fix {path}"


def test_commands_are_quoted_for_a_shell(home: Path) -> None:
    """A folder with a blank and a quote: what is pasted does it."""
    folder = home / "Ann's files"
    path = folder / "atl-sign/config.toml"
    path.parent.mkdir(parents=True)
    path.write_text(LINKS)
    path.chmod(0o666)
    environment = {"XDG_CONFIG_HOME": str(folder), "ATL_SIGN_SOCK": str(folder / "s"), "XDG_STATE_HOME": str(folder)}
    folder.chmod(0o777)
    for hint in (only(read_config(environment)[2]).hint, look(environment)["socket"].hint):
        subprocess.run(["bash", "-c", str(hint)], check=True)
    (folder / "s").write_text("")
    subprocess.run(["bash", "-c", str(look(environment)["socket"].hint)], check=True)

    assert only(read_config(environment)[2]).result == "ok"
    assert look(environment)["socket"].result == "ok"
    assert (folder / "s.away").exists()


def test_a_real_daemon(daemon: Daemon) -> None:
    """Everything is told; a key that is missing counts when there are links."""
    found = look(daemon.environment)
    assert {name: finding.result for name, finding in found.items()} == {
        "socket": "ok",
        "daemon": "ok",
        "version": "ok",
        "memory": "ok",
        "store": "warning",
        "key": "broken",
        "audit": "ok",
    }
    assert look(daemon.environment, "")["key"].result == "warning"
    daemon.make_key()
    assert look(daemon.environment)["key"].cause.startswith("2048 bits, SHA256:")


def test_sockets(daemon: Daemon) -> None:
    """Modes that are too wide, in a folder that others may enter or write; something else in its place; a path too long."""
    assert daemon.process is not None
    daemon.socket.chmod(0o666)
    assert look(daemon.environment)["socket"].result == "warning"
    daemon.socket.parent.chmod(0o755)
    assert look(daemon.environment)["socket"].hint == f"chmod 600 {daemon.socket}"
    daemon.socket.parent.chmod(0o777)
    assert look(daemon.environment)["socket"].result == "broken"
    daemon.socket.parent.chmod(0o700)
    daemon.stop()
    assert "is made when the daemon starts" in look(daemon.environment)["socket"].cause
    daemon.socket.write_text("")
    assert look(daemon.environment)["socket"].cause.endswith("is not a socket")
    assert look({"ATL_SIGN_SOCK": "/x" * 100})["socket"].cause.startswith("the socket's path is over")
    assert look({"ATL_SIGN_SOCK": f"{daemon.folder}/none/s"})["socket"].result == "ok"
    (daemon.folder / "run").chmod(0o777)
    assert "others may rename" in look(daemon.environment)["socket"].cause


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_another_users_socket(daemon: Daemon) -> None:
    """Is not talked of as ours."""
    os.chown(daemon.socket, 65_534, 65_534)
    assert "belongs to another user" in look(daemon.environment)["socket"].cause
    os.chown(daemon.socket.parent, 65_534, 65_534)
    assert look(daemon.environment)["socket"].result == "broken"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_another_users_runtime_folder(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After `su`: it is ignored, which is reported with the command; nothing there is blamed, and the twin has no warning."""
    theirs, ours = home / "theirs", home / "0"
    theirs.mkdir(mode=0o700)
    os.chown(theirs, 65_534, 65_534)
    monkeypatch.setattr(folders, "RUNTIME_FOLDERS", home)
    monkeypatch.setenv("HOME", str(home))

    def causes(environment: dict[str, str]) -> list[tuple[str, str, str | None]]:
        findings = look_at_daemon(environment, parse_settings("", SCHEME_SETTINGS)).findings
        return [(each.check, each.cause, each.hint) for each in findings if each.check in ("socket", "daemon")]

    for used, hint in ((home / ".local/state", "unset XDG_RUNTIME_DIR"), (ours, f"export XDG_RUNTIME_DIR={ours}")):
        ignored, place, daemon = causes({"XDG_RUNTIME_DIR": str(theirs)})
        assert str(theirs) in ignored[1]
        assert ignored[2] == hint
        assert place == ("socket", f"{used}/atl-sign/agent.sock is made when the daemon starts", None)
        assert daemon[1] == f"no daemon runs: there is no {used}/atl-sign/agent.sock"
        ours.mkdir(exist_ok=True)
    assert [check for check, _, _ in causes({"XDG_RUNTIME_DIR": str(ours)})] == ["socket", "daemon"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")
def test_a_socket_in_another_users_folder(tmp_path: Path) -> None:
    """Which cannot be entered: nothing is said to listen there."""
    theirs = tmp_path / "theirs"
    theirs.mkdir(mode=0o700)
    code = (
        "import os, sys; from pathlib import Path\n"
        "from atl_sign.commands.daemon_call import NoAnswerError\n"
        "from atl_sign.commands.daemon_call import call_daemon\n"
        "from atl_sign.commands.doctor.socket import explain_silence\n"
        "os.setgroups([]); os.setgid(12345); os.setuid(12345)\n"
        "try: call_daemon(Path(sys.argv[1]), 'GET', '/status', 3)\n"
        "except NoAnswerError as exc: print(explain_silence({}, exc, Path(sys.argv[1]), 3).cause)\n"
    )
    path = theirs / "s"

    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)

    assert done.stdout == f"no daemon answers at {path}: permission denied\n"


def test_daemons_that_are_none(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Absent, dead, silent, foreign, failing."""
    monkeypatch.setattr(doctor_daemon, "CALL_S", 0.3)
    environment = {"ATL_SIGN_SOCK": str(home / "d/s")}
    path = home / "d/s"
    assert "there is no" in look(environment)["daemon"].cause
    with impostor(path, None):
        finding = look(environment)["daemon"]
        assert "does not answer within 0.3 s" in finding.cause
        assert str(finding.hint).startswith(f"kill {os.getpid()}; ")
    assert "which a dead one left" in look(environment)["daemon"].cause
    for number, (answer, words) in enumerate(
        {
            b"SSH-2.0\r\n\r\n": "is not atl-signd",
            http("[]"): "is not atl-signd",
            http("{}"): "says: it is not atl-signd",
            http('{"error": {"code": "internal", "message": "it failed"}}', 500): "says: it failed",
        }.items()
    ):
        other = home / f"{number}/s"
        with impostor(other, answer):
            found = look({"ATL_SIGN_SOCK": str(other)})
        assert words in found["daemon"].cause
        assert found["store"].result == "skipped"


def test_a_socket_that_systemd_has(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody accepts there: systemd knows why. The kernel names a daemon of the past, which is not to be killed."""
    monkeypatch.setattr(doctor_daemon, "CALL_S", 0.3)
    environment = {"XDG_RUNTIME_DIR": str(home / "run"), "XDG_CONFIG_HOME": str(home / "config")}
    unit = home / "config/systemd/user/atl-signd.socket"
    unit.parent.mkdir(parents=True)
    unit.touch()
    with impostor(home / "run/atl-sign/agent.sock", None):
        finding = look(environment)["daemon"]
        unit.unlink()
        other = look(environment)["daemon"]

    assert (finding.result, finding.hint) == ("broken", "atl-sign service status")
    assert "where systemd listens" in finding.cause
    assert str(other.hint).startswith("kill ")


@pytest.mark.parametrize(
    ("environment", "text", "result", "hint"),
    [
        ({"ATL_SIGN_STORE": "keychain"}, "", "broken", "unset ATL_SIGN_STORE, or "),
        ({}, '[store]\nbackend = "keychain"\n', "broken", "in config.toml name one of: secret-service"),
        ({"ATL_SIGN_STORE": "file"}, '[store]\nbackend = "keychain"\n', "skipped", ""),
        ({}, "", "skipped", ""),
    ],
)
def test_a_store_that_keeps_the_daemon_from_starting(
    home: Path, environment: dict[str, str], text: str, result: str, hint: str
) -> None:
    """Nobody answers who could tell of it: a name that is none; its twins are good names."""
    found = look({"ATL_SIGN_SOCK": str(home / "none"), **environment}, text)

    assert (found["daemon"].result, found["store"].result) == ("broken", result)
    assert hint in str(found["store"].hint)
    assert ("no store is called 'keychain'" in found["store"].cause) == (result == "broken")


def test_another_version(home: Path) -> None:
    """Told with what starts the daemon anew; and a daemon that knows no diagnosis is no fault of the link."""
    path = home / "d/s"
    status = '{"version": "0.0.9", "pid": 4711, "uptime_s": 1, "signatures": 0, "store": "file", "store_state": "locked"'
    answer = http(status + ', "audit": "off", "warnings": []}')
    with impostor(path, answer):
        found = look({"ATL_SIGN_SOCK": str(path)})
    assert (found["version"].result, found["audit"].result) == ("broken", "warning")
    assert f"the daemon that runs is 0.0.9, this program {__version__}" in found["version"].cause
    assert (found["store"].result, found["store"].hint) == ("broken", "atl-sign unlock")
    for number, (body, words, result) in enumerate(
        [
            ('{"error": {"code": "not_found", "message": "x"}}', "is of another version", "skipped"),
            ('{"error": {"code": "unknown_link", "message": "no link"}}', "no link", "broken"),
        ]
    ):
        other = home / f"{number}/s"
        with impostor(other, http(body, 404)):
            findings = check_grant(make_link("https://x.invalid"), other, 2)
        assert [finding.check for finding in findings] == list(GRANT_CHECKS)
        assert (findings[0].result, words in findings[0].cause) == (result, True)


def units(**changes: str) -> str:
    said = {"load": "loaded", "state": "active", "file": "enabled", "result": "success", "reload": "no", **changes}
    return UNIT.format(kind="socket", **said) + "\n" + UNIT.format(kind="service", **said)


@pytest.mark.parametrize(
    ("output", "result", "words"),
    [
        (units(), "ok", "atl-signd.socket is active"),
        (units(load="not-found"), "warning", "are not installed"),
        (units(state="failed", result="start-limit-hit"), "broken", "atl-signd.socket: start-limit-hit"),
        (units(state="inactive"), "broken", "atl-signd.socket is inactive"),
        (units(file="disabled"), "warning", "atl-signd.socket is disabled"),
        (units(file="linked"), "warning", "atl-signd.socket is linked: it is not there after login"),
        (units(reload="yes"), "warning", "changed since systemd read them"),
        (LOOP, "broken", "does not start: it ended with status 203, and systemd has restarted it 9 times"),
    ],
)
def test_service(programs: Programs, output: str, result: str, words: str) -> None:
    """As `systemctl --user show` tells."""
    programs.add("systemctl", output)

    finding = only(check_service(programs.environment))

    assert (finding.result, words in finding.cause) == (result, True)
    assert (finding.hint is None) == (result == "ok")


def test_a_manager_is_found_after_su(programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`su -` and `sudo -i` set no XDG_RUNTIME_DIR; with the folder it answers, as systemctl needs it, else there is none."""
    monkeypatch.setattr(folders, "RUNTIME_FOLDERS", tmp_path)
    folder = tmp_path / str(os.getuid())
    programs.add("systemctl", units())
    script = programs.folder / "systemctl"
    lines = script.read_text().splitlines(keepends=True)
    script.write_text(lines[0] + f'[ "$XDG_RUNTIME_DIR" = {folder} ] || exit 1\n' + "".join(lines[1:]))

    without = only(check_service(programs.environment))
    folder.mkdir()
    found = only(check_service(programs.environment))
    missing = only(check_service({**programs.environment, "XDG_RUNTIME_DIR": "/elsewhere"}))
    other = tmp_path / "other"
    other.mkdir()
    named = only(check_service({**programs.environment, "XDG_RUNTIME_DIR": str(other)}))

    assert (without.result, found.result, missing.result, named.result) == ("skipped", "ok", "ok", "skipped")


def test_without_a_user_manager_there_is_no_service(programs: Programs) -> None:
    """No systemctl, or one that cannot reach a manager."""
    assert only(check_service(programs.environment)).result == "skipped"
    programs.add("systemctl", "Failed to connect to bus", 1)
    assert only(check_service(programs.environment)).result == "skipped"


def test_the_environment_of_a_daemon(programs: Programs) -> None:
    """The same, or another; the commands are those that there are. `tests/daemon/test_doctor.py` asks a real daemon."""
    variables = {"https_proxy": "http://…@proxy.example.com:3128"}
    view = DaemonView(pid=4711, variables=variables)
    path = str(programs.folder)
    here = {"PATH": path, "no_proxy": "example.com"}

    same = only(check_environment({"PATH": path, "https_proxy": "http://ann:canary-7f3a9c@proxy.example.com:3128"}, view))
    other = only(check_environment(here, view))
    programs.add("systemctl", "PATH=/bin")
    managed = only(check_environment(here, view))

    assert same.result == "ok"
    assert other.result == "warning"
    assert "https_proxy is http://…@proxy.example.com:3128 there, not set here" in other.cause
    end = "kill 4711; the next command starts the daemon anew"
    assert other.hint == f"if this shell is right: {end}"
    commands = "systemctl --user import-environment no_proxy; systemctl --user unset-environment https_proxy"
    assert managed.hint == f"if this shell is right: {commands}; {end}"


def test_the_environment_of_a_user_manager(programs: Programs, tmp_path: Path) -> None:
    """When no daemon runs: what a service would have; its PATH too."""
    assert only(check_environment(programs.environment, DaemonView())).result == "skipped"
    programs.add("systemctl", f"PATH={programs.folder}\nXDG_CONFIG_HOME=/c")
    finding = only(check_environment({**programs.environment, "XDG_CONFIG_HOME": "/c"}, DaemonView()))
    assert (finding.result, "the user manager" in finding.cause) == ("ok", True)
    assert only(check_environment(programs.environment, DaemonView())).result == "warning"
    programs.add("atl-signd")
    programs.add("systemctl", "PATH=/nowhere\nXDG_CONFIG_HOME=/c")
    finding = only(check_environment({**programs.environment, "XDG_CONFIG_HOME": "/c"}, DaemonView()))
    assert "on this shell's PATH and not on the user manager's" in finding.cause


def test_the_audit_log(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Off, in the journal, in a file that others may read, on a full disk, and what the daemon has met."""
    environment = {"XDG_STATE_HOME": str(home / "state"), "ATL_SIGN_SOCK": str(home / "none")}

    def audit(text: str = "") -> Finding:
        return look(environment, text)["audit"]

    assert audit().result == "ok"
    assert audit('audit = "off"').result == "warning"
    path = home / "state/atl-sign/audit.jsonl"
    FileSink(path).write("{}")
    assert audit().result == "ok"
    path.chmod(0o644)
    assert audit().hint == f"chmod 600 {path}"
    path.chmod(0o600)
    is_writable: Callable[..., bool] = os.access
    monkeypatch.setattr(os, "access", lambda where, how: where != path and is_writable(where, how))  # root may always
    assert "cannot be written" in audit().cause
    monkeypatch.undo()
    monkeypatch.setattr(doctor_daemon, "ROOM_BYTES", 1 << 62)
    assert "no room left" in audit().cause
    failing = {
        "audit": "journal",
        "warning_details": [{"code": "audit_failing", "message": "the audit log cannot be written (journal): No such file"}],
    }
    assert doctor_daemon._check_audit(environment, failing).result == "broken"
    assert doctor_daemon._check_audit(environment, {"audit": "journal"}).result == "ok"

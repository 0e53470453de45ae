"""`atl-sign service`: against a systemctl that is played, and where there is none."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from atl_sign import __version__
from atl_sign.commands.service.files import ServiceError, format_drop_in
from atl_sign.commands.service.run import run_service
from tests.lab import Daemon, wait_for

UNITS = ("atl-signd.socket", "atl-signd.service")
# Plays the user manager: `enable --now` listens as systemd does and runs the drop-in's ExecStart line for who connects.
SYSTEMCTL = r"""#!/bin/bash
printf '%s\n' "$*" >>"$LAB/calls"
[[ $1 == --user ]] || exit 1
[[ ! -e $LAB/fail || "$*" != *"$(<"$LAB/fail")"* ]] || { echo "Failed: played" >&2; exit 1; }
units=$XDG_CONFIG_HOME/systemd/user
pid() { [[ -s $LAB/pid ]] && kill -0 "$(<"$LAB/pid")" 2>/dev/null; }
case $2 in
show-environment) cat "$LAB/manager-environment" 2>/dev/null; exit 0 ;;
enable)
	mkdir -p "$units/sockets.target.wants"
	ln -sf "$units/atl-signd.socket" "$units/sockets.target.wants/"
	if ! pid; then
		mkdir -p -m 700 "$XDG_RUNTIME_DIR/atl-sign"
		line=$(tail -n 1 "$units/atl-signd.service.d/atl-sign-command.conf")
		eval "command=(${line#ExecStart=})"
		names=(-E HOME -E PATH -E ATL_SIGN_STORE -E XDG_RUNTIME_DIR -E XDG_CONFIG_HOME -E LANG)
		for name in $(compgen -e | grep ^COV); do names+=(-E "$name"); done
		[[ ! -e $LAB/slow ]] || command=(bash -c 'sleep "$0"; exec "$@"' "$(<"$LAB/slow")" "${command[@]}")
		setsid systemd-socket-activate -l "$XDG_RUNTIME_DIR/atl-sign/agent.sock" "${names[@]}" "${command[@]}" \
			</dev/null >/dev/null 2>>"$LAB/manager.err" &
		echo $! >"$LAB/pid"
		until grep -q " 00010000 .* $XDG_RUNTIME_DIR/atl-sign/agent.sock" /proc/net/unix; do sleep 0.02; done # it listens
	fi
	;;
start) # as Type=notify: until it is ready
	[[ ! -e $LAB/slow ]] || curl -s -o /dev/null --unix-socket "$XDG_RUNTIME_DIR/atl-sign/agent.sock" --max-time 50 http://localhost/status
	;;
stop)
	if pid; then kill "$(<"$LAB/pid")"; while pid; do sleep 0.02; done; fi
	# systemd forgets a unit that is not linked any more, and with it to remove the socket.
	[[ ! -L $units/atl-signd.socket ]] || rm -f "$XDG_RUNTIME_DIR/atl-sign/agent.sock"
	rm -f "$LAB/pid"
	;;
disable)
	for link in "$units"/sockets.target.wants/atl-signd.socket "$units"/atl-signd.{socket,service}; do
		[[ ! -L $link ]] || rm "$link"
	done
	[[ "$*" != *--now* ]] || "$0" --user stop
	;;
show)
	[[ ! -e $LAB/shown || $* != *.service ]] || { cat "$LAB/shown"; exit 0; }
	if pid; then echo ActiveState=active; else echo ActiveState=inactive; fi
	if pid; then echo SubState=running; else echo SubState=dead; fi
	if [[ -L $units/sockets.target.wants/atl-signd.socket ]]; then echo UnitFileState=enabled; else echo UnitFileState=; fi
	if [[ -L $units/${!#} ]]; then echo "FragmentPath=$units/${!#}"; fi
	;;
esac
exit 0
"""


@pytest.fixture
def lab() -> Iterator[Daemon]:
    """A folder with a played systemctl; whatever was started in it is ended."""
    made = Daemon()
    commands = made.folder / "commands"
    commands.mkdir()
    (commands / "systemctl").write_text(SYSTEMCTL)
    (commands / "systemctl").chmod(0o755)
    made.environment |= {"PATH": f"{commands}:{made.environment['PATH']}", "LAB": str(made.folder)}
    yield made
    for name in ("pid", "run/atl-sign/agent.sock.lock"):
        path = made.folder / name
        text = path.read_text().strip() if path.exists() else ""
        if text and Path(f"/proc/{text}").exists():
            os.kill(int(text), signal.SIGTERM)
            wait_for(lambda text=text: not Path(f"/proc/{text}").exists())
    made.close()


def service(lab: Daemon, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["atl-signd", "service", *arguments], env=lab.environment, capture_output=True, text=True, timeout=60, check=False
    )


def calls(lab: Daemon) -> list[str]:
    """What systemctl was asked to do, without the questions; from now on counted anew."""
    path = lab.folder / "calls"
    lines = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return [line.removeprefix("--user ") for line in lines if " show" not in line]


def units_of(lab: Daemon) -> Path:
    return lab.folder / "config/systemd/user"


def everything_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


def test_install_links_enables_starts_and_proves(lab: Daemon) -> None:
    """The units of this environment, its own command, and a daemon that answers; a second time changes nothing."""
    done = service(lab, "install")

    assert (done.returncode, done.stderr) == (0, "")
    assert f"atl-signd {__version__} answers at {lab.socket}: pid " in done.stdout
    share = Path(sys.prefix) / "share/systemd/user"
    assert {name: (units_of(lab) / name).readlink() for name in UNITS} == {name: share / name for name in UNITS}
    drop_in = (units_of(lab) / "atl-signd.service.d/atl-sign-command.conf").read_text()
    assert drop_in.splitlines()[1:] == ["[Service]", "ExecStart=", f'ExecStart="{sys.prefix}/bin/atl-signd" serve']
    first = ["daemon-reload", "reset-failed atl-signd.socket atl-signd.service", "enable --now atl-signd.socket"]
    first.append("start atl-signd.service")
    assert calls(lab) == first

    pid = lab.request("GET", "/status").json["pid"]
    again = service(lab, "install")

    assert (again.returncode, again.stderr) == (0, "")
    assert calls(lab) == first
    assert lab.request("GET", "/status").json["pid"] == pid


def test_uninstall_leaves_no_trace(lab: Daemon) -> None:
    """Every file is as before, and nothing runs; a second time has nothing to do."""
    before = everything_in(lab.folder) | {"calls"}
    service(lab, "install")

    done = service(lab, "uninstall")

    assert (done.returncode, done.stderr) == (0, "")
    assert "removed the units" in done.stdout
    after = everything_in(lab.folder) - {"manager.err"}
    assert after | {"calls"} == before
    assert not lab.socket.parent.exists()
    ends = [each.partition(" atl-signd")[0] for each in calls(lab) if each.startswith(("stop", "disable"))]
    assert ends == ["stop", "disable"]
    again = service(lab, "uninstall")
    assert again.returncode == 0
    assert "there were no units" in again.stdout


def test_an_installation_elsewhere_is_replaced(lab: Daemon) -> None:
    """The links of an environment that is gone lead to this one after another install, and the daemon is restarted."""
    service(lab, "install")
    calls(lab)
    for name in UNITS:
        (units_of(lab) / name).unlink()
        (units_of(lab) / name).symlink_to(f"/nowhere/{name}")

    done = service(lab, "install")

    assert done.returncode == 0
    assert "try-restart atl-signd.service" in calls(lab)
    assert all((units_of(lab) / name).exists() for name in UNITS)


def test_a_unit_of_the_users_own_is_left_alone(lab: Daemon) -> None:
    """A file, not a link: neither replaced nor removed."""
    own = units_of(lab) / "atl-signd.service"
    own.parent.mkdir(parents=True)
    own.write_text("[Service]\n")

    done = service(lab, "install")

    assert done.returncode == 1
    assert "is a file of your own" in done.stderr
    service(lab, "uninstall")
    assert own.read_text() == "[Service]\n"


@pytest.mark.parametrize("failing", ["daemon-reload", "enable"])
def test_a_failed_install_leaves_nothing(lab: Daemon, failing: str) -> None:
    """systemd's own words, and no half-installed service."""
    (lab.folder / "fail").write_text(failing)

    done = service(lab, "install")

    assert done.returncode == 1
    assert f"systemctl --user {failing}" in done.stderr
    assert "failed: Failed: played" in done.stderr
    assert "hint: try it by hand: systemctl --user " in done.stderr
    if failing == "enable":
        assert not units_of(lab).exists() or everything_in(units_of(lab)) == set()


NO_COMMAND = """ActiveState=activating
SubState=auto-restart
Result=exit-code
NRestarts=57
ExecMainStatus=203
"""
BETWEEN = """ActiveState=activating
SubState=start
Result=success
NRestarts=57
ExecMainStatus=0
"""
SAID = """Starting atl-signd.service - atl-sign daemon...
atl-signd.service: Main process exited, code=exited, status=217/USER
atl-signd.service: Failed with result 'exit-code'.
"""
GAVE_UP = "ActiveState=failed\nSubState=failed\nResult=exit-code\nNRestarts=0\nExecMainStatus=78\n"
OWN_WORDS = """atl-signd: no store is called 'plaintext'
hint: name one of: file, memory
atl-signd.service: Main process exited, code=exited, status=78/CONFIG
"""


@pytest.mark.parametrize(
    ("shown", "said", "cause", "hint"),
    [
        (NO_COMMAND, None, "it ended with status 203, and systemd has restarted it 57 times", "its log says more: "),
        (NO_COMMAND, SAID.replace("217/USER", "203/EXEC"), "it ended with status 203/EXEC, and", "atl-sign service install"),
        (BETWEEN, None, "it ended before it was ready, and systemd has restarted it 57 times", "its log says more: "),
        (BETWEEN, SAID, "it ended with status 217/USER, and systemd has", "its log says more: journalctl --user -u atl-signd"),
        (GAVE_UP, OWN_WORDS, "no store is called 'plaintext'; it ended with status 78/CONFIG", "name one of: file, memory"),
    ],
)
def test_a_daemon_that_cannot_start_is_reported(lab: Daemon, shown: str, said: str | None, cause: str, hint: str) -> None:
    """`status` ends with 1 and says why, in a loop between two tries as well; an install fails so, and leaves nothing."""
    assert service(lab, "install").returncode == 0
    (lab.folder / "shown").write_text(shown)
    if said is not None:
        journalctl = lab.folder / "commands/journalctl"
        journalctl.write_text(f"#!/bin/sh\ncat <<'E'\n{said}E\n")
        journalctl.chmod(0o755)

    status = service(lab, "status")

    assert status.returncode == 1
    assert f"daemon: does not start: {cause}" in status.stdout
    assert f"hint: {hint}" in status.stdout
    (lab.folder / "shown").unlink()
    assert service(lab, "uninstall").returncode == 0
    (lab.folder / "shown").write_text(shown)
    (lab.folder / "fail").write_text("start atl-signd.service")
    failed = service(lab, "install")
    assert failed.returncode == 1
    assert f"the daemon does not start: {cause}" in failed.stderr
    assert ("systemctl --user cat atl-signd.service" if hint == "atl-sign service install" else hint) in failed.stderr
    assert everything_in(units_of(lab)) == set()
    assert not lab.socket.parent.exists()


@pytest.mark.parametrize("restarts", [0, 3])
def test_a_daemon_that_runs_is_not_reported(lab: Daemon, restarts: int) -> None:
    """The twin: one that is active, whatever happened before."""
    service(lab, "install")
    (lab.folder / "shown").write_text(f"ActiveState=active\nSubState=running\nNRestarts={restarts}\n")

    assert service(lab, "status").returncode == 0


def test_a_daemon_that_starts_for_the_first_time_is_waited_for(lab: Daemon) -> None:
    """It is starting, which is no fault."""
    service(lab, "install")
    (lab.folder / "shown").write_text("ActiveState=activating\nSubState=start\nNRestarts=0\n")

    status = service(lab, "status")

    assert (status.returncode, "daemon: is starting" in status.stdout) == (0, True)


@pytest.mark.slow
def test_install_waits_as_long_as_the_unit_allows(lab: Daemon) -> None:
    """A start of seventeen seconds, as on a busy machine: systemctl says when it is over."""
    (lab.folder / "slow").write_text("17")

    done = service(lab, "install")

    assert (done.returncode, done.stderr) == (0, "")


def test_an_upgrade_restarts_the_daemon(lab: Daemon) -> None:
    """The links are as they were, but what is behind them changed: a daemon in the old confinement must not stay."""
    service(lab, "install")
    calls(lab)
    (lab.folder / "shown").write_text("ActiveState=active\nSubState=running\nNeedDaemonReload=yes\n")
    status = service(lab, "status")
    assert (status.returncode, "hint: atl-sign service install" in status.stdout) == (1, True)

    assert service(lab, "install").returncode == 0

    assert "try-restart atl-signd.service" in calls(lab)


def test_a_daemon_by_hand_with_secrets_in_memory_is_not_ended(lab: Daemon) -> None:
    """They would go with it; once it has ended, the service is installed."""
    with lab:
        done = service(lab, "install")
        assert done.returncode == 1
        assert "secrets, which are only in memory" in done.stderr
        assert "hint: end it first: atl-sign stop" in done.stderr
        assert everything_in(units_of(lab)) == set()
        lab.stop()
        assert service(lab, "install").returncode == 0
        service(lab, "uninstall")


def test_a_daemon_by_hand_makes_room(lab: Daemon) -> None:
    """When its secrets are in a store: it is ended before systemd takes its place."""
    lab.environment["ATL_SIGN_STORE"] = "secret-service"  # which is not there, but keeps nothing in memory either
    lab.start()
    process = lab.process
    assert process is not None

    done = service(lab, "install")

    assert done.returncode == 0, done.stderr
    assert process.wait(20) == 0
    lab.process = None
    assert "warning: the store secret-service is unavailable" in done.stdout


def test_another_program_in_the_way_is_named(lab: Daemon) -> None:
    """It is no daemon, and not ours to end."""
    lab.socket.parent.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(lab.socket))
        other.listen()
        other.settimeout(20)
        running = subprocess.Popen(["atl-signd", "service", "install"], env=lab.environment, stderr=-1, stdout=-1, text=True)
        for _ in range(2):  # the look, and the question
            connection, _ = other.accept()
            connection.close()
        _, said = running.communicate(timeout=60)

    assert running.returncode == 1
    assert f"the process {os.getpid()} listens at {lab.socket} and is not a daemon of atl-sign" in said


def test_what_the_service_will_not_know_is_warned_of(lab: Daemon) -> None:
    """Variables of this shell that the user manager lacks, and a socket elsewhere; what it has is not warned of."""
    (lab.folder / "manager-environment").write_text("XDG_CONFIG_HOME=/c\n")
    lab.environment |= {"https_proxy": "http://proxy:1", "ATL_SIGN_SOCK": str(lab.folder / "other")}

    said = service(lab, "install").stdout

    assert "warning: the service does not know https_proxy of this shell" in said
    assert "the service does not know XDG_CONFIG_HOME" not in said
    assert "warning: ATL_SIGN_SOCK leads clients of this shell elsewhere" in said
    assert "the service does not know ATL_SIGN_STORE" in said


def test_status_tells_units_versions_and_what_to_do(lab: Daemon) -> None:
    """Before, during and after; as text and as JSON."""
    before = service(lab, "status")
    assert before.returncode == 1
    assert "installed: false" in before.stdout
    assert "hint: atl-sign service install" in before.stdout
    service(lab, "install")

    during = service(lab, "status", "--json")

    assert during.returncode == 0
    fields = json.loads(during.stdout)
    pid = lab.request("GET", "/status").json["pid"]
    assert fields == {
        "installed": True,
        "socket": "active (running), enabled",
        "service": "active (running)",
        "unit": str(units_of(lab) / "atl-signd.service"),
        "daemon": f"runs with pid {pid}",
        "version": __version__,
        "package": __version__,
        "hint": None,
    }


def test_without_systemd_autostart_is_there_instead(lab: Daemon) -> None:
    """It says so, installs nothing, and proves what there is; with autostart off that is an error."""
    (lab.folder / "fail").write_text("show-environment")
    off = service(lab, "install")
    assert off.returncode == 1
    assert "no systemd user manager answers here: Failed: played; and no daemon could be started" in off.stderr
    lab.environment["ATL_SIGN_AUTOSTART"] = "1"

    done = service(lab, "install")

    assert (done.returncode, done.stderr) == (0, "")
    assert "nothing was installed" in done.stdout
    assert f"atl-signd {__version__} answers at {lab.socket}" in done.stdout
    assert not units_of(lab).exists()
    status = service(lab, "status")
    assert status.returncode == 1
    assert "socket: no systemd user manager answers here" in status.stdout
    assert f"daemon: runs with pid {lab.request('GET', '/status').json['pid']}" in status.stdout
    assert service(lab, "uninstall").returncode == 0


def test_where_there_is_no_systemctl_at_all(lab: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    """As in most containers."""
    environment = {**lab.environment, "PATH": str(lab.folder)}

    assert run_service("status", environment) == 1

    assert "socket: there is no systemd here" in capsys.readouterr().out


@pytest.mark.parametrize("name", ['a"b', "a'b", "a\\b", "a\nb"])
def test_a_path_that_systemd_takes_for_no_command_is_refused(name: str) -> None:
    """Before anything is linked; `test_units` shows systemd a path with blanks, percent and dollar signs."""
    with pytest.raises(ServiceError, match="systemd takes no command of this name"):
        format_drop_in(Path("/opt") / name / "bin/atl-signd")


def test_an_environment_of_its_own_has_everything(tmp_path: Path) -> None:
    """An installation under another prefix, as pipx and uv tool make it, finds its own command and units by what was recorded."""
    site = tmp_path / "lib/python3.11/site-packages"
    shutil.copytree(Path(__file__).resolve().parents[2] / "daemon/atl_sign", site / "atl_sign")
    info = site / "atl_sign-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: atl-sign\nVersion: 0.1.0\n")
    names = ["bin/atl-signd", *(f"share/systemd/user/{name}" for name in UNITS)]
    (info / "RECORD").write_text("".join(f"../../../{name},,\n" for name in names))
    code = "from atl_sign.server.installed import find_command, find_units; print(find_command(), find_units())"
    command = [sys.executable, "-S", "-c", code]

    def ask() -> str:
        done = subprocess.run(command, env={"PYTHONPATH": str(site)}, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    missing = ask()
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()

    assert ask() == f"{tmp_path}/bin/atl-signd {tmp_path}/share/systemd/user"
    assert str(tmp_path) not in missing  # recorded, but not there

"""What the first caller's environment and limits were decides nothing for later callers of the daemon that it has started."""

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon.activation import end_autostarted, pid_in
from tests.keyring_lab import KeyringLab
from tests.lab import REPOSITORY, Daemon, wait_for

ATL_SIGN = REPOSITORY / "clients/bash/atl-sign"
NOBODY = 65_534


@pytest.fixture
def lab() -> Iterator[Daemon]:
    """A folder without a daemon, where clients may start one that keeps its secrets in a keyring."""
    made = Daemon(ATL_SIGN_AUTOSTART="1", ATL_SIGN_STORE="secret-service")
    yield made
    end_autostarted(made)


def atl_sign(lab: Daemon, *arguments: str, before: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command from a shell that has done *before*."""
    return subprocess.run(
        ["bash", "-c", f'{before}\nexec "$@"', "bash", str(ATL_SIGN), *arguments],
        # Python 3.11 would leave what it compiles in parts under a file size limit, and the next tests with them.
        env={**lab.environment, "PYTHONDONTWRITEBYTECODE": "1", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def daemon_pid(lab: Daemon) -> int:
    pid = pid_in(lab.socket.with_name("agent.sock.lock"))
    assert pid is not None
    return pid


# the session bus


@pytest.mark.parametrize("first", ["no bus", "a stale bus", "a bus without a keyring"])
def test_a_later_caller_brings_its_bus(lab: Daemon, first: str) -> None:
    """cron, `su`, a session that is over: the same daemon keeps its key in the keyring of those who have one."""
    with KeyringLab() as keyring, KeyringLab(unlocked=False, with_keyring=False) as empty:
        address = {"no bus": {}, "a stale bus": {"DBUS_SESSION_BUS_ADDRESS": "unix:path=/nonexistent/bus"}}.get(first, empty.env)
        without = atl_sign(lab, "key", "new", **address)
        assert without.returncode == 1
        assert "bus" in without.stderr
        pid = daemon_pid(lab)

        made = atl_sign(lab, "key", "new", **keyring.env)

        assert (made.returncode, made.stderr) == (0, "")
        assert daemon_pid(lab) == pid
        assert len(keyring.read("consumer-key")) == 1
        assert atl_sign(lab, "status", "--json").stdout.count('"ready"') == 1  # and it stays reached for those without a bus


def test_a_new_session_replaces_the_old_one(lab: Daemon) -> None:
    """After logging out and in again there is another bus, with the same keyring on it as far as the user can tell."""
    with KeyringLab() as old:
        assert atl_sign(lab, "key", **old.env).returncode == 1  # none yet
        pid = daemon_pid(lab)
    with KeyringLab() as new:
        made = atl_sign(lab, "key", "new", **new.env)

        assert (made.returncode, made.stderr) == (0, "")
        assert len(new.read("consumer-key")) == 1
        assert daemon_pid(lab) == pid


def test_the_runtime_folders_bus_needs_no_variable(lab: Daemon) -> None:
    """systemd puts it there, and neither cron nor `su -` tells of it."""
    with KeyringLab() as keyring:
        (lab.folder / "run/bus").symlink_to(keyring.home / "bus")

        made = atl_sign(lab, "key", "new")

        assert (made.returncode, made.stderr) == (0, "")
        assert len(keyring.read("consumer-key")) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run as another user")
def test_another_users_bus_gets_no_secret(lab: Daemon) -> None:
    """A bus that lets everybody in, of another user, whom `su` left in the environment."""
    with KeyringLab() as keyring:
        keyring.home.chmod(0o755)
        open_bus = Path(keyring.home / "open")
        config = (keyring.home / "bus.conf").read_text().replace(f"{keyring.home}/bus<", f"{open_bus}/bus<")
        config = config.replace("<policy", "<auth>ANONYMOUS</auth><auth>EXTERNAL</auth><allow_anonymous/><policy", 1)
        config = config.replace('<allow own="*"/>', '<allow own="*"/><allow user="*"/>')
        open_bus.mkdir()
        os.chown(open_bus, NOBODY, NOBODY)
        (keyring.home / "open.conf").write_text(config)
        command = ["setpriv", f"--reuid={NOBODY}", "--clear-groups", "dbus-daemon", f"--config-file={keyring.home}/open.conf"]
        foreign = subprocess.Popen([*command, "--nofork", "--nopidfile", "--print-address"], stdout=subprocess.PIPE, text=True)
        assert foreign.stdout is not None
        address = foreign.stdout.readline().strip()
        try:
            refused = atl_sign(lab, "key", "new", DBUS_SESSION_BUS_ADDRESS=address)
        finally:
            foreign.terminate()
            foreign.wait()
            foreign.stdout.close()

        assert address.startswith("unix:path=")
        assert "cannot be reached" in refused.stderr


# limits, priority, umask, signals, descriptors


@pytest.fixture
def memory() -> Iterator[Daemon]:
    """A folder without a daemon, where clients may start one that keeps its secrets in memory."""
    made = Daemon(ATL_SIGN_AUTOSTART="1")
    yield made
    end_autostarted(made)


def fields_of(pid: int) -> dict[str, str]:
    return dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)


def test_soft_limits_and_signals_of_the_caller_are_left_behind(memory: Daemon) -> None:
    """A small file size and stack, a CPU time, ignored and blocked signals; umask, folder and processors."""
    caller = (
        "ulimit -Sf 8; ulimit -St 100; ulimit -Sd 900000; ulimit -Ss 512; umask 000; cd /tmp; trap '' HUP TERM CHLD USR1\n"
        f'set -- {sys.executable} -c "import os, signal, sys; signal.pthread_sigmask(signal.SIG_BLOCK, {{signal.SIGTERM}});'
        " os.sched_setaffinity(0, {0}); os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0));"
        ' os.nice(0); os.execv(sys.argv[1], sys.argv[1:])" "$@"'
    )

    assert atl_sign(memory, "status", before=caller).returncode == 0

    pid = daemon_pid(memory)
    for limit in (resource.RLIMIT_FSIZE, resource.RLIMIT_CPU, resource.RLIMIT_DATA):
        assert resource.prlimit(pid, limit)[0] == resource.RLIM_INFINITY
    assert resource.prlimit(pid, resource.RLIMIT_STACK)[0] >= 8 << 20
    fields = fields_of(pid)
    assert fields["Umask"].strip() == "0077"
    assert int(fields["SigBlk"], 16) == 0
    ignored = {number for number in signal.valid_signals() if int(fields["SigIgn"], 16) >> (number - 1) & 1}
    assert ignored <= {signal.SIGPIPE, signal.SIGXFSZ, signal.SIGHUP}
    assert os.sched_getscheduler(pid) == os.SCHED_OTHER
    assert os.sched_getaffinity(pid) == os.sched_getaffinity(1) or len(os.sched_getaffinity(pid)) > 1 or os.cpu_count() == 1
    if os.geteuid() == 0:
        assert Path(f"/proc/{pid}/cwd").readlink() == Path("/")


def test_requests_go_on_being_recorded(memory: Daemon) -> None:
    """`ulimit -Sf 8` in the first caller ended the audit log after sixty requests, with a false reason."""
    memory.config.parent.mkdir(parents=True)
    memory.config.write_text('[links.jira]\nurl = "https://jira.example.com"\nconsumer_key = "me"\n')
    assert atl_sign(memory, "status", before="ulimit -Sf 8").returncode == 0
    for _ in range(80):
        assert (
            memory.request("POST", "/sign", {"method": "GET", "url": f"https://jira.example.com/{'x' * 200}"}).code
            == "key_missing"
        )

    assert memory.request("GET", "/status").json["warnings"] == []
    assert (memory.folder / ".local/state/atl-sign/audit.jsonl").stat().st_size > 8 << 10


def test_a_hard_limit_is_called_by_its_name(memory: Daemon) -> None:
    """It cannot be raised; the doctor reports it, and a line that does not fit is no full disk."""
    memory.config.parent.mkdir(parents=True)
    memory.config.write_text('[links.jira]\nurl = "https://jira.example.com"\nconsumer_key = "me"\n')
    assert atl_sign(memory, "status", before="ulimit -f 8").returncode == 0
    for _ in range(80):
        memory.request("POST", "/sign", {"method": "GET", "url": f"https://jira.example.com/{'x' * 200}"})

    (warning,) = memory.request("GET", "/status").json["warnings"]
    assert "file size limit of the daemon's process (ulimit -f)" in warning
    found = json.loads(atl_sign(memory, "doctor", "--json").stdout)["checks"]
    (daemon,) = (each for each in found if each["check"] == "daemon")
    assert (daemon["result"], "file size limit (ulimit -f)" in daemon["cause"]) == ("warning", True)
    assert daemon["hint"].startswith("atl-sign restart")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give up a capability of root's")
def test_a_nice_value_that_stays_is_reported(memory: Daemon) -> None:
    """Without CAP_SYS_NICE, as every user is, nobody can lower it, and the doctor reports it; root can."""
    before = 'set -- setpriv --bounding-set=-sys_nice nice -n 19 "$@"'
    assert atl_sign(memory, "status", before=before).returncode == 0

    pid = daemon_pid(memory)
    nice = min(19, os.getpriority(os.PRIO_PROCESS, 0) + 19)  # these tests may run with another one than 0
    assert os.getpriority(os.PRIO_PROCESS, pid) == nice
    (found,) = (each for each in json.loads(atl_sign(memory, "doctor", "--json").stdout)["checks"] if each["check"] == "daemon")
    assert (found["result"], f"started it: nice {nice}" in found["cause"]) == ("warning", True)
    os.kill(pid, signal.SIGTERM)
    wait_for(lambda: not memory.socket.exists())
    assert atl_sign(memory, "status", before='set -- nice -n 19 "$@"').returncode == 0
    assert os.getpriority(os.PRIO_PROCESS, daemon_pid(memory)) == 0


@pytest.mark.parametrize("umask", ["000", "777"])
def test_the_umask_of_the_caller_decides_no_mode(memory: Daemon, umask: str) -> None:
    """Every folder on the way gets 0700, the second daemon starts as well, and what was there stays as it was."""
    (memory.folder / ".local").mkdir(mode=0o755)
    (memory.folder / ".local").chmod(0o755)
    for _ in range(2):
        done = atl_sign(memory, "link", "add", "jira", "https://127.0.0.1:1/jira", before=f"umask {umask}")
        assert "could be started" not in done.stderr
        os.kill(daemon_pid(memory), signal.SIGTERM)
        wait_for(lambda: not memory.socket.exists())

    modes = {
        str(path.relative_to(memory.folder)): path.stat().st_mode & 0o777
        for folder in (".local", "run", "config")
        for path in (memory.folder / folder, *(memory.folder / folder).rglob("*"))
        if path.is_dir()
    }
    assert modes.pop(".local") == 0o755
    assert set(modes.values()) == {0o700}
    files = [path for path in memory.folder.rglob("*") if path.is_file() and path.name != "log"]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}


def test_a_daemon_started_by_hand_holds_no_descriptor_of_its_caller(memory: Daemon) -> None:
    """`atl-signd serve &` in a script with a lock on 9 and a pipe on 0: both are free while the daemon runs."""
    lock = memory.folder / "caller.lock"
    script = f'exec 9>"{lock}"; flock 9; atl-signd serve >/dev/null 2>&1 & echo $!'
    started = subprocess.run(
        ["bash", "-c", script], env=memory.environment, stdin=subprocess.PIPE, capture_output=True, text=True
    )
    wait_for(memory._answers)

    assert subprocess.run(["flock", "--nonblock", str(lock), "true"]).returncode == 0
    if os.geteuid() == 0:
        assert (Path(f"/proc/{started.stdout.strip()}/fd/0")).readlink() == Path("/dev/null")


def test_variables_of_the_caller_stay_with_it(memory: Daemon) -> None:
    """What would change the daemon's Python, its log or its unit's name; a proxy is passed on, as documented."""
    odd = {"PYTHONPATH": "/nowhere", "PYTHONWARNINGS": "error", "JOURNAL_STREAM": "8:1", "NOTIFY_SOCKET": "@x", "MINE": "1"}
    assert atl_sign(memory, "status", **odd, https_proxy="http://proxy.example:3128").returncode == 0

    names = {each.partition("=")[0] for each in Path(f"/proc/{daemon_pid(memory)}/environ").read_text().split("\0") if each}
    assert not names & odd.keys()
    assert {"HOME", "PATH", "https_proxy"} <= names


# another user's home, and folders that are closed


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run with a user's home")
@pytest.mark.parametrize("arguments", [("status",), ("key", "new"), ("service", "install"), ("log",), ("doctor",)])
@pytest.mark.parametrize("there", ["nothing", ".local/state/atl-sign"])
def test_root_with_a_users_home_leaves_nothing_there(memory: Daemon, arguments: tuple[str, ...], there: str) -> None:
    """`sudo` keeps HOME on some systems: the command says what to do, and the user's own daemon can start afterwards."""
    home = memory.folder / "home"
    (home / (there if there != "nothing" else "")).mkdir(parents=True)
    for path in (home, *home.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    for name in ("XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"):
        del memory.environment[name]
    if Path("/run/user/0").exists():
        pytest.skip("root has a runtime folder here")
    memory.environment["HOME"] = str(home)
    before = sorted(home.rglob("*"))

    done = atl_sign(memory, *arguments)

    assert sorted(home.rglob("*")) == before
    if arguments[0] in ("status", "key"):
        assert done.returncode == 3
        assert f"{home} belongs to another user" in done.stderr or "others may rename" in done.stderr
        assert "sudo -H" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can close a folder to another user")
@pytest.mark.parametrize("arguments", [("status",), ("service", "status"), ("service", "install"), ("doctor",)])
def test_a_folder_that_cannot_be_entered_is_named(memory: Daemon, arguments: tuple[str, ...]) -> None:
    """Another user's 0700 ~/.config, as `sudo` leaves it: no traceback, nothing to report, and the daemon starts."""
    config = memory.folder / ".config"
    config.mkdir(mode=0o700)
    os.chown(config, NOBODY, NOBODY)
    del memory.environment["XDG_CONFIG_HOME"]
    before = 'set -- setpriv --bounding-set=-dac_override,-dac_read_search "$@"'  # root is then closed out as a user is

    done = atl_sign(memory, *arguments, before=before)

    said = done.stdout + done.stderr
    assert "Traceback" not in said
    assert "please report" not in said
    if arguments[0] != "service":  # without a user manager it does not get as far as its folder
        assert f"the folder {config} cannot be entered" in said, said
    if arguments == ("status",):
        assert done.returncode == 0


def test_a_broken_python_is_named(memory: Daemon) -> None:
    """Its own last line comes through."""
    done = atl_sign(memory, "status", PYTHONHOME="/nonexistent")

    assert done.returncode == 3
    assert "none could be started: atl-signd failed: ModuleNotFoundError: No module named 'encodings'\n" in done.stderr
    assert "hint: see why: atl-signd autostart" in done.stderr

"""Clone, fetch and push through the helper, with the system's git and one that knows `authtype`."""

import os
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from atl_sign.sandbox import Sandbox, git_access
from tests.clients.git.conftest import ATL_SIGN, HELPER, Lab
from tests.lab import Daemon


def verdicts(lab: Lab) -> list[tuple[str, int]]:
    """How callers below /scm were known, and what they got."""
    return [(each.verdict, each.status) for each in lab.sandbox.state.requests if b"/scm/" in each.target]


def test_clone_fetch_and_push(lab: Lab) -> None:
    """With one token, by the scheme that this git knows best."""
    lab.works("clone", "-q", lab.url, "one")
    lab.works("clone", "-q", lab.url, "two")
    lab.commit("one")
    lab.works("-C", "one", "push", "-q", "origin", "main")
    lab.works("-C", "two", "fetch", "-q")

    heads = [lab.works("-C", folder, "rev-parse", "origin/main") for folder in ("one", "two")]
    assert heads[0] == heads[1]
    assert lab.count_made() == 1
    scheme = "bearer" if "2.39" not in lab.works("version") else "basic token"
    assert set(verdicts(lab)) == {("anonymous", 401), (scheme, 200)}


def test_two_at_once_make_one_token(lab: Lab) -> None:
    """Nobody waits for ever, and nobody is refused."""
    done: list[subprocess.CompletedProcess[str]] = []
    threads = [threading.Thread(target=lambda n=n: done.append(lab.git("clone", "-q", lab.url, f"c{n}"))) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert [each.returncode for each in done] == [0, 0, 0, 0], done
    assert lab.count_made() == 1


def test_revoked_at_the_provider(lab: Lab) -> None:
    """The command that meets the 401 fails, for git asks once; the next one works."""
    lab.works("clone", "-q", lab.url, "one")
    (token,) = lab.tokens()
    lab.sandbox.state.sites["bitbucket"].state.tokens.remove(token)

    assert lab.git("-C", "one", "fetch", "-q").returncode != 0
    lab.works("-C", "one", "fetch", "-q")
    assert len(lab.tokens()) == 1
    assert lab.count_made() == 2


def test_expired_at_the_provider(lab: Lab) -> None:
    """Earlier than it was said: as revoked, and what is left of it is cleared away."""
    lab.works("clone", "-q", lab.url, "one")
    (token,) = lab.tokens()
    token.expires_at = 1.0

    assert lab.git("-C", "one", "fetch", "-q").returncode != 0
    lab.works("-C", "one", "fetch", "-q")
    assert token not in lab.tokens()
    assert len(lab.tokens()) == 1


def test_a_link_for_reading_cannot_push(lab: Lab) -> None:
    """The provider refuses it, and the token is good for reading afterwards."""
    lab.works("clone", "-q", lab.url, "one")
    (wide,) = lab.tokens()
    done = lab.run(ATL_SIGN, "link", "show", "bitbucket")
    key = next(line.partition(": ")[2] for line in done.stdout.splitlines() if line.startswith("consumer_key"))
    assert (
        lab.run(ATL_SIGN, "link", "add", "bitbucket", lab.base, "--consumer-key", key, "--git", "read", "--replace").returncode
        == 0
    )
    lab.commit("one")

    refused = lab.git("-C", "one", "push", "-q", "origin", "main")

    assert refused.returncode != 0
    assert "403" in refused.stderr
    lab.works("-C", "one", "fetch", "-q")
    assert wide not in lab.tokens()
    assert [token.permissions for token in lab.tokens()] == [("REPO_READ",)]


def test_logout_revokes(lab: Lab) -> None:
    """And git is told what to do, in one line, without a question."""
    lab.works("clone", "-q", lab.url, "one")
    done = lab.run(ATL_SIGN, "logout", "bitbucket")
    assert "revoked the token for git" in done.stdout
    assert lab.tokens() == []

    refused = lab.git("-C", "one", "fetch", "-q")

    assert refused.returncode != 0
    assert "atl-sign: no access token for link bitbucket; hint: atl-sign dance bitbucket\n" in refused.stderr


def test_logout_can_leave_git_its_token(lab: Lab) -> None:
    """--keep-git-token."""
    lab.works("clone", "-q", lab.url, "one")
    assert "kept the token for git" in lab.run(ATL_SIGN, "logout", "bitbucket", "--keep-git-token").stdout

    lab.works("-C", "one", "fetch", "-q")
    assert len(lab.tokens()) == 1


def test_nothing_is_asked(lab: Lab) -> None:
    """Neither on the terminal nor by a program for passwords, whatever `credential.interactive` says."""
    marker = lab.home / "asked"
    askpass = lab.home / "askpass"
    askpass.write_text(f"#!/bin/sh\necho \"$@\" >>'{marker}'\necho canary\n")
    askpass.chmod(0o755)
    lab.daemon.request("DELETE", "/links/bitbucket/token")
    described = f"capability[]=authtype\n{describe(lab)}\n"
    for setting in ("true", "false"):
        lab.works("config", "--global", "credential.interactive", setting)
        lab.more = {"GIT_ASKPASS": str(askpass), "SSH_ASKPASS": str(askpass), "DISPLAY": ":0"}
        done = lab.run(HELPER, "--link", "bitbucket", "get", text=described)
        assert (done.returncode, done.stdout) == (0, "")
        assert done.stderr.count("\n") == 1
    assert not marker.exists()
    lab.daemon.dance(lab.sandbox, "bitbucket")
    lab.works("clone", "-q", lab.url, "one")
    assert not marker.exists()
    # The twin: where the helper has nothing to say, git itself asks.
    lab.works("config", "--global", "credential.interactive", "true")
    lab.git("ls-remote", lab.url.replace("127.0.0.1", "localhost"))
    assert marker.exists()


def describe(lab: Lab) -> str:
    return f"protocol=http\nhost={lab.base.split('/')[2]}"


def test_the_environment_names_a_link(lab: Lab) -> None:
    """`ATL_SIGN_LINK` counts for the helper without --link, which goes before it."""
    lab.more = {"ATL_SIGN_LINK": "other"}

    unnamed = lab.run(HELPER, "get", text=f"{describe(lab)}\n")
    named = lab.run(HELPER, "--link", "bitbucket", "get", text=f"{describe(lab)}\n")

    assert (unnamed.returncode, unnamed.stdout) == (0, "")
    assert "no application link is called other" in unnamed.stderr
    assert "password=" in named.stdout


def test_another_host_is_another_helpers(lab: Lab) -> None:
    """Its helpers are asked as before, and ours says nothing."""
    lab.works("config", "--global", "credential.helper", "!f() { echo username=other; echo password=theirs; }; f")
    foreign = lab.works("credential", "fill", text="protocol=https\nhost=git.example.com\n\n")
    assert "password=theirs" in foreign
    assert lab.fill().get("password") != "theirs"

    done = lab.run(HELPER, "get", text="protocol=https\nhost=git.example.com\n\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_token_is_given_to_no_other_helper(lab: Lab) -> None:
    """Which would write it into a file."""
    lab.works("config", "--global", "credential.helper", "store")
    again = lab.run(ATL_SIGN, "git", "setup", "bitbucket")  # what comes later in the file would be asked, too
    assert again.stdout.count("- ") == again.stdout.count("+ ") == 4

    lab.works("clone", "-q", lab.url, "one")

    secret = lab.tokens()[0].secret
    assert [path for path in lab.home.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()] == []
    assert lab.run(ATL_SIGN, "git", "setup", "bitbucket").stdout == ""
    assert lab.run(ATL_SIGN, "git", "remove", "bitbucket").stdout.count("- ") == 4
    assert lab.works("config", "--global", "--get-regexp", "credential") == "credential.helper store\n"


def test_whom_the_address_names(lab: Lab) -> None:
    """Alice gets her token; for bob there is none."""
    lab.works("clone", "-q", lab.url.replace("//", "//alice@"), "one")
    assert lab.git("clone", "-q", lab.url.replace("//", "//bob@"), "two").returncode != 0
    assert lab.count_made() == 1


def test_public_repositories_need_no_token(lab: Lab) -> None:
    """Nobody asks who one is."""
    lab.works("clone", "-q", f"{lab.base}/scm/pub/docs.git", "docs")

    assert lab.count_made() == 0


def test_two_bitbuckets_on_one_host(lab: Lab) -> None:
    """Told apart by the context path."""
    with Sandbox(["bitbucket"], context_path="/") as root:
        # One port, two context paths: the second is below the first here, as behind one proxy.
        lab.daemon.link(root, "bitbucket", "root")
        assert lab.run(ATL_SIGN, "git", "setup", "root").returncode == 0
        settings = (lab.home / ".gitconfig").read_text()
        assert settings.count("helper = atl-sign --link") == 2
        lab.works("clone", "-q", lab.url, "one")
        refused = lab.git("clone", "-q", f"{root.base_url('bitbucket')}/scm/web/shop.git", "two")

    assert "no access token for link root" in refused.stderr


def test_no_secret_in_arguments_or_environment(lab: Lab, tmp_path: Path) -> None:
    """Of git, the helper and curl, as every program of the user could see them; a stand-in for curl writes down its own."""
    trail = tmp_path / "trail"
    stand_in = tmp_path / "bin/curl"
    stand_in.parent.mkdir()
    stand_in.write_text(
        "#!/bin/bash\n"
        f"cat /proc/$$/cmdline /proc/$$/environ /proc/$PPID/cmdline /proc/$PPID/environ >>'{trail}'\n"
        'exec /usr/bin/curl "$@"\n'
    )
    stand_in.chmod(0o755)
    lab.more = {"PATH": f"{stand_in.parent}:{lab.environment['PATH']}"}
    lab.works("clone", "-q", lab.url, "one")
    first = lab.tokens()[0]
    lab.sandbox.state.sites["bitbucket"].state.tokens.remove(first)
    lab.git("-C", "one", "fetch", "-q")
    lab.works("-C", "one", "fetch", "-q")

    seen = trail.read_bytes()
    assert b"/git-credential/get" in seen
    assert b"/git-credential/erase" in seen
    for secret in (first.secret, lab.tokens()[0].secret):
        assert secret.encode() not in seen


def test_the_settings_are_written_once_and_taken_out(lab: Lab) -> None:
    """Exactly ours: a comment and another's setting in the file stay."""
    path = lab.home / ".gitconfig"
    before = "# mine\n[user]\n\tname = Ann\n"
    done = lab.run(ATL_SIGN, "git", "remove", "bitbucket")
    assert done.stdout == (
        f'- [credential "{lab.base}"]\n- \thelper =\n- \thelper = atl-sign --link bitbucket\n- \tuseHttpPath = true\n'
    )
    assert path.read_text() == ""
    path.write_text(before)
    done = lab.run(ATL_SIGN, "git", "setup", "bitbucket")
    assert done.stdout == (
        f'+ [credential "{lab.base}"]\n+ \thelper =\n+ \thelper = atl-sign --link bitbucket\n+ \tuseHttpPath = true\n'
    )
    written = path.read_text()
    again = lab.run(ATL_SIGN, "git", "setup", "bitbucket")
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "nothing to change in git's settings\n")
    assert path.read_text() == written
    lab.daemon.stop()
    assert lab.run(ATL_SIGN, "git", "remove", "bitbucket").returncode == 0
    assert path.read_text() == before
    assert lab.run(ATL_SIGN, "git", "remove", "bitbucket").stderr == "nothing to change in git's settings\n"


def test_capability(lab: Lab) -> None:
    """As `git credential-atl-sign capability`."""
    assert lab.works("credential-atl-sign", "capability") == "version 0\ncapability authtype\n"


def test_fill_approve_and_reject(lab: Lab) -> None:
    """`git credential`, which other programs use: reject drops the token, approve keeps nothing."""
    filled = lab.fill()
    assert filled["username"] == "alice"
    text = "".join(f"{name}={value}\n" for name, value in filled.items()) + "\n"
    lab.works("credential", "approve", text=text)
    assert lab.fill()["password"] == filled["password"]
    lab.works("credential", "reject", text=text)
    assert lab.fill()["password"] != filled["password"]


@pytest.mark.parametrize("git_program", ["system"], indirect=True)
@pytest.mark.parametrize(
    "trouble", ["no daemon", "a file", "too long", "silent", "half", "garbage", "another user's", "no curl", "odd link"]
)
def test_a_daemon_in_trouble(trouble: str, lab: Lab) -> None:
    """One line on standard error, nothing on standard output, status 0, and within the deadline."""
    sock = lab.daemon.folder / "other.sock"
    answers = {"half": b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\npassword=canary", "garbage": b"nonsense\r\n\r\n"}
    arguments: tuple[str, ...] = ("get",)
    listener = socket.socket(socket.AF_UNIX)
    if trouble == "a file":
        sock.touch()
    elif trouble == "too long":
        sock = sock.parent / ("x" * 120)
    elif trouble == "another user's":
        if os.geteuid() != 0:
            pytest.skip("only root can give a socket away")
        listener.bind(f"{sock}.theirs")
        os.chown(f"{sock}.theirs", 65_534, 65_534)
        sock.symlink_to(f"{sock}.theirs")
    elif trouble in ("silent", *answers):
        listener.bind(str(sock))
        listener.listen(4)
    elif trouble == "odd link":
        arguments = ("--link", "../x", "get")
        sock = lab.daemon.socket
    elif trouble == "no curl":
        sock = lab.daemon.socket
        commands = lab.home / "commands"
        commands.mkdir()
        (commands / "bash").symlink_to("/bin/bash")
        (commands / "env").symlink_to("/usr/bin/env")
        lab.more = {"PATH": str(commands)}
    program: object = HELPER
    if trouble == "silent":  # the deadline itself is too long for a test: a copy with a shorter one
        program = lab.home / "helper"
        Path(str(program)).write_text(HELPER.read_text().replace("WAIT_S=65 ", "WAIT_S=1 "))
        Path(str(program)).chmod(0o755)
    lab.more = {**lab.more, "ATL_SIGN_SOCK": str(sock)}

    def answer() -> None:
        peer, _ = listener.accept()
        with peer:
            peer.recv(65_536)
            peer.sendall(answers[trouble])

    thread = threading.Thread(target=answer) if trouble in answers else None
    if thread is not None:
        thread.start()
    done = lab.run(program, *arguments, text=describe(lab) + "\n\n")
    if thread is not None:
        thread.join(10)
    listener.close()

    assert done.returncode == 0
    assert done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if line.startswith("atl-sign: ")]
    assert len(lines) == 1, done.stderr
    assert "canary" not in done.stderr


def test_a_realm_that_is_not_utf_8(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A newer git passes the server's challenge on as it came: from a 401, from `git credential fill`, and by hand."""
    monkeypatch.setattr(git_access, "CHALLENGE", 'Basic realm="B\xfccher"')
    lab.works("clone", "-q", lab.url, "one")

    secret = lab.tokens()[0].secret.encode()
    asked = describe(lab).encode() + b'\npath=bitbucket/scm/web/shop.git\nwwwauth[]=Basic realm="B\xfccher"\n\n'
    for command in ([lab.git_program, "credential", "fill"], [str(HELPER), "--link", "bitbucket", "get"]):
        done = subprocess.run(
            command, cwd=lab.home, env=lab.environment, input=asked, capture_output=True, timeout=60, check=False
        )
        assert (done.returncode, done.stderr) == (0, b"")
        assert b"password=" + secret + b"\n" in done.stdout


def test_store_and_unknown_operations_need_no_daemon(daemon: Daemon) -> None:
    """They come after every success; nothing is said."""
    daemon.stop()
    for operation in ("store", "nonsense", ""):
        done = subprocess.run(
            [HELPER, operation], input="protocol=https\n", capture_output=True, text=True, env=daemon.environment, check=False
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

"""What the shells offer after `atl-sign`: real bash and zsh in a terminal, real fish, with curl's own completion and without."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from atl_sign.commands.table.handed_over import HANDED_OVER
from tests.clients.terminal import COMPLETION, Terminal, find_shell
from tests.fork_server import ForkServer
from tests.lab import REPOSITORY, Daemon, wait_for

pytestmark = pytest.mark.slow

SHELLS = ("bash", "zsh", "fish")
BASH_COMPLETION = Path("/usr/share/bash-completion/bash_completion")
ATL_SIGN = REPOSITORY / "clients/bash/atl-sign"
PATIENCE_S = 2.0  # how long a completion waits for the daemon
LINKS = """
[links.bamboo]
url = "https://bamboo.example.com"
consumer_key = "tests"

[links.jira]
url = "https://tools.example.com/jira"
consumer_key = "tests"
"""
COMMANDS = [
    "link",
    "key",
    "dance",
    "check",
    "token",
    "logout",
    "git",
    "header",
    "curl",
    "lease",
    "run",
    "status",
    "lock",
    "unlock",
    "store",
    "log",
    "why",
    "doctor",
    "help",
    "setup",
    "serve",
    "stop",
    "restart",
    "demo",
    "sandbox",
    "service",
]


ALIASES = {"login", "ls", "rm"}


@dataclass(frozen=True)
class Lab:
    """A home with files in it, a folder of commands, and the environment for both."""

    folder: Path
    environment: dict[str, str]

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def with_command(self, script: str, name: str = "atl-sign") -> "Lab":
        """The same, but *name* is this bash script."""
        commands = self.folder / f"commands-{abs(hash((name, script)))}"
        commands.mkdir(exist_ok=True)
        (commands / name).write_text(f"#!/bin/bash\n{script}\n")
        (commands / name).chmod(0o755)
        return Lab(self.folder, {**self.environment, "PATH": f"{commands}:{self.environment['PATH']}"})


@pytest.fixture(scope="module")
def lab(fork_server: ForkServer) -> Iterator[Lab]:
    """Links bamboo and jira, a home with the files report.txt and reply.json, and the completions where a wheel puts them."""
    with Daemon(fork_server) as daemon:
        daemon.config.parent.mkdir(parents=True, exist_ok=True)
        daemon.config.write_text(LINKS)
        home, share, commands = (daemon.folder / name for name in ("home", "share", "commands"))
        for folder in (home / "reports", commands, share / "bash-completion/completions", share / "fish/vendor_completions.d"):
            folder.mkdir(parents=True)
        (home / "report.txt").touch()
        (home / "reply.json").touch()
        (commands / "atl-sign").symlink_to(ATL_SIGN)
        (share / "bash-completion/completions/atl-sign").symlink_to(COMPLETION / "atl-sign.bash")
        (share / "fish/vendor_completions.d/atl-sign.fish").symlink_to(COMPLETION / "atl-sign.fish")
        environment = {name: value for name, value in daemon.environment.items() if not name.startswith("COV")} | {
            "PATH": f"{commands}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(home),
            "XDG_DATA_HOME": str(share),
            "XDG_CONFIG_HOME": str(home / ".config"),
            "XDG_DATA_DIRS": f"{share}:/usr/local/share:/usr/share",
            "TERM": "dumb",
            "HISTFILE": "/dev/null",
        }
        yield Lab(daemon.folder, environment)


def ask_bash(lab: Lab, line: str, *, curl_known: bool = True, keys: str = "\x1b*", setup: str = "") -> str:
    """
    Return the command line after *keys* were pressed at the end of *line*: M-* inserts all that TAB would list.

    Without curl's own completion the package bash-completion is not there either. *setup* is a command to run before.
    """
    with Terminal([find_shell("bash"), "--norc", "--noprofile", "-i"], lab.environment, lab.home) as terminal:
        terminal.type("PS1=; stty -echo cols 4000\n")
        if curl_known:
            assert BASH_COMPLETION.exists(), "bash-completion is not installed: make system-packages"
            terminal.type(f". {BASH_COMPLETION}\n")
        else:
            terminal.type(f". {COMPLETION}/atl-sign.bash\n")
        terminal.type(
            "show() { printf '<<%s>>\\n' \"$READLINE_LINE\"; }; bind -x '\"\\C-xp\": show'; bind 'set bell-style none'\n"
        )
        terminal.type("echo rea''dy\n")
        terminal.read_until("ready")
        terminal.type(f"{line}{keys}\x18p")
        shown = terminal.read_until("^(.*?)<<(.*?)>>")
        assert not shown[1].strip("\r\n\a"), "something was printed beside the line"
        return shown[2]


def ask_zsh(lab: Lab, line: str, *, curl_known: bool = True) -> str:
    """Return the command line after TAB, with all matches put in."""
    with Terminal([find_shell("zsh"), "-fi"], lab.environment, lab.home) as terminal:
        terminal.type("PS1=; stty -echo cols 4000; unsetopt prompt_cr prompt_sp beep; unset zle_bracketed_paste\n")
        terminal.type(f"fpath=({COMPLETION} $fpath); autoload -Uz compinit; compinit -u -D\n")
        if not curl_known:
            terminal.type("unset '_comps[curl]'\n")
        terminal.type("zstyle ':completion:*' completer _all_matches _complete; zstyle ':completion:*' insert true\n")
        terminal.type(
            "show() { print -r -- \"<<$BUFFER>>\" }; zle -N show; bindkey -e; bindkey '^Xp' show; bindkey '^I' complete-word\n"
        )
        terminal.type("echo rea''dy\n")
        terminal.read_until("ready")
        terminal.type(f"{line}\t\x18p")
        return terminal.read_until("<<([^\n]*?)>>")[1]


def ask_fish(lab: Lab, line: str, *, curl_known: bool = True) -> str:
    """Return *line* with the last word replaced by all that `complete -C` offers."""
    own = lab.home / ".config/fish/completions/curl.fish"
    own.parent.mkdir(parents=True, exist_ok=True)
    own.unlink(missing_ok=True)
    if not curl_known:
        own.touch()  # before fish's own one
    done = subprocess.run(
        [find_shell("fish"), "-c", f"complete -C '{line}'"],
        env=lab.environment,
        cwd=lab.home,
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert done.stderr == ""
    before, _, typed = line.rpartition(" ")
    # Where nothing goes on from what was typed, fish offers what has those letters anywhere, in the description too.
    words = [word for word in (each.partition("\t")[0] for each in done.stdout.splitlines()) if word.startswith(typed)]
    return f"{before} {' '.join(words)}" if words else line


ASK: dict[str, Callable[..., str]] = {"bash": ask_bash, "zsh": ask_zsh, "fish": ask_fish}


def offered(shell: str, lab: Lab, line: str, *, curl_known: bool = True) -> set[str]:
    """The words that *shell* offers for the last word of *line*; none when it leaves the line as it is."""
    answer = ASK[shell](lab, line, curl_known=curl_known)
    if answer == line:
        return set()
    before = line[: line.rfind(" ") + 1]
    assert answer.startswith(before)
    return {word.rstrip("=/") for word in answer[len(before) :].split()}


def options_of(command: str) -> set[str]:
    """The long options that the help of one of our commands names."""
    is_daemons = command in ("log", "doctor", "setup", "serve", "stop", "restart", "demo", "sandbox", "service")
    line = [sys.executable, "-m", "atl_sign.commands.cli", command, "--help"] if is_daemons else [str(ATL_SIGN), "help", command]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    text = subprocess.run(line, env=environment, capture_output=True, text=True, check=True).stdout
    return set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", text))


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("atl-sign link ", {"add", "list", "show", "remove", "setup", "secret", "default"}),
        ("atl-sign li", {"link"}),
        ("atl-sign service ", {"install", "uninstall", "status"}),
        ("atl-sign link show ", {"bamboo", "jira"}),
        ("atl-sign --json link setup j", {"jira"}),
        ("atl-sign dance --oob ", {"bamboo", "jira"}),
        ("atl-sign check b", {"bamboo"}),
        ("atl-sign rm ", {"bamboo", "jira"}),
        ("atl-sign --json login j", {"jira"}),
        ("atl-sign logout ", {"bamboo", "jira"}),
        ("atl-sign git ", {"setup", "remove"}),
        ("atl-sign git setup ", {"bamboo", "jira"}),
        ("atl-sign setup ", {"bamboo", "jira"}),
        ("atl-sign git remove j", {"jira"}),
        ("atl-sign link add --git ", {"read", "write"}),
        ("atl-sign header GET --link ", {"bamboo", "jira"}),
        ("atl-sign header GET --link=j", {"--link=jira"}),
        ("atl-sign header GET h", {"https://bamboo.example.com", "https://tools.example.com/jira"}),
        ("atl-sign header GET https://b", {"https://bamboo.example.com"}),
        ("atl-sign header --form @repo", {"@report.txt", "@reports"}),
        ("atl-sign link add --ca-bundle rep", {"reply.json", "report.txt", "reports"}),
        ("atl-sign link add --client-cert=repl", {"--client-cert=reply.json"}),
        ("atl-sign key ", {"new", "use", "import-to"}),
        ("atl-sign key new --bits ", {"2048", "3072", "4096"}),
        ("atl-sign help d", {"dance", "demo", "doctor"}),
        ("atl-sign doctor b", {"bamboo"}),
        ("atl-sign lease ", {"new", "list", "show", "change", "suspend", "resume", "revoke", "log", "check", "presets"}),
        ("atl-sign lease new --link ", {"bamboo", "jira"}),
        ("atl-sign lease new --peers ", {"own", "any"}),
        ("atl-sign run --link=j", {"--link=jira"}),
        ("atl-sign run --allow jira:c", {"jira:comment"}),
        ("atl-sign lease check --link ", {"bamboo", "jira"}),
        ("atl-sign lease check --allow re", {"read"}),
        ("atl-sign lease check --allow=re", {"--allow=read"}),
        (
            "atl-sign lease check --allow read --deny bitbucket:r",
            {"bitbucket:review"},
        ),
        ("atl-sign lease presets jira:c", {"jira:comment"}),
        ("atl-sign store move k", {"keyring:"}),
        ("atl-sign sandbox --product b", {"bamboo", "bitbucket"}),
    ],
)
def test_words(lab: Lab, shell: str, line: str, words: set[str]) -> None:
    """Commands, verbs, values, links, addresses and files, each where it belongs."""
    assert offered(shell, lab, line) == words


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    "line",
    [
        "atl-sign nonsense ",
        "atl-sign nonsense --",
        "atl-sign link list b",
        "atl-sign link show bamboo j",
        "atl-sign ls b",
        "atl-sign rm bamboo j",
        "atl-sign check x",
        "atl-sign git x",
        "atl-sign git setup bamboo j",
        "atl-sign header --link=x",
        "atl-sign header --form rep",
        "atl-sign link add --timeout b",
        "atl-sign key --bits",
        "atl-sign link show --r",
        "atl-sign lease show ",
        "atl-sign run nosuchprogram --",
    ],
)
def test_nothing_where_nothing_belongs(lab: Lab, shell: str, line: str) -> None:
    """The twin: no name, option or file where the command takes none."""
    assert offered(shell, lab, line) == set()


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("verb", ["new", "change", "revoke", "log", "check"])
def test_every_option_of_a_verb_is_offered(lab: Lab, shell: str, verb: str) -> None:
    """And none of another verb's."""
    (form,) = (form for form in HANDED_OVER["lease"].forms if form.verb == verb)

    expected = {"--help", "--json", *(option.name for option in form.options)}
    assert offered(shell, lab, f"atl-sign lease {verb} --") == expected


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("atl-sign lease show ", {"0a1b2c3d", "0d9e8f7a", "agent"}),
        ("atl-sign lease revoke agent 0", {"0a1b2c3d", "0d9e8f7a"}),
        ("atl-sign log --lease a", {"agent"}),
        ("atl-sign lease new a", set()),
    ],
)
def test_leases_are_offered_by_id_and_name(lab: Lab, shell: str, line: str, words: set[str]) -> None:
    """The heads of the table are not taken for a lease, nor the dash of one without a name."""
    script = """[[ $1 == lease ]] || exit
    printf 'ID        NAME   STATE      UNTIL\\n0a1b2c3d  agent  open       x\\n0d9e8f7a  -      suspended  x\\n'"""

    assert offered(shell, lab.with_command(script), line) == words


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("line", "words"),
    [("atl-sign run nosuchprogr", {"nosuchprogram"}), ("atl-sign run --sign nosuchprogr", {"nosuchprogram"})],
)
def test_programs_are_offered(lab: Lab, shell: str, line: str, words: set[str]) -> None:
    """Those on PATH, where `run` takes one."""
    assert offered(shell, lab.with_command("exit", "nosuchprogram"), line) == words


@pytest.mark.parametrize("shell", SHELLS)
def test_every_command_is_offered(lab: Lab, shell: str) -> None:
    """And no other."""
    words = offered(shell, lab, "atl-sign ")

    assert {word for word in words if not word.startswith("-")} == {*COMMANDS, *ALIASES}


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("link add", "link"),
        ("rm", "check"),  # an alias of `link remove`, which takes what `check` takes
        ("login", "dance"),
        ("key new", "key"),
        ("store move", "store"),
        ("token make", "token"),
        ("service status", "service"),
        *((name, name) for name in COMMANDS if name not in ("link", "key", "store", "token", "service", "lease", "curl", "help")),
    ],
)
def test_every_option_is_offered(lab: Lab, shell: str, line: str, command: str) -> None:
    """Those that the command's help names, and no other."""
    from_bash = command in (
        *("link", "key", "dance", "check", "token", "logout", "git", "header", "status"),
        *("lock", "unlock", "store"),
    )

    expected = options_of(command) | {"--help"} | ({"--json"} if from_bash else set())
    assert offered(shell, lab, f"atl-sign {line} --") == expected


@pytest.mark.parametrize("curl_known", [True, False], ids=["curl-known", "curl-unknown"])
@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("atl-sign curl --data-u", {"--data-urlencode"}),
        ("atl-sign curl --link jira -sS --retry-d", {"--retry-delay"}),
        ("atl-sign curl --lin", {"--link"}),
        ("atl-sign curl --dry", {"--dry-run"}),
        ("atl-sign curl --link ", {"bamboo", "jira"}),
        ("atl-sign curl --link=b", {"--link=bamboo"}),
        ("atl-sign curl --dry-run --link j", {"jira"}),
        ("atl-sign curl --link=jira -o repl", {"reply.json"}),
        ("atl-sign curl -sS --output repl", {"reply.json"}),
        ("atl-sign curl -d @repl", {"@reply.json"}),
        ("atl-sign curl -s https://t", {"https://tools.example.com/jira"}),
    ],
)
def test_the_line_of_curl(lab: Lab, shell: str, line: str, words: set[str], curl_known: bool) -> None:
    """Ours first, then curl's own options and files, whether or not the shell knows curl."""
    assert offered(shell, lab, line, curl_known=curl_known) == words


@pytest.mark.parametrize("curl_known", [True, False], ids=["curl-known", "curl-unknown"])
@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    "line", ["atl-sign curl -s --lin", "atl-sign curl -s --dry", "atl-sign curl --nonsense", "atl-sign curl --link x"]
)
def test_nothing_that_curl_does_not_take(lab: Lab, shell: str, line: str, curl_known: bool) -> None:
    """The twin: ours are not curl's, so that they must come first."""
    assert offered(shell, lab, line, curl_known=curl_known) == set()


@pytest.mark.parametrize("shell", SHELLS)
def test_what_curl_knows_comes_from_its_own_completion(lab: Lab, shell: str) -> None:
    """A value that `curl --help all` does not tell; the twin is in a shell that does not know curl."""
    line, word = {
        "bash": ("atl-sign curl --link=jira --delegation po", "policy"),
        "zsh": ("atl-sign curl --link=jira -X PO", "POST"),
        "fish": ("atl-sign curl --link=jira -X PO", "POST"),
    }[shell]

    assert offered(shell, lab, line) == {word}
    assert offered(shell, lab, line, curl_known=False) == set()


@pytest.mark.parametrize("curl_known", [True, False], ids=["curl-known", "curl-unknown"])
@pytest.mark.parametrize("shell", SHELLS)
def test_the_installed_curl_has_the_word(lab: Lab, shell: str, curl_known: bool) -> None:
    """An option of a newer curl is offered as soon as that curl is there, in the shells whose tables are older than it."""
    newer = lab.with_command("printf '%s\\n' '     --quite-new <thing> Of tomorrow' ' -y, --yes-new      Flag'", "curl")

    words = offered(shell, newer, "atl-sign curl -s --quite", curl_known=curl_known)

    assert words == (set() if shell == "zsh" and curl_known else {"--quite-new"})


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("line", ["atl-sign check ", "atl-sign header --link ", "atl-sign header GET ", "atl-sign curl --link "])
def test_no_daemon_offers_nothing_and_says_nothing(lab: Lab, shell: str, line: str) -> None:
    """What `link list` says on standard error stays out of the line that is being typed."""
    gone = Lab(lab.folder, {**lab.environment, "ATL_SIGN_SOCK": str(lab.folder / "nothing")})

    assert offered(shell, gone, line) == set()


@pytest.mark.parametrize("shell", SHELLS)
def test_warnings_are_no_links(lab: Lab, shell: str) -> None:
    """A daemon with a broken file says so under its list."""
    warned = lab.with_command(
        "echo 'wiki  https://wiki.example.com  none'; echo 'warning: config.toml line 1: x'; echo 'hint: y' >&2"
    )

    assert offered(shell, warned, "atl-sign check ") == {"wiki"}


@pytest.mark.parametrize("shell", SHELLS)
def test_a_daemon_that_hangs_holds_nobody_up(lab: Lab, shell: str) -> None:
    """The names that came in time are not lost, and the process that waits is ended."""
    pid = lab.folder / f"pid-{shell}"
    hanging = lab.with_command(f"echo $$ >{pid}; echo 'wiki  https://wiki.example.com  none'; exec sleep 600")

    begun = time.monotonic()
    words = offered(shell, hanging, "atl-sign check ")

    assert words == {"wiki"}
    assert time.monotonic() - begun < PATIENCE_S + 5  # the shell's start is in it
    command = Path(f"/proc/{pid.read_text().strip()}/cmdline")
    wait_for(lambda: not command.exists() or not command.read_bytes())  # empty: ended, and its parent has not asked yet


@pytest.mark.parametrize(
    ("setup", "line", "answer"),
    [
        ("COMP_WORDBREAKS=' '", "atl-sign header GET --link=j", "atl-sign header GET --link=jira "),
        ("COMP_WORDBREAKS=' '", "atl-sign curl --link=j", "atl-sign curl --link=jira "),
        ("COMP_WORDBREAKS=' '", "atl-sign curl https://t", "atl-sign curl https://tools.example.com/jira"),
        ("IFS=:", "atl-sign curl -s --data-u", "atl-sign curl -s --data-urlencode "),
        ("set -u", "atl-sign link ad", "atl-sign link add "),
        ("set -u", "atl-sign check b", "atl-sign check bamboo "),
        ("", 'atl-sign check "j', 'atl-sign check "jira" '),
        ("", 'atl-sign check "x', 'atl-sign check "x'),
    ],
)
def test_a_bash_that_is_set_up_otherwise(lab: Lab, setup: str, line: str, answer: str) -> None:
    """Words that end at blanks alone, another IFS, a strict shell; and an opening quote."""
    assert ask_bash(lab, line, keys="\t", curl_known=False, setup=setup) == answer


def test_one_candidate_is_put_into_the_line(lab: Lab) -> None:
    """By TAB in bash, which puts the answer in the place of the part behind `:` or `=` alone."""
    assert ask_bash(lab, "atl-sign header GET --link=j", keys="\t") == "atl-sign header GET --link=jira "
    assert ask_bash(lab, "atl-sign header GET https://b", keys="\t") == "atl-sign header GET https://bamboo.example.com"
    assert ask_bash(lab, "atl-sign header --form @repl", keys="\t") == "atl-sign header --form @reply.json "
    assert ask_bash(lab, "atl-sign check x", keys="\t") == "atl-sign check x"


def test_other_programs_of_the_name(lab: Lab) -> None:
    """bash asks the program that was typed, by its path with ~ too, as long as it is there."""
    other = lab.home / "other"
    other.mkdir(exist_ok=True)
    (other / "atl-sign").write_text("#!/bin/bash\necho 'mine  https://mine.example.com  none'\n")
    (other / "atl-sign").chmod(0o755)

    assert offered("bash", lab, "~/other/atl-sign check ", curl_known=False) == {"mine"}
    assert offered("bash", lab, "~/nowhere/atl-sign check ", curl_known=False) == {"bamboo", "jira"}

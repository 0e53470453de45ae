"""
The parts of `docs/` that come from the program: `openapi.json`, the table of settings, and the answers below the examples.

`python -m tests.tools.write_docs` writes them anew; `tests/test_docs.py` compares.
"""

import json
import re
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from fastapi import FastAPI

from atl_sign.agent.build import make_agent
from atl_sign.api.app import make_app
from atl_sign.config.file import ConfigFile
from atl_sign.config.setting import Setting
from atl_sign.custody.safe import Safe
from atl_sign.custody.stores.memory import MemoryStore
from atl_sign.grants.dances import Dances
from atl_sign.sandbox import Sandbox
from atl_sign.schemes.registry import LINK_SETTINGS, SCHEME_SETTINGS
from tests.audit_lab import make_audit
from tests.lab import DEADLINE_S, REPOSITORY, Daemon

DOCS = REPOSITORY / "docs"
OPENAPI = DOCS / "openapi.json"
# On the pages stand these instead of what a run happens to have.
ORIGIN, USER, MACHINE = "http://127.0.0.1:8700", "ann", "desk"
BEHIND_PROXY = "http://wiki-backend.example.com:8090"

_SETTINGS = re.compile(r"^\| setting \| option \| needed (.|\n)*?(?=\n\n)", re.M)
_CONSOLE = re.compile(r"(?<=^```console\n).*?(?=^```$)", re.M | re.S)
# A block with a title is the file of that name, for the commands of its page.
_TITLED = re.compile(r'^```\w+ title="([\w.-]+)"\n(.*?)^```$', re.M | re.S)
_DANCE_ID = re.compile(r'^(?: *"id": "|id: )([\w-]+)', re.M)
_SIGN_SOCKET = re.compile(r'^ *"sign": "([^"]+)"', re.M)
_AUTHORIZE_URL = re.compile(r'http://[^\s"]+/oauth/authorize\?oauth_token=[^\s"]+')
# What differs from run to run; what is compared is that it is there.
_VARYING = re.compile(
    r"(?<=oauth_nonce=)\W*\w+|(?<=oauth_timestamp=)\W*\d+|(?<=oauth_token=)\W*\w+|(?<=oauth_signature=)\W*[\w%]+"
    r'|(?<="id": ")[\w-]+|(?<=^id: )[\w-]+|(?<="pid": )\d+|(?<=^pid: )\d+|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ'
    r"|(?<=^redirect_url: http://127.0.0.1:)\d+/callback/[\w-]+"
    r'|(?<="uptime_s": )\d+|(?<=^uptime_s: )\d+'
    r'|(?<="clock_offset_s": )-?[\d.]+|(?<=^clock_offset_s: )-?[\d.]+'
    r"|(?<=/leases/)[0-9a-f]{8}(?:/[0-9a-f]{8})?|^[0-9a-f]{8}(?=  )|(?<=^parent: )[0-9a-f]{8}"
    r'|(?<="ATL_SIGN_LEASE": ")[0-9a-f]{8}|(?<=^ATL_SIGN_LEASE: )[0-9a-f]{8}|(?<=ATL_SIGN_LEASE=)[0-9a-f]{8}'
    r"|(?<=^revoked )[0-9a-f]{8}|^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d|[\w.]+\[\d+\]"
    r"|(?<=lease )[0-9a-f]{8}|(?<=lease show )[0-9a-f]{8}|(?<=lease resume )[0-9a-f]{8}"
    r'|(?<=  until )\d{4}-\d\d-\d\d \d\d:\d\d:\d\d|(?<="expires_in_s": )\d+|(?<=^expires_in_s: )\d+'
    r"|(?<=oauth_timestamp%3D)\d+|(?<=SHA256:)[\w+/]+|(?<=BEGIN PUBLIC KEY-----)[\w+/=\\\s]+(?=-----END)",
    re.M,
)


def make_documented_app(folder: Path) -> FastAPI:
    """Return the application of which the daemon makes its OpenAPI document, with nothing in it."""
    config = ConfigFile(folder / "config.toml", SCHEME_SETTINGS)
    return make_app(make_agent(config, Safe(MemoryStore()), Dances(), make_audit()), is_described=True)


def format_openapi(app: FastAPI) -> str:
    """Return the text of `docs/openapi.json` for *app*."""
    return json.dumps(app.openapi(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def with_settings(page: str, rows: Iterable[Setting]) -> str:
    """Return *page*, the text of `configuration.md`, with its table of a link's settings made of *rows*."""
    lines = [
        f"| `{row.name}` | `{row.flag or row.option}` | {_needed(row)} | {row.docs or row.asked or row.help} |" for row in rows
    ]
    table = "\n".join(["| setting | option | needed | what it is |", "| --- | --- | --- | --- |", *lines])
    return _SETTINGS.sub(lambda _: table, page, count=1)


def _needed(row: Setting) -> str:
    if not row.is_needed:
        return "no"
    words = ["in the file"] * row.is_kept + [f"with {' or '.join(f'`{name}`' for name in row.schemes)}"] * bool(row.schemes)
    return ", ".join([*words, "yes"])


def pages_with_examples() -> list[Path]:
    """Return the pages whose `console` blocks are run."""
    return [page for page in sorted(DOCS.glob("*.md")) if page.name in SETUPS]


def rewrite(page: Path, sandbox: Sandbox) -> str:
    """Return the text of *page* with the outputs of a run below its commands."""
    with _stage(page, sandbox) as run:

        def answer(block: re.Match[str]) -> str:
            return "".join(f"$ {command}\n{run(command)}" for command in commands_of(block[0]))

        return _CONSOLE.sub(answer, page.read_text())


def commands_of(block: str) -> Iterator[str]:
    """Give the commands of a `console` block: the lines that begin with `$ `."""
    yield from re.findall(r"^\$ (.*)$", block, re.M)


def strike_varying(text: str) -> str:
    """Return *text* without what differs from run to run."""
    return _VARYING.sub("…", text)


@contextmanager
def _stage(page: Path, sandbox: Sandbox) -> Iterator[Callable[[str], str]]:
    """Give a function that runs a command of *page* in bash and returns its output in the page's words."""
    if page.name == "configuration.md":
        # This page shows a product that believes in another address than its callers.
        with Sandbox(["confluence"], context_path="/", base_url=BEHIND_PROXY, is_behind_proxy=True) as misled:
            yield from _run_stage(page, misled)
    else:
        yield from _run_stage(page, sandbox)


def _run_stage(page: Path, sandbox: Sandbox) -> Iterator[Callable[[str], str]]:
    product = next(iter(sandbox.state.sites))
    real_origin = "http://" + sandbox.base_url(product).split("/")[2]
    variables: dict[str, str] = {}
    are_registered = page.name != "api.md"

    with Daemon(LOGNAME=USER) as daemon:
        SETUPS[page.name](daemon, sandbox)
        for name, text in _TITLED.findall(page.read_text()):
            (daemon.folder / name).write_text(text.replace(ORIGIN, real_origin))

        def run(command: str) -> str:
            nonlocal are_registered
            if not are_registered and "http://localhost/dance" in command:
                _register(daemon, sandbox)
                are_registered = True
            if "$CODE" in command:
                variables["CODE"] = sandbox.approve("jira", variables["AUTHORIZE_URL"])
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", command.replace(ORIGIN, real_origin)],
                env={**daemon.environment, **variables, "SOCK": str(daemon.socket)},
                cwd=daemon.folder,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=DEADLINE_S,
                check=False,
            )
            found = {"ID": _DANCE_ID, "AUTHORIZE_URL": _AUTHORIZE_URL, "LEASE": _SIGN_SOCKET}
            for name, match in ((name, pattern.search(done.stdout)) for name, pattern in found.items()):
                if match is not None:
                    variables[name] = match[match.re.groups]
            output = done.stdout.replace(quote(real_origin, safe=""), quote(ORIGIN, safe=""))
            output = output.replace(real_origin.partition("//")[2], ORIGIN.partition("//")[2])
            output = output.replace(f" on {socket.gethostname()}", f" on {MACHINE}")
            output = output.replace(f"{USER}-{socket.gethostname().partition('.')[0]}", f"{USER}-{MACHINE}")
            output = output.replace(f"{daemon.folder}/config", "~/.config").replace(f"{daemon.folder}/run", "/run/user/1000")
            return output if output.endswith("\n") or not output else f"{output}\n"

        yield run


def _register(daemon: Daemon, sandbox: Sandbox) -> None:
    """Do what an administrator does between the setup and the dance."""
    public_key = daemon.request("GET", "/key").json["public_key"]
    for link in daemon.request("GET", "/links").json["links"]:
        sandbox.register_consumer(link["name"], link["consumer_key"], public_key, name=f"atl-sign of {USER}")


def _set_up_nothing(daemon: Daemon, sandbox: Sandbox) -> None:
    """Leave the daemon empty: the page makes key and links itself."""


def _set_up_errors(daemon: Daemon, sandbox: Sandbox) -> None:
    daemon.link(sandbox, "jira")


def _set_up_configuration(daemon: Daemon, sandbox: Sandbox) -> None:
    daemon.config.parent.mkdir(parents=True)
    daemon.config.write_text(
        '[links.jira]\nurl = "htps://jira.example.com"\nconsumer_key = "atl-sign-ann-desk"\n\n'
        '[links.bamboo]\nurl = "https://bamboo.example.com"\nconsumer_key = "atl-sign-ann-desk"\n'
    )
    sandbox.register_consumer("confluence", "ann-desk", daemon.make_key(), name=f"atl-sign of {USER}")


def _set_up_commands(daemon: Daemon, sandbox: Sandbox) -> None:
    """The checkout's command, a person who presses Allow, and a consumer that Bamboo knows."""
    daemon.environment["PATH"] = f"{REPOSITORY}/clients/bash:" + daemon.environment["PATH"]
    daemon.environment["BROWSER"] = f"bash {REPOSITORY}/tests/clients/bash/decide.bash %s allow"
    sandbox.register_consumer("bamboo", "ann-desk", daemon.make_key(), name=f"atl-sign of {USER}")


def _set_up_agents(daemon: Daemon, sandbox: Sandbox) -> None:
    """Two links that sign, and the checkout's command."""
    daemon.environment["PATH"] = f"{REPOSITORY}/clients/bash:" + daemon.environment["PATH"]
    for product in ("jira", "bitbucket"):
        daemon.dance(sandbox, product)


def _set_up_doctor(daemon: Daemon, sandbox: Sandbox) -> None:
    """A link that works but for its token, and the checkout's command."""
    daemon.environment["PATH"] = f"{REPOSITORY}/clients/bash:" + daemon.environment["PATH"]
    daemon.link(sandbox, "jira", consumer_key="ann-desk")


def _set_up_ci(daemon: Daemon, sandbox: Sandbox) -> None:
    """A job without a daemon of its own so far, and the secret that the CI hands over."""
    daemon.environment["PATH"] = f"{REPOSITORY}/clients/bash:" + daemon.environment["PATH"]
    daemon.environment["JIRA_TOKEN"] = sandbox.make_token("jira").secret
    del daemon.environment["ATL_SIGN_AUTOSTART"]


def _set_up_from_curl(daemon: Daemon, sandbox: Sandbox) -> None:
    """Two links that sign, the checkout's command, and the password and token of the script as it was before."""
    daemon.environment["PATH"] = f"{REPOSITORY}/clients/bash:" + daemon.environment["PATH"]
    for product in ("bamboo", "jira"):
        daemon.dance(sandbox, product)
    (daemon.folder / ".netrc").write_text("machine 127.0.0.1 login alice password alice\n")
    (daemon.folder / ".bamboo-password").write_text("alice\n")
    token = sandbox.make_token("jira")
    (daemon.folder / ".jira-token").write_text(token.secret)
    daemon.environment["TOKEN"] = token.secret


SETUPS: dict[str, Callable[[Daemon, Sandbox], None]] = {
    "agents.md": _set_up_agents,
    "api.md": _set_up_nothing,
    "ci.md": _set_up_ci,
    "commands.md": _set_up_commands,
    "configuration.md": _set_up_configuration,
    "doctor.md": _set_up_doctor,
    "errors.md": _set_up_errors,
    "from-curl.md": _set_up_from_curl,
}


def main() -> None:
    """Write everything anew."""
    with tempfile.TemporaryDirectory() as folder:
        OPENAPI.write_text(format_openapi(make_documented_app(Path(folder))))
    page = DOCS / "configuration.md"
    page.write_text(with_settings(page.read_text(), LINK_SETTINGS.values()))
    sandbox = Sandbox()
    sandbox.start()
    try:
        for page in pages_with_examples():
            page.write_text(rewrite(page, sandbox))
    finally:
        sandbox.stop()


if __name__ == "__main__":
    main()

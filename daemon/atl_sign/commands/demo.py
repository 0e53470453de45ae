"""The main job in a minute: sandbox, daemon, key, link, dance and signed curl calls, all in a folder that is thrown away."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

from atl_sign.base.terminal import complain, say
from atl_sign.sandbox import Sandbox

PRODUCT = "bamboo"
_START_S = 10.0
_DANCE_S = 300


class DemoError(Exception):
    """A step of the demo did not do what it must."""


class Demo:
    """One run: where everything lies, and how a command is shown and run."""

    def __init__(self, folder: Path, command: str) -> None:
        """Run in *folder*, with *command* as the path of `atl-sign`."""
        self.folder = folder
        self.command = command
        kept = {
            name: os.environ[name]
            for name in ("PATH", "LANG", "LC_ALL", "TERM", "DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
            if name in os.environ
        }
        self.environment = {
            **kept,
            "HOME": str(folder / "home"),
            "XDG_RUNTIME_DIR": str(folder / "run"),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "ATL_SIGN_STORE": "memory",
            "ATL_SIGN_AUTOSTART": "0",
        }
        for path in (folder / "home", folder / "run", folder / "config"):
            path.mkdir(mode=0o700)

    def show(self, *arguments: str, refused: bool = False) -> str:
        """
        Print `atl-sign` with *arguments*, run it, print and return its answer.

        *refused* says that it must fail. Raises DemoError when it ends otherwise than it must.
        """
        say("", f"$ {shlex.join(('atl-sign', *arguments))}", flush=True)
        done = subprocess.run(
            [self.command, *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=60,
        )
        say(*done.stdout.rstrip("\n").split("\n"), flush=True)
        if (done.returncode != 0) != refused:
            raise DemoError(f"atl-sign {arguments[0]} ended with status {done.returncode}")
        return done.stdout

    @contextmanager
    def daemon(self) -> Iterator[None]:
        """Run `atl-signd serve` for the while; raises DemoError when it does not start."""
        say("", "$ atl-signd serve &", flush=True)
        process = subprocess.Popen(
            [sys.executable, "-m", "atl_sign.commands.cli", "serve"], env=self.environment, stderr=subprocess.PIPE, text=True
        )
        try:
            deadline = time.monotonic() + _START_S
            while not (self.folder / "run/atl-sign/agent.sock").is_socket():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise DemoError(f"the daemon did not start: {process.communicate(timeout=5)[1]}")
                time.sleep(0.02)
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=10)


def run_demo(*, may_open_browser: bool = True) -> int:
    """
    Show the main job, each command before its answer; returns the exit status.

    Args:
        may_open_browser: let the person press Allow, where there is a person at a terminal and a browser.
    """
    command = shutil.which(
        "atl-sign", path=f"{Path(sys.argv[0]).resolve().parent}:{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"
    )
    if command is None:
        complain("atl-sign", "the command atl-sign is not beside atl-signd nor on PATH")
        return 1
    with tempfile.TemporaryDirectory(prefix="atl-sign-demo-") as name:
        folder = Path(name)
        say(f"A sandbox provider, a daemon and its secrets, all in {folder}, which goes away at the end.")
        sandbox = Sandbox()
        sandbox.start()
        try:
            demo = Demo(folder, command)
            with demo.daemon():
                _show_main_job(demo, sandbox, has_person=may_open_browser and _has_person())
        except (DemoError, subprocess.TimeoutExpired) as exc:
            complain("atl-sign demo", exc)
            return 1
        finally:
            sandbox.stop()
    on_path = shutil.which("atl-sign")
    shown = "atl-sign" if on_path and Path(on_path).resolve() == Path(command).resolve() else shlex.quote(command)
    say("", f"Done; {name} is gone. How to add your own product: {shown} help link")
    return 0


def _show_main_job(demo: Demo, sandbox: Sandbox, *, has_person: bool) -> None:
    url = sandbox.base_url(PRODUCT)
    demo.show("key", "new")
    setup = demo.show("link", "add", PRODUCT, url, "--consumer-key", "demo-consumer")
    public_key = setup[
        setup.index("-----BEGIN PUBLIC KEY-----") : setup.index("-----END PUBLIC KEY-----") + len("-----END PUBLIC KEY-----\n")
    ]
    say("", "(The sandbox's administrator enters that now.)", flush=True)
    sandbox.register_consumer(PRODUCT, "demo-consumer", public_key, name="atl-sign demo")
    if has_person:
        say("", "Your browser opens: log in as alice with the password alice, then press Allow.", flush=True)
        _dance_in_browser(demo)
    else:
        say("", "No person with a browser here, so the demo logs in as alice and presses Allow by itself.", flush=True)
        _dance_by_itself(demo, sandbox)
    demo.show("check", PRODUCT)
    demo.show(
        "curl", "-sS", "-G", f"{url}/rest/api/latest/plan.json", "--data-urlencode", "expand=plans.plan", "-d", "max-results=2"
    )
    plan = "WEB-BUILD"
    demo.show(
        "curl",
        "-sS",
        f"{url}/rest/api/latest/queue/{plan}",
        "-H",
        "X-Atlassian-Token: no-check",
        "-d",
        "stage&executeAllStages=true",
    )
    json_body = ("-H", "Content-Type: application/json", "-d", '{"name": "signed"}')
    demo.show("curl", "-sS", f"{url}/rest/api/latest/plan/{plan}/label", *json_body)
    demo.show("curl", "-sS", f"{url}/rest/api/latest/plan/{plan}/label")
    _show_tampering(demo, f"{url}/rest/api/latest/currentUser")


def _dance_in_browser(demo: Demo) -> None:
    say("", f"$ atl-sign dance {PRODUCT}", flush=True)
    done = subprocess.run([demo.command, "dance", PRODUCT], env=demo.environment, check=False, timeout=_DANCE_S)
    if done.returncode != 0:
        raise DemoError("the dance was not granted")


def _dance_by_itself(demo: Demo, sandbox: Sandbox) -> None:
    """Do with plain HTTP what a person does in the browser: log in, press Allow, follow the redirect to the daemon's listener."""
    say("", f"$ atl-sign dance {PRODUCT} --no-browser", flush=True)
    process = subprocess.Popen(
        [demo.command, "dance", PRODUCT, "--no-browser"],
        env=demo.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        for line in process.stdout or ():
            say(line.rstrip("\n"), flush=True)
            if "/plugins/servlet/oauth/authorize?" in line:
                callback_url = sandbox.approve(PRODUCT, line[line.index("http") :].strip())
                with build_opener(ProxyHandler({})).open(callback_url, timeout=30) as page:
                    page.read()
        if process.wait(timeout=30) != 0:
            raise DemoError("the dance was not granted")
    finally:
        if process.poll() is None:
            process.terminate()


def _show_tampering(demo: Demo, url: str) -> None:
    """Sign one address, ask for another with the same header: the provider must refuse it."""
    say("", "A header is valid for one request only. Signed for one address, sent to another:", flush=True)
    header = demo.show("header", "GET", url)
    path = demo.folder / "header"
    path.write_text(header)
    say("", f"$ curl -sS -H @header {url}?as=admin", flush=True)
    done = subprocess.run(
        [
            shutil.which("curl") or "curl",
            "-q",
            "-sS",
            "--noproxy",
            "*",
            "-w",
            "\n%{http_code}",
            "-H",
            f"@{path}",
            f"{url}?as=admin",
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    say(*done.stdout.split("\n"))
    if not done.stdout.endswith("401") or "signature_invalid" not in done.stdout:
        raise DemoError("the sandbox took a tampered request")


def _has_person() -> bool:
    has_display = any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")) or sys.platform == "darwin"
    has_browser = bool(os.environ.get("BROWSER") or shutil.which("xdg-open") or shutil.which("open"))
    return sys.stdin.isatty() and sys.stdout.isatty() and has_display and has_browser

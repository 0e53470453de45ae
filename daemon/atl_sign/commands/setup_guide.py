"""
`atl-sign setup`: from nothing to the first signed request, one step after the other, each by the command that does it.

The steps that are done show in what exists (a store, a key, a link, a token), so a user who leaves continues with the first
step that is not done.
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atl_sign.base.errors import AtlSignError, BadUrlError, DaemonError, ProviderRefusedError
from atl_sign.base.terminal import complain, prompt, say
from atl_sign.commands.autostart import autostart
from atl_sign.commands.daemon_call import NoAnswerError, call_daemon, find_listener
from atl_sign.commands.programs import find_program
from atl_sign.config.links import Link, parse_base_url
from atl_sign.providers.manifest import Manifest, fetch_manifest, find_above
from atl_sign.providers.products import PRODUCTS, Product, find_product
from atl_sign.schemes.oauth2.flavours import find_flavour
from atl_sign.server.installed import INSTALL_AGAIN
from atl_sign.server.listening import StartError, socket_path

_CALL_S = 30.0
_PROVIDER_S = 330.0  # as in the command: a link's own time limit is at most 300 s
_PROBE_S = 10.0
_SKIP = "s"
_STORE_COMMANDS = {
    "keyring_missing": ("store", "move", "file"),
    "store_missing": ("unlock", "--new"),
    "store_locked": ("unlock",),
}


class LeftError(AtlSignError):
    """A step was not done; says which and why, and in `hint` how to continue."""


@dataclass(frozen=True, slots=True)
class Target:
    """The link that is set up."""

    name: str
    url: str
    is_added: bool


def run_setup(environment: Mapping[str, str], name: str | None) -> int:
    """Go through the steps for the link called *name*, or the one that the user chooses; returns the exit status."""
    if find_program(environment, "curl") is None:  # the commands of the steps need it; better said before the first question
        complain("atl-sign", "there is no curl on PATH", "install curl 7.76 or newer")
        return 1
    try:
        path = socket_path(environment)
        if find_listener(path) is None:
            autostart(environment)
    except StartError as exc:
        complain("atl-sign", exc, exc.hint)
        return 3
    guide = Guide(environment, path)
    try:
        guide.run(name)
    except (LeftError, DaemonError) as exc:
        complain("atl-sign", exc, exc.hint)
        return 1
    except NoAnswerError as exc:
        complain("atl-sign", exc, "atl-sign doctor")
        return 3
    except KeyboardInterrupt:
        say("", out=sys.stderr)
        complain("atl-sign", "interrupted", f"to continue: {guide.again}")
        return 130
    return 0


class Guide:
    """The steps, a person's answers, and the daemon that knows what exists."""

    def __init__(self, environment: Mapping[str, str], path: Path) -> None:
        """Ask the daemon at *path*; commands run in *environment*."""
        self._environment = environment
        self._path = path
        self.again = "atl-sign setup"

    def run(self, name: str | None) -> None:
        """Do what is not done yet; raises LeftError, NoAnswerError, and what the daemon refuses as LeftError."""
        target = self._choose_link(name)
        self.again = f"atl-sign setup {target.name}" if target.is_added else "atl-sign setup"
        _show("address", f"{target.url}, link {target.name}")
        self._open_store()
        if find_flavour(parse_base_url(target.url)) is None:  # else it has no application links
            self._make_key()
        self._add_link(target)
        self.again = f"atl-sign setup {target.name}"
        if self._ask("GET", f"/links/{target.name}")["token"]["state"] != "active":
            self._await_form(target)
            self._command("dance", target.name)
        self._command("check", target.name)
        say("", f"{target.name} is set up. Put atl-sign before your curl lines:", f"  atl-sign curl -sS {self._example(target)}")

    # --- product and address ---

    def _choose_link(self, name: str | None) -> Target:
        answer = self._ask("GET", "/links")
        for problem in answer["problems"]:
            place = problem["file"] if problem["line"] is None else f"{problem['file']} line {problem['line']}"
            say(f"warning: {place}, {problem['part']}: {problem['cause']}", out=sys.stderr)
        links = {each["name"]: each for each in answer["links"]}
        if name is None:
            open_links = [each for each, link in links.items() if link["token"]["state"] != "active"]
            if open_links and self._agrees(f"Continue with link {open_links[0]} ({links[open_links[0]]['url']})?"):
                name = open_links[0]
        if name is not None and name in links:
            return Target(name, links[name]["url"], is_added=True)
        say("Which product? Its address in the browser is enough, such as https://jira.example.com/secure/Dashboard.jspa")
        url, product = self._ask_address()
        suggested = product.type_id if product else "link"
        chosen = name or ""
        while not chosen or chosen in links:
            if chosen:
                say(f"There is a link {chosen} already, at {links[chosen]['url']}")
            chosen = self._answer(f"A name for this link [{suggested}]: ") or suggested
        return Target(chosen, url, is_added=False)

    def _ask_address(self) -> tuple[str, Product | None]:
        while True:
            typed = self._answer("Address: ")
            if not typed:
                continue
            try:
                url, manifest = probe(typed if "://" in typed else f"https://{typed}")
            except DaemonError as exc:
                say(exc.message, *([f"  {exc.hint}"] if exc.hint else []))
                continue
            product = manifest.product
            say(f"{product.name if product else manifest.type_id} {manifest.version} at {url}")
            if manifest.url and not manifest.is_at(parse_base_url(url)):
                say(f"It is configured with the base URL {manifest.url}")
                if self._agrees("Use that one, because signatures are checked against it?"):
                    try:
                        url = str(parse_base_url(manifest.url))
                    except BadUrlError as exc:
                        say(exc.message)
            if product is not None or self._agrees("atl-sign does not know this product. Continue?"):
                return url, product

    # --- store and key ---

    def _open_store(self) -> None:
        """Make the store answer, if a command of ours can."""
        answer = call_daemon(self._path, "GET", "/key", _CALL_S)
        code = answer.error.get("code")
        status = self._ask("GET", "/status")
        if not str(code).startswith(("store_", "keyring_")):
            _show("store", f"{status['store']}, {status['store_state']}")
            return
        _show("store", answer.error["message"])
        if code == "keyring_missing" and not self._agrees("Keep the secrets in an encrypted file instead?"):
            raise LeftError("there is no store yet", str(answer.error["hint"]))
        if code not in _STORE_COMMANDS or (code == "store_locked" and status["store"] != "file"):
            raise LeftError(f"the store {status['store']} does not answer", str(answer.error["hint"]))
        self._command(*_STORE_COMMANDS[code])

    def _make_key(self) -> None:
        answer = call_daemon(self._path, "GET", "/key", _CALL_S)
        if answer.error.get("code") == "key_missing":
            self._ask("POST", "/key", _PROVIDER_S)
            _show("key", "created, one for all links")
        else:
            self._ask("GET", "/key")
            _show("key", "exists, one for all links")

    # --- link and form ---

    def _add_link(self, target: Target) -> None:
        if target.is_added:
            return
        self._command("link", "add", target.name, target.url)

    def _await_form(self, target: Target) -> None:
        """Return when the provider knows our consumer or the link has its app, or when the user skips that."""
        is_shown = not target.is_added
        if self._ask("GET", f"/links/{target.name}").get("flavour") is not None:
            self._await_app(target, is_shown=is_shown)
            return
        while True:
            found = self._ask("POST", f"/links/{target.name}/diagnosis", _PROVIDER_S)["findings"]
            broken = next((each for each in found if each["check"] != "link.token" and each["result"] == "broken"), None)
            if broken is None:
                _show("form", "entered: the provider knows this key")
                return
            if not is_shown:
                self._command("link", "setup", target.name)
                is_shown = True
            say("", f"form: {broken['cause']}")
            if self._answer(f"Press Enter when it is entered, {_SKIP} to skip, or ^C to leave: ") == _SKIP:
                return

    def _await_app(self, target: Target, *, is_shown: bool) -> None:
        """Return when the link has the id and the secret of its app."""
        if self._ask("GET", f"/links/{target.name}").get("client_id") is None:
            if not is_shown:
                self._command("link", "setup", target.name)
            client_id = ""
            while not client_id:
                client_id = self._answer("The client ID, when the app is registered (^C to leave): ")
            words = shlex.split(self._ask("GET", f"/links/{target.name}/setup", _PROVIDER_S)["then"][0])
            self._command(*(client_id if word == "ID" else word for word in words[1:]))
        found = self._ask("POST", f"/links/{target.name}/diagnosis", _PROVIDER_S)["findings"]
        if any(each["check"] == "link.consumer" and each["result"] == "broken" for each in found):
            self._command("link", "secret", target.name)
        _show("app", "the link has its id and secret")

    # --- how it is done ---

    def _command(self, *arguments: str) -> None:
        """Show and run one of our commands, which asks and prints by itself; raises LeftError when it fails."""
        shown = shlex.join(("atl-sign", *arguments))
        say("", f"$ {shown}", flush=True)
        beside = Path(sys.executable).parent / "atl-sign"
        program = str(beside) if beside.is_file() else find_program(self._environment, "atl-sign")
        if program is None:
            raise LeftError("the command atl-sign is neither beside atl-signd nor on PATH", INSTALL_AGAIN)
        done = subprocess.run([program, *arguments], env=dict(self._environment), check=False)
        if done.returncode == 130:
            raise KeyboardInterrupt
        if done.returncode != 0:
            raise LeftError(f"{shown} ended with status {done.returncode}", f"to continue: {self.again}")

    def _ask(self, method: str, target: str, timeout_s: float = _CALL_S) -> dict[str, Any]:
        answer = call_daemon(self._path, method, target, timeout_s)
        if answer.error:
            raise LeftError(str(answer.error.get("message")), str(answer.error.get("hint") or "atl-sign doctor"))
        return answer.fields

    def _agrees(self, question: str) -> bool:
        return self._answer(f"{question} [Y/n] ").lower()[:1] in ("", "y")

    def _answer(self, question: str) -> str:
        """Return the line that the user types; raises LeftError when there is no more input."""
        prompt(question)
        # Byte by byte: what follows in a pipe is for the commands.
        line = bytearray()
        while (byte := os.read(0, 1)) not in (b"", b"\n"):
            line += byte
        if not byte and not line:
            say("")
            hint = f"to continue at a terminal: {self.again}; or by hand: atl-sign help"
            raise LeftError("standard input has ended", hint)
        if not os.isatty(0):
            say(line.decode(errors="replace"))
        return line.decode(errors="replace").strip()

    def _example(self, target: Target) -> str:
        answer = call_daemon(self._path, "GET", f"/links/{target.name}/setup", _CALL_S)
        product = find_product(str(answer.fields.get("product")).lower())
        return shlex.quote(target.url + (product.who_am_i if product else "/rest/"))


def probe(typed: str) -> tuple[str, Manifest]:
    """
    Return the base URL that *typed*, an address of some page, lies under, and what the product there says of itself.

    Raises:
        BadUrlError: it is not an address.
        ProviderRefusedError, ProviderUnreachableError: no product answers there.
    """
    link = Link("setup", parse_base_url(re.split("[?#]", typed, maxsplit=1)[0]), timeout_s=_PROBE_S)
    flavour = find_flavour(link.url)
    if flavour is not None and not flavour.shares_grant:  # such a provider says nothing of itself
        return link.url.origin, Manifest(flavour.name, "", "", own_product=Product(flavour.name, flavour.title, "", "", str, ""))
    try:
        return str(link.url), fetch_manifest(link)
    except ProviderRefusedError as exc:
        refused = exc
    found = find_above(link, fetch_manifest)
    if found is not None:
        return str(found[0]), found[1]
    names = ", ".join(product.name for product in PRODUCTS.values())
    raise ProviderRefusedError(f"there is no product at {typed}: {refused.reason}", f"give the address of a {names} page")


def _show(step: str, words: str) -> None:
    say(f"{step}: {words}")

"""`atl-sign store move`, and the offer of a store to a person whose machine has none."""

import os
import sys
from collections.abc import Mapping

from atl_sign.base.terminal import say
from atl_sign.commands.calling import FAILURES, KEY_S, PROVIDER_S, Conversation, print_answer, report
from atl_sign.commands.passphrase import Asker

_LOG_IN = "The key and the tokens of your links may be in the keyring of your desktop; log in there to use them."


def run_store_move(environment: Mapping[str, str], backend: str, *, volatile: bool, from_stdin: bool, as_json: bool) -> int:
    """Carry the secrets over to the store *backend*; returns the exit status."""
    try:
        daemon = Conversation(environment, as_json=as_json)
        print_answer(_move(daemon, Asker(environment, from_stdin=from_stdin), backend, volatile=volatile))
    except FAILURES as exc:
        return report(exc)
    return 0


def run_offer(environment: Mapping[str, str]) -> int:
    """
    Offer a person at a terminal the store that the daemon lacks; returns 0 when there is one now, else the exit status.

    The bash command calls this when the daemon answered `keyring_missing` or `store_missing`, and repeats its request after a 0.
    """
    try:
        daemon = Conversation(environment, as_json=False)
        asker = Asker(environment, from_stdin=False)
        answer = daemon.ask("GET", "/key")
        if answer.code not in ("keyring_missing", "store_missing") or daemon.other_store() is not None:
            return 0  # it has one meanwhile, or the request itself fails again, and says why
        say(f"atl-sign: {answer.text.partition(chr(10))[0]}", out=sys.stderr)
        if answer.code == "store_missing":
            daemon.call("POST", "/unlock", {"new_passphrase": asker.ask_new()}, KEY_S)
        elif _wants_file(daemon):
            _move(daemon, asker, "file")
            say("the secrets are kept in an encrypted file from now on; after a new log-in: atl-sign unlock", out=sys.stderr)
        else:
            raise daemon.refuse(answer)
    except FAILURES as exc:
        return report(exc)
    return 0


def _move(daemon: Conversation, asker: Asker, backend: str, *, volatile: bool = False) -> str:
    """Move the secrets, and ask for the passphrase that this takes; returns the answer's text."""
    fields = {"backend": os.fsencode(backend)} | ({"volatile": b"true"} if volatile else {})
    answer = daemon.ask("POST", "/store/move", fields, PROVIDER_S)
    if answer.status < 400:
        return answer.text
    if answer.code == "passphrase_needed":
        fields["passphrase"] = asker.ask("Passphrase of the store's file: ")
    elif answer.code == "store_missing":
        fields["new_passphrase"] = asker.ask_new()
    else:
        raise daemon.refuse(answer)
    return daemon.call("POST", "/store/move", fields, PROVIDER_S).text


def _wants_file(daemon: Conversation) -> bool:
    """Ask on the terminal; with links there may be a keyring elsewhere, with their tokens, so that Enter means "no"."""
    has_links = bool(daemon.fields_of("/links")["links"])
    question = "No keyring here. Keep the secrets in an encrypted file instead? [Y/n] "
    if has_links:
        say(_LOG_IN, out=sys.stderr)
        question = "No keyring here. Begin anew, with the secrets in an encrypted file? [y/N] "
    terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
    try:
        os.write(terminal, question.encode())
        typed = os.read(terminal, 4096)
    finally:
        os.close(terminal)
    if not typed.endswith(b"\n"):  # the end of the input
        return False
    return typed[:1] in b"yY" if typed != b"\n" else not has_links

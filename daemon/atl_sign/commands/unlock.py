"""`atl-sign unlock`: the daemon reads its store again, with the passphrase of the store's file, or opens the key's token."""

from collections.abc import Mapping

from atl_sign.base.text import one_line
from atl_sign.commands.calling import FAILURES, KEY_S, CommandError, Conversation, print_answer, report
from atl_sign.commands.passphrase import Asker


def run_unlock(environment: Mapping[str, str], *, new: bool, change: bool, from_stdin: bool, as_json: bool) -> int:
    """
    Unlock the store; returns the exit status.

    Args:
        environment: the command's.
        new: make the store's file, with a passphrase of the user's choice.
        change: give the file another passphrase.
        from_stdin: read passphrases from standard input.
        as_json: print JSON.
    """
    try:
        daemon = Conversation(environment, as_json=as_json)
        if not new and not change and not from_stdin:
            # A store that needs no passphrase of ours opens by itself.
            answer = daemon.ask("POST", "/unlock", timeout_s=KEY_S)
            if answer.status < 400:
                print_answer(answer.text)
                return 0
            if answer.code != "passphrase_needed":
                raise daemon.refuse(answer)
        if new or change:
            _expect_file(daemon, environment)
        asker = Asker(environment, from_stdin=from_stdin)
        fields = {}
        if not new:
            fields["passphrase"] = asker.ask("Passphrase of the atl-sign store: ")
        if new or change:
            fields["new_passphrase"] = asker.ask_new()
        print_answer(daemon.call("POST", "/unlock", fields, KEY_S).text)
    except FAILURES as exc:
        return report(exc)
    return 0


def run_unlock_key(
    environment: Mapping[str, str], reference: str | None, *, try_again: bool, from_stdin: bool, as_json: bool
) -> int:
    """
    Unlock the token with a key; returns the exit status.

    Args:
        environment: the command's.
        reference: of the key; None for the consumer's.
        try_again: also after a wrong PIN.
        from_stdin: read the PIN from standard input.
        as_json: print JSON.
    """
    try:
        daemon = Conversation(environment, as_json=as_json)
        shown = reference or daemon.fields_of("/key", KEY_S)["reference"]
        if shown is None:
            raise CommandError("the key is in the store, and has no PIN", "atl-sign unlock")
        fields = {"pin": Asker(environment, from_stdin=from_stdin, what="PIN").ask(f"PIN for {one_line(shown)}: ")}
        if reference is not None:
            fields["key"] = reference.encode()
        if try_again:
            fields["try_again"] = b"true"
        print_answer(daemon.call("POST", "/unlock", fields, KEY_S).text)
    except FAILURES as exc:
        return report(exc)
    return 0


def _expect_file(daemon: Conversation, environment: Mapping[str, str]) -> None:
    """Raise CommandError before anything is asked, unless the store is the file, the only one with a passphrase of ours."""
    store = daemon.store()
    if store == "file":
        return
    hint = "to keep the secrets in an encrypted file instead: atl-sign store move file"
    if environment.get("ATL_SIGN_STORE") == "file":
        hint = "to use the store file: atl-sign restart"
    raise CommandError(f"the store is {store}, which has no passphrase", hint)

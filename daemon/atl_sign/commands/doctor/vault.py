"""The doctor on one vault: whether it is open, takes the login, and allows what the store and the key need."""

from pathlib import Path

from atl_sign.base.errors import BadRequestError
from atl_sign.base.findings import VAULT_CHECKS, Finding, skip
from atl_sign.commands.daemon_call import NoAnswerError, call_daemon
from atl_sign.config.vaults import VaultServer
from atl_sign.custody.keys.transit import parse_reference
from atl_sign.custody.stores.kv import split_backend
from atl_sign.custody.vaults.client import VaultClient
from atl_sign.custody.vaults.policy import list_needs
from atl_sign.custody.vaults.problems import VaultError

CALL_S = 3.0

_REACHABLE, _LOGIN, _POLICY = VAULT_CHECKS


def ask_key(path: Path | None) -> str | None:
    """Return the reference of the key that the daemon at *path* signs with; None when it has the key itself, or does not say."""
    if path is None:
        return None
    try:
        reference = call_daemon(path, "GET", "/key", CALL_S).fields.get("reference")
    except NoAnswerError:
        return None
    return reference if isinstance(reference, str) else None


def check_vault(server: VaultServer, store: str | None, key: str | None) -> list[Finding]:
    """
    Return a finding for each of `VAULT_CHECKS`.

    Args:
        server: the vault.
        store: the name of the store in use, wherever it is; None for none that is known.
        key: the reference of the key in use, in the same way.
    """
    client = VaultClient(server)
    try:
        return _check(client, store, key)
    finally:
        client.forget()


def _check(client: VaultClient, store: str | None, key: str | None) -> list[Finding]:
    server, name = client.server, client.name
    failure = client.health(CALL_S)
    if failure is not None:
        broken = Finding(_REACHABLE, "broken", failure.message, failure.hint)
        return [broken, *skip([_LOGIN, _POLICY], f"the vault {name} does not serve anybody now")]
    findings = [Finding(_REACHABLE, "ok", f"the vault {name} at {server.place} is unsealed")]
    if server.auth == "approle":
        words = f"the vault {name}: the secret id may be good for only one login, which is the daemon's"
        return [*findings, *skip([_LOGIN, _POLICY], words)]
    try:
        told = client.call("GET", "auth/token/lookup-self", timeout_s=CALL_S).data
    except VaultError as exc:
        broken = Finding(_LOGIN, "broken", exc.message, exc.hint)
        return [*findings, broken, *skip([_POLICY], f"the vault {name} does not accept the login")]
    ttl = told.get("ttl")
    rest = f", and will for another {ttl} s" if isinstance(ttl, int) and ttl > 0 else ""
    findings.append(Finding(_LOGIN, "ok", f"the vault {name} accepts the login by {server.auth}{rest}"))
    return [*findings, _check_policy(client, store, key)]


def _check_policy(client: VaultClient, store: str | None, key: str | None) -> Finding:
    name = client.name
    of_key = of_store = None
    options = []
    if key is not None and key.startswith(f"vault:{name}/"):
        found = parse_reference(key)
        of_key = found.mount, found.key
        options.append(f"--key {key.partition('@')[0]}")
    if store is not None and store.startswith(f"vault:{name}/"):
        try:
            of_store = split_backend(store)[1:]
        except BadRequestError as exc:
            return Finding(_POLICY, "broken", f"{store}: {exc.message}", exc.hint)
        options.append(f"--store {store}")
    if not options:
        return Finding(_POLICY, "skipped", f"neither the store nor the key is in the vault {name}")
    try:
        missing = client.may(list_needs(of_key, of_store), CALL_S)
    except VaultError as exc:
        return Finding(_POLICY, "skipped", f"the vault {name} does not say what it allows: {exc.message}")
    if not missing:
        return Finding(_POLICY, "ok", f"the vault {name} allows what {' and '.join(options)} needs")
    words = "; ".join(f"{' and '.join(capabilities)} {path}" for path, capabilities in missing.items())
    hint = f"give its operators the output of: atl-sign vault policy {' '.join(options)}"
    return Finding(_POLICY, "broken", f"the vault {name} does not allow this login to {words}", hint)

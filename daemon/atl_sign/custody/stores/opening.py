"""The stores' names, and the store of a name."""

from collections.abc import Callable, Iterable
from pathlib import Path

from atl_sign.base.errors import BadRequestError
from atl_sign.custody.stores.base import Store
from atl_sign.custody.stores.desktop import SecretServiceStore
from atl_sign.custody.stores.memory import MemoryStore
from atl_sign.custody.vaults.registry import NO_VAULTS, Vaults

BACKENDS = ("secret-service", "file", "memory")
STORE_DEFAULT = "secret-service"
KEYRING = "keyring:"  # and the dotted name of a keyring back end's class
VAULT = "vault:"  # and a vault's name, a mount and a prefix there

_LOCK = "keyring.lock"


def open_store(
    backend: str,
    path: Path | None = None,
    key_file: Path | None = None,
    list_callers: Callable[[], Iterable[int]] = tuple,
    vaults: Vaults = NO_VAULTS,
) -> Store:
    """
    Return the store that *backend* names; it is not asked anything yet.

    Args:
        backend: as in `[store] backend`.
        path: the file of the store `file`; beside it is the lock of the others that outlive the daemon.
        key_file: holds that one's passphrase.
        list_callers: returns the pids of those that are connected to the daemon now; of `secret-service`.
        vaults: those of the configuration.

    Raises:
        BadRequestError: no back end has this name, or it is one that keeps nothing.
    """
    lock_file = None if path is None else path.with_name(_LOCK)
    match backend:
        case "secret-service":
            return SecretServiceStore(list_callers=list_callers, lock_file=lock_file)
        case "memory":
            return MemoryStore()
        case "file" if path is not None:
            from atl_sign.custody.stores.file import FileStore

            return FileStore(path, key_file=key_file)
    if backend.startswith(KEYRING):
        from atl_sign.custody.stores.keyring import KeyringStore

        return KeyringStore(backend.removeprefix(KEYRING), lock_file=lock_file)
    if backend.startswith(VAULT):
        from atl_sign.custody.stores.kv import KvStore

        return KvStore(backend, vaults)
    raise BadRequestError(
        f"no store is called {backend!r}", f"name one of: {', '.join(BACKENDS)}, {KEYRING}MODULE.CLASS, {VAULT}ci/secret/atl-sign"
    )

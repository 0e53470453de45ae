"""A store's name names that store, and no other."""

import subprocess
import sys
from pathlib import Path

import pytest

from atl_sign.base.errors import BadRequestError
from atl_sign.custody.stores.opening import BACKENDS, open_store


@pytest.mark.parametrize("backend", BACKENDS)
def test_open_store_opens_the_store_of_that_name(backend: str) -> None:
    """The store says which one it is, in the word that named it."""
    assert open_store(backend, Path("store")).backend == backend


@pytest.mark.parametrize(
    "name",
    ["keyring.backends.null.Keyring", "keyring.backends.fail.Keyring", "keyring.backends.chainer", "x", "a b.c", "", "os.path;x"],
)
def test_a_keyring_back_end_that_keeps_nothing_or_is_none_is_refused(name: str) -> None:
    """Before anything is loaded; the twin: a class of a module is taken, and loaded later."""
    with pytest.raises(BadRequestError):
        open_store(f"keyring:{name}")

    assert open_store("keyring:no_such_module.Keyring").backend == "keyring:no_such_module.Keyring"


def test_without_a_folder_there_is_no_file() -> None:
    """Nobody guesses a place."""
    with pytest.raises(BadRequestError):
        open_store("file")


@pytest.mark.parametrize("backend", ["", "Memory", "keyring", "null", "secret-service "])
def test_open_store_refuses_any_other_name(backend: str) -> None:
    """No name stands for a store that happens to be installed."""
    with pytest.raises(BadRequestError) as caught:
        open_store(backend)

    assert caught.value.hint == "name one of: secret-service, file, memory, keyring:MODULE.CLASS, vault:ci/secret/atl-sign"


def test_opening_a_store_loads_no_keyring() -> None:
    """keyring and its D-Bus library take 180 ms to load: only when a secret is needed."""
    program = (
        "import sys; from atl_sign.custody.stores.opening import open_store; open_store('secret-service');"
        "assert not {'keyring', 'secretstorage', 'jeepney', 'cryptography'} & sys.modules.keys()"
    )

    subprocess.run([sys.executable, "-c", program], check=True)

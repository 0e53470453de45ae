"""Tokens of SoftHSM, and the place that uses them, in this process."""

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from atl_sign.base.credentials import Passphrase
from atl_sign.config.settings import Settings
from atl_sign.config.table import LinkTable
from atl_sign.custody.keys.pkcs11.place import Pkcs11Place
from tests.token_lab import PIN, SoftHsm

SETTINGS = Settings(LinkTable([]))


class Lab:
    """One place, and what its settings say."""

    def __init__(self, hsm: SoftHsm, folder: Path) -> None:
        self.hsm = hsm
        self.settings = SETTINGS
        self.place = Pkcs11Place(folder / "p11/s", lambda: self.settings)

    def set(self, **settings: float) -> None:
        self.settings = replace(self.settings, **settings)  # type: ignore[arg-type]  # numbers alone

    def unlock(self, key: str = "key", pin: str = PIN, *, may_be_last: bool = False) -> None:
        self.place.unlock(self.hsm.uri(key), Passphrase(pin.encode()), may_be_last=may_be_last)


@pytest.fixture
def hsm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SoftHsm:
    """A token called atl with a key called key, which finds it by this process's environment."""
    made = SoftHsm(tmp_path / "hsm")
    made.prepare()
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    made.add_token()
    made.add_key()
    return made


@pytest.fixture
def lab(hsm: SoftHsm) -> Iterator[Lab]:
    folder = Path(tempfile.mkdtemp(prefix="atlp-"))  # a socket's address holds 107 bytes
    made = Lab(hsm, folder)
    yield made
    made.place.close()
    shutil.rmtree(folder)

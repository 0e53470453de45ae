"""A vault as the configuration names it, for a login with nothing but what a machine needs."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from atl_sign.base.urls import parse_url
from atl_sign.config.vaults import VaultServer
from atl_sign.custody.vaults.registry import Vaults
from tests.openbao import RaftBao, Space


class Lab:
    """The vault `ci`, in a namespace of its own, and the login of a machine."""

    def __init__(self, space: Space, folder: Path) -> None:
        self.space = space
        self.folder = folder
        space.make_policy()
        self.token = space.make_token("atl-sign")
        self.token_file = space.token_file(folder / "vault-token", self.token)
        self.servers = {"ci": self.server()}
        self.machines: list[Vaults] = []
        self.vaults = self.another_machine()

    def another_machine(self) -> Vaults:
        """Return what knows the vault, with connections of its own."""
        self.machines.append(Vaults(lambda: self.servers))
        return self.machines[-1]

    def server(self, **more: object) -> VaultServer:
        """Return the vault, with *more* settings."""
        settings = {
            "address": parse_url(self.space.server.address),
            "namespace": self.space.name,
            "token_file": self.token_file,
            "ca_bundle": self.space.server.ca,
        }
        return VaultServer("ci", **{**settings, **more})  # type: ignore[arg-type]  # as a test has it

    def log_in(self, *policies: str, **more: object) -> None:
        """Put another token into the file, with *policies*."""
        self.token = self.space.make_token(*policies, **more)  # type: ignore[arg-type]
        self.token_file.write_text(self.token)

    def make_key(self, name: str = "atl-sign", **settings: object) -> None:
        self.space.call("POST", f"transit/keys/{name}", {"type": "rsa-2048", **settings})


@pytest.fixture(scope="session")
def raft_bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RaftBao]:
    """A real vault with TLS, a seal and an audit log."""
    with RaftBao(tmp_path_factory.mktemp("raft")) as server:
        yield server


@pytest.fixture
def lab(space: Space, tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(space, tmp_path)
    yield lab
    for vaults in lab.machines:
        vaults.forget()


@pytest.fixture
def raft_lab(raft_bao: RaftBao, tmp_path: Path) -> Iterator[Lab]:
    """As `lab`, in the vault with TLS, a seal and an audit log."""
    lab = Lab(raft_bao.make_space(), tmp_path)
    yield lab
    for vaults in lab.machines:
        vaults.forget()

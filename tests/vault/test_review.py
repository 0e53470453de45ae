"""Small things that a review of the calls found: what is repeated, what is read, and how a login without a policy is told."""

import socket
from pathlib import Path

import pytest

from atl_sign.base.urls import parse_url
from atl_sign.custody.vaults.problems import VaultError
from atl_sign.custody.vaults.registry import Vaults
from tests.listener import Listener
from tests.vault.conftest import Lab


def test_a_login_that_may_nothing_has_not_ended(lab: Lab) -> None:
    """Its policy is too narrow even to ask about itself; the twin: the same login, revoked."""
    lab.space.make_policy("narrow", 'path "secret/data/atl-sign/one" { capabilities = ["read"] }')
    lab.log_in("narrow")
    client = lab.vaults.client("ci")

    with pytest.raises(VaultError) as denied:
        client.call("GET", "transit/keys/atl-sign", timeout_s=3)
    lab.space.call("POST", "auth/token/revoke", {"token": lab.token})
    with pytest.raises(VaultError) as ended:
        client.call("GET", "transit/keys/atl-sign", timeout_s=3)

    assert (denied.value.kind, ended.value.kind) == ("denied", "locked")


def test_a_pods_token_is_a_symbolic_link(lab: Lab, tmp_path: Path) -> None:
    """As Kubernetes mounts it: the file itself is replaced by way of a link to a folder. The twin: one that others can read."""
    folder = tmp_path / "..data"
    folder.mkdir()
    lab.token_file.rename(folder / "token")
    lab.token_file.symlink_to(folder / "token")

    lab.vaults.client("ci").call("GET", "auth/token/lookup-self", timeout_s=3)

    (folder / "token").chmod(0o644)
    lab.vaults.forget()
    with pytest.raises(VaultError, match="others than you can read"):
        lab.vaults.client("ci").call("GET", "auth/token/lookup-self", timeout_s=3)


class Halving(Listener):
    """Answers the first request of each connection whole, and the second one by half."""

    def __init__(self) -> None:
        super().__init__(socket.create_server(("127.0.0.1", 0)))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.requests = 0

    def serve(self, connection: socket.socket) -> None:
        for answer in (b'HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{"data": {}}', b"HTTP/1.1 200 OK\r\nContent-Le"):
            while not (request := connection.recv(65_536)).endswith(b"\r\n\r\n"):
                if not request:
                    return
            self.requests += 1
            connection.sendall(answer)


def test_half_an_answer_is_not_asked_for_again(lab: Lab) -> None:
    """The vault may have done it; only what never reached it is sent once more."""
    with Halving() as server:
        lab.servers["ci"] = lab.server(address=parse_url(server.url))
        client = Vaults(lambda: lab.servers).client("ci")
        client.call("GET", "sys/one", timeout_s=3)

        with pytest.raises(VaultError, match="the connection to the vault ci broke"):
            client.call("GET", "sys/two", timeout_s=3)

        assert server.requests == 2
        client.forget()


class Endless(Listener):
    """Answers with a head that has no end."""

    def __init__(self) -> None:
        super().__init__(socket.create_server(("127.0.0.1", 0)))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def serve(self, connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        while True:
            connection.sendall(b"X-Header: " + b"x" * 60_000 + b"\r\n")


def test_a_head_without_an_end_is_refused(lab: Lab) -> None:
    """Before it fills the memory."""
    with Endless() as server:
        lab.servers["ci"] = lab.server(address=parse_url(server.url))

        with pytest.raises(VaultError, match=r"more than any real answer|does not speak HTTP"):
            Vaults(lambda: lab.servers).client("ci").call("GET", "sys/one", timeout_s=3)


def test_a_client_certificate_that_others_can_read_is_refused(lab: Lab, tmp_path: Path) -> None:
    """Its key opens the vault."""
    pem = tmp_path / "client.pem"
    pem.write_text("-----BEGIN PRIVATE KEY-----\n")
    pem.chmod(0o640)
    lab.servers["ci"] = lab.server(address=parse_url("https://127.0.0.1:1"), client_cert=pem)

    with pytest.raises(VaultError, match="others than you can read the key") as caught:
        lab.vaults.client("ci").call("GET", "sys/one", timeout_s=3)

    assert caught.value.hint == f"chmod 600 {pem}"

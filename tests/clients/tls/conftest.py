"""A provider behind TLS, and a daemon that has danced with it through TLS."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from atl_sign.sandbox import Sandbox
from tests.clients.differential.lab import SCRIPT, run
from tests.clients.tls.front import Authority, TlsFront, make_authority
from tests.fork_server import ForkServer
from tests.lab import Daemon

NAME = "jira"


@dataclass(frozen=True, slots=True)
class Certificates:
    """Two authorities that have nothing to do with each other, and what they issued."""

    authority: Authority
    stranger: Authority
    server: Path
    client: Path
    strange_client: Path


@dataclass(frozen=True, slots=True)
class TlsLab:
    """A sandbox, TLS in front of it, and the daemon whose link leads there."""

    sandbox: Sandbox
    front: TlsFront
    daemon: Daemon
    certificates: Certificates

    @property
    def who(self) -> str:
        """Where Jira says who asks."""
        return f"{self.front.origin}/jira/rest/api/2/myself"

    def set_link(self, **settings: object) -> None:
        """Give the link these settings and no others; its token stays."""
        reply = self.daemon.request(
            "PUT", f"/links/{NAME}", {"url": f"{self.front.origin}/jira", "consumer_key": "tls", **settings}
        )
        assert reply.status in (200, 201), reply.text

    def curl(self, *arguments: str, **environment: str) -> tuple[int, str, str]:
        """Run `atl-sign curl`; returns status, standard output and standard error."""
        folder = self.daemon.folder
        settings = {**self.daemon.environment, "ATL_SIGN_SOCK": str(self.daemon.socket), **environment}
        status, stdout, stderr = run([str(SCRIPT), "curl", *arguments], None, settings, folder)
        return status, stdout.decode(), stderr.decode()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Made once: they are small, and last a day."""
    folder = tmp_path_factory.mktemp("certificates")
    authority, stranger = make_authority(folder, "authority"), make_authority(folder, "stranger")
    return Certificates(authority, stranger, authority.issue("server"), authority.issue("ann"), stranger.issue("eve"))


@pytest.fixture(params=["server alone", "mutual"])
def lab(
    request: pytest.FixtureRequest, sandbox: Sandbox, fork_server: ForkServer, certificates: Certificates
) -> Iterator[TlsLab]:
    """The dance itself goes through TLS: in the second form both sides show a certificate."""
    is_mutual = request.param == "mutual"
    port = int(sandbox.base_url("jira").split(":")[2].split("/")[0])
    client_authority = certificates.authority.path if is_mutual else None
    with TlsFront(certificates.server, port, client_authority=client_authority) as front, Daemon(fork_server) as daemon:
        lab = TlsLab(sandbox, front, daemon, certificates)
        sandbox.state.sites["jira"].signed_base = f"{front.origin}/jira".encode()  # as a connector with scheme="https" has it
        try:
            settings = {"ca_bundle": str(certificates.authority.path)}
            if is_mutual:
                settings["client_cert"] = str(certificates.client)
            dance(lab, settings)
            yield lab
        finally:
            sandbox.state.sites["jira"].signed_base = None


def dance(lab: TlsLab, settings: dict[str, str]) -> None:
    """Link with these *settings*, and dance: alice allows."""
    public_key = lab.daemon.make_key()
    lab.set_link(**settings)
    lab.sandbox.register_consumer("jira", "tls", public_key)
    begun = lab.daemon.request("POST", "/dance", {"link": NAME, "callback": "oob"})
    assert begun.status == 201, begun.text
    # Whoever consents uses a browser with its own certificates; the page is the sandbox's own.
    address = begun.json["authorize_url"].replace(lab.front.origin, lab.sandbox.base_url("jira").removesuffix("/jira"))
    code = lab.sandbox.approve("jira", address)
    reply = lab.daemon.request("POST", f"/dance/{begun.json['id']}", {"verifier": code})
    assert reply.json["state"] == "granted", reply.text

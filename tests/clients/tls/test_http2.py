"""`atl-sign curl --http2` where a server in front of the product prefers HTTP/2: the proxy speaks HTTP/1.1 on both sides."""

import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from atl_sign.sandbox import Sandbox
from tests.clients.differential.lab import SCRIPT, run
from tests.clients.tls.conftest import Certificates
from tests.lab import Daemon, wait_for

pytestmark = pytest.mark.skipif(shutil.which("nghttpx") is None, reason="nghttpx is not installed: make system-packages")


@pytest.fixture
def origin(sandbox: Sandbox, certificates: Certificates, tmp_path: Path) -> Iterator[str]:
    """Where Jira is reached by HTTP/2."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    behind = sandbox.base_url("jira").split(":")[2].split("/")[0]
    # As a connector with scheme="https" has it.
    sandbox.state.sites["jira"].signed_base = f"https://127.0.0.1:{port}/jira".encode()
    command = [
        *("nghttpx", "--conf=/dev/null", f"--frontend=127.0.0.1,{port}", f"--backend=127.0.0.1,{behind}", "--host-rewrite"),
        *("--workers=1", "--accesslog-file=/dev/null", str(certificates.server), str(certificates.server)),
    ]
    with (tmp_path / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as proxy:
        try:
            wait_for(lambda: _listens(port), (tmp_path / "log").read_text)
            yield f"https://127.0.0.1:{port}"
        finally:
            proxy.terminate()
            proxy.wait(10)
            sandbox.state.sites["jira"].signed_base = None


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_line_for_http2_is_signed(sandbox: Sandbox, certificates: Certificates, origin: str) -> None:
    """Get, form and JSON; the twin of it is a daemon without a token, by which nothing is sent."""
    with Daemon() as daemon:
        public_key = daemon.make_key()
        settings = {"url": f"{origin}/jira", "consumer_key": "http2", "ca_bundle": str(certificates.authority.path)}
        assert daemon.request("PUT", "/links/jira", settings).status in (200, 201)
        sandbox.register_consumer("jira", "http2", public_key)
        environment = {**daemon.environment, "ATL_SIGN_SOCK": str(daemon.socket)}
        who = f"{origin}/jira/rest/api/2/myself"

        def curl(*arguments: str) -> tuple[int, bytes, bytes]:
            return run([str(SCRIPT), "curl", "-sS", "--http2", *arguments], None, environment, daemon.folder)

        before = curl(who)
        begun = daemon.request("POST", "/dance", {"link": "jira", "callback": "oob"})
        assert begun.status == 201, begun.text
        address = begun.json["authorize_url"].replace(origin, sandbox.base_url("jira").removesuffix("/jira"))
        code = sandbox.approve("jira", address)
        assert daemon.request("POST", f"/dance/{begun.json['id']}", {"verifier": code}).json["state"] == "granted"

        got = curl("-w", "\n%{http_version} %{http_code}", f"{who}?a=%c3%a4&b=x+y")
        several = curl("-w", "%{http_version} %{http_code}\n", "-o", "out", f"{who}?n=[1-3]")
        several_form = curl("-w", "%{http_version}", "-o", "out", "-v", "-d", "a=x y&b=1", who)

    assert before[0] == 125
    assert got[0] == 0, got
    assert b'"name": "alice"' in got[1]
    assert got[1].endswith(b"\n1.1 200")
    assert several == (0, b"1.1 200\n" * 3, b"")
    assert several_form[1] == b"1.1"
    assert b"oauth" not in several_form[2].lower()

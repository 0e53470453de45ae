"""`python -m atl_sign.sandbox`: what it prints, how it ends, and what it refuses."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from time import time

import pytest

from atl_sign.sandbox import PRODUCTS
from atl_sign.sandbox.__main__ import main
from tests.sandbox.consumer import send


@contextmanager
def running(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """Run the command; gives the process and the addresses that it printed."""
    command = [sys.executable, "-m", "atl_sign.sandbox", *arguments]
    count = arguments.count("--product") or len(PRODUCTS)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ) as process:
        try:
            assert process.stdout is not None
            yield process, dict(process.stdout.readline().split() for _ in range(count))
        finally:
            if process.poll() is None:
                process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_command_serves_until_a_signal(number: signal.Signals) -> None:
    """One line per product, then status 0, with an open connection too."""
    with running() as (process, addresses):
        assert list(addresses) == ["bamboo", "jira", "confluence", "bitbucket"]
        for product, address in addresses.items():
            assert f"<url>{address}</url>" in send("GET", f"{address}/rest/applinks/1.0/manifest").text
            assert address.endswith(f"/{product}")
        port = int(addresses["jira"].split(":")[2].partition("/")[0])
        with socket.create_connection(("127.0.0.1", port), timeout=10):
            process.send_signal(number)
            output, errors = process.communicate(timeout=10)

    assert (process.returncode, output, errors) == (0, "", "")


def test_command_makes_trouble() -> None:
    """An hour ahead, another base URL, at the root."""
    arguments = (
        "--product",
        "jira",
        "--context-path",
        "/",
        "--clock-offset",
        "3600",
        "--base-url",
        "http://backend:8080",
        "--behind-proxy",
    )
    with running(*arguments, "--token-life", "60", "--request-token-life", "5") as (process, addresses):
        reply = send("GET", f"{addresses['jira']}/rest/api/2/serverInfo")
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0

    assert reply.json["baseUrl"] == "http://backend:8080"
    assert abs(parsedate_to_datetime(reply.headers["Date"]).timestamp() - time() - 3_600) < 60


def test_port_may_be_chosen_and_may_be_taken(capsys: pytest.CaptureFixture[str]) -> None:
    """The second one on it says so and ends with 1; no signal stays blocked."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    with socket.create_server(("127.0.0.1", 0)) as taken:
        status = main(["--port", str(taken.getsockname()[1])])

    captured = capsys.readouterr()
    assert status == 1
    assert captured.err.startswith("atl-sign sandbox: cannot listen on port ")
    assert captured.out == ""
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["--port", "65536"],
        ["--port", "x"],
        ["--product", "trello"],
        ["--context-path", "/x"],
        ["--behind-proxy"],
        ["--clock-offset", "x"],
        ["x"],
    ],
)
def test_bad_usage_ends_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """And the usage on standard error."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)

    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("usage: atl-sign sandbox ")

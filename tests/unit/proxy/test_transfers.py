"""The connections that the end of a lease's time cuts: those that carry a request that was allowed, and tunnels."""

import socket
import threading

from tests.lab import wait_for
from tests.unit.proxy.front_lab import OK, Echo, Provider, ProxyLab, Seen, connect

REQUEST = b"GET /jira/rest/x HTTP/1.1\r\nHost: localhost\r\n\r\n"


def count(lab: ProxyLab) -> tuple[int, int]:
    """How many connections there are, and how many of them carry something."""
    return len(lab.tasks), sum(lab.proxy.relay.transfers.has(task) for task in tuple(lab.tasks))


def test_a_request_counts_from_its_signature_to_the_end_of_its_answer(lab: ProxyLab, provider: Provider) -> None:
    """Neither before it comes, nor when it is refused, nor afterwards."""
    may_answer = threading.Event()

    def answer(stream: socket.socket, _: Seen) -> None:
        assert may_answer.wait(20)
        stream.sendall(OK)

    provider.answer_with(answer)
    lab.add_link("jira", f"{provider.origin}/jira")
    lease = lab.make_lease("jira", allow=("GET /rest/**",))
    with connect(lab.open(lease)) as connection:
        wait_for(lambda: count(lab) == (1, 0))
        connection.sendall(REQUEST)
        wait_for(lambda: count(lab) == (1, 1))
        may_answer.set()
        found = b""
        while not found.endswith(b"ok"):
            found += connection.recv(65_536)
        wait_for(lambda: count(lab) == (1, 0))
        connection.sendall(REQUEST.replace(b"GET", b"PUT"))
        assert connection.recv(65_536).startswith(b"HTTP/1.1 403")
        assert count(lab) == (1, 0)
    wait_for(lambda: count(lab) == (0, 0))


def test_a_tunnel_counts_as_long_as_it_is_open(lab: ProxyLab) -> None:
    with Echo() as echo, connect(lab.open()) as connection:
        host = f"127.0.0.1:{echo.port}".encode()
        connection.sendall(b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (host, host))
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200")
        wait_for(lambda: count(lab) == (1, 1))
        connection.close()
        wait_for(lambda: count(lab) == (0, 0))

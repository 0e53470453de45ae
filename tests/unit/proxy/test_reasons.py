"""What is kept for `atl-sign why` of a product's answers, and of requests that came in one of the proxy's forms."""

import pytest

from tests.agent_lab import CALLER
from tests.unit.proxy.front_lab import OK, TOKEN, Provider, ProxyLab, status_of, talk

EMPTY = b"Content-Length: 0\r\n\r\n"
PROBLEM = b'WWW-Authenticate: OAuth realm="x",oauth_problem="token_revoked"\r\n'


@pytest.mark.parametrize(
    ("scheme", "answer", "meaning"),
    [
        ("bearer", b"HTTP/1.1 403 Forbidden\r\n" + EMPTY, ("forbidden", "atl-sign check jira prints the user")),
        ("bearer", b"HTTP/1.1 401 Unauthorized\r\n" + EMPTY, ("unauthorized", "atl-sign check jira")),
        ("bearer", b"HTTP/1.1 200 OK\r\nX-AUSERNAME: anonymous\r\n" + EMPTY, ("anonymous", "atl-sign check jira")),
        (
            "oauth1",
            b"HTTP/1.1 401 Unauthorized\r\nX-AUSERNAME: anonymous\r\n" + PROBLEM + EMPTY,
            ("token_revoked", "atl-sign dance jira"),
        ),
        (
            "oauth1",
            b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: OAuth realm=x\r\n" + EMPTY,
            ("unauthorized", "atl-sign check"),
        ),
    ],
)
def test_a_products_refusal_has_a_meaning(
    lab: ProxyLab, provider: Provider, scheme: str, answer: bytes, meaning: tuple[str, str]
) -> None:
    """One for each answer, with link, lease and address; the answer itself passes unchanged."""
    code, hint = meaning
    provider.answer_with(answer)
    lab.add_link("jira", f"{provider.origin}/jira", scheme)
    lease = lab.make_lease("jira")

    told = talk(lab.open(lease), b"GET /jira/rest/x?canary=1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")

    (kept,) = lab.agent.refusals.list_all(CALLER)
    assert status_of(told) == status_of(answer)
    assert (kept.by, kept.code, kept.link, kept.leases) == ("product", code, "jira", ("aa",))
    assert (kept.hint or "").startswith(hint)
    assert (kept.address.method, kept.address.host, kept.address.path) == ("GET", f"127.0.0.1:{provider.port}", "/jira/rest/x")
    assert TOKEN not in repr(kept)
    assert "canary" not in repr(kept)


def test_what_is_no_refusal_is_not_kept(lab: ProxyLab, provider: Provider) -> None:
    """Neither what works, nor what is not there, nor an error of the product's own."""
    provider.answer_with(OK, b"HTTP/1.1 404 Not Found\r\n" + EMPTY, b"HTTP/1.1 500 Internal Server Error\r\n" + EMPTY)
    lab.add_link("jira", f"{provider.origin}/jira")
    entry = lab.open(lab.make_lease("jira"))

    for _ in range(3):
        talk(entry, b"GET /jira/rest/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")

    assert len(provider.seen) == 3
    assert lab.agent.refusals.list_all(CALLER) == []


def test_a_socks_target_that_is_refused_is_kept(lab: ProxyLab, provider: Provider) -> None:
    """It is no HTTP, and is listed as CONNECT."""
    lab.add_link("jira", f"{provider.origin}/jira")

    talk(lab.open(lab.make_lease("jira")), b"\x05\x01\x00\x05\x01\x00\x03\x15elsewhere.example.com\x01\xbb")

    (kept,) = lab.agent.refusals.list_all(CALLER)
    assert (kept.code, kept.address.method, kept.address.host) == ("lease_denied", "CONNECT", "elsewhere.example.com:443")

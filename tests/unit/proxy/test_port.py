"""Credentials that come with a request, and ports: the lease's secret, and no web page."""

from base64 import b64encode

import pytest

from tests.unit.proxy.front_lab import (
    SECRET,
    TOKEN,
    Provider,
    ProxyLab,
    authorizations,
    code_of,
    curl,
    status_of,
    talk,
)

BASIC = b64encode(f"x:{SECRET}".encode()).decode()


@pytest.mark.parametrize("line", ["Authorization: Basic eDp5", "authorization: Bearer x", f"Authorization: Bearer {SECRET}"])
def test_the_owners_own_credentials_are_refused_by_name(lab: ProxyLab, provider: Provider, line: str) -> None:
    """Attack 19; a program would believe that they had been used."""
    lab.add_link("jira", f"{provider.origin}/jira")

    answer = curl("-i", "--unix-socket", lab.open(), "-H", line, "http://localhost/jira/x").stdout

    assert (status_of(answer), code_of(answer)) == (403, "own_credentials")
    assert provider.seen == []


def test_a_tools_placeholder_is_taken_on_a_leases_socket(lab: ProxyLab, provider: Provider) -> None:
    """Attack 19: it does not go out, however often it is there."""
    lab.add_link("jira", f"{provider.origin}/jira")
    entry = lab.open(lab.make_lease("jira"))

    done = curl("--unix-socket", entry, "-H", "Authorization: Bearer x", "-H", "Authorization: y", "http://localhost/jira/x")

    assert done.stdout == b"ok"
    assert authorizations(provider) == [[f"Bearer {TOKEN}"]]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["-H", f"Authorization: Bearer {SECRET}"], ""),
        (["-u", f"anybody:{SECRET}"], ""),
        ([], "secret_needed"),
        (["-H", "Authorization: Bearer wrong"], "own_credentials"),
        (["-u", f"{SECRET}:wrong"], "own_credentials"),
        (["-H", f"Authorization: {SECRET}"], "own_credentials"),
        (["-H", "Authorization: Basic !!!"], "own_credentials"),
        (["-H", f"Authorization: Bearer {SECRET}", "-H", "Authorization: Bearer x"], "own_credentials"),
        (["-H", f"Authorization: Bearer {SECRET}", "-H", "Origin: http://evil.example"], "browser_refused"),
        (["-H", f"Authorization: Bearer {SECRET}", "-e", "http://evil.example"], "browser_refused"),
        (["-H", f"Authorization: Bearer {SECRET}", "-H", "Sec-Fetch-Site: cross-site"], "browser_refused"),
        (["-H", f"Authorization: Bearer {SECRET}", "-H", "Host: evil.example"], "browser_refused"),
        (["-H", f"Authorization: Bearer {SECRET}", "-H", "Host: localhost"], "browser_refused"),
    ],
)
def test_a_port_wants_the_secret_and_no_browser(lab: ProxyLab, provider: Provider, arguments: list[str], code: str) -> None:
    """Attacks 23 and 24; never 401, at which tools ask again. The first two are the twins."""
    lab.add_link("jira", f"{provider.origin}/jira")
    port = lab.open_port(lab.make_lease("jira"))

    answer = curl("-i", *arguments, f"http://127.0.0.1:{port}/jira/x").stdout

    assert (status_of(answer), code_of(answer)) == ((403, code) if code else (200, ""))
    assert authorizations(provider) == ([] if code else [[f"Bearer {TOKEN}"]])


@pytest.mark.parametrize("form", ["CONNECT {here}", "GET http://{here}/jira/x"])
@pytest.mark.parametrize(
    ("line", "status"),
    [
        (f"Proxy-Authorization: Basic {BASIC}", 200),
        ("X: y", 407),
        ("Proxy-Authorization: Basic eDp5", 403),
        (f"Proxy-Authorization: Basic {BASIC}\r\nProxy-Authorization: Basic {BASIC}", 403),
        (f"Proxy-Authorization: Basic {BASIC}\r\nOrigin: null", 403),
    ],
)
def test_a_port_as_a_proxy_wants_the_secret_as_its_password(
    lab: ProxyLab, provider: Provider, form: str, line: str, status: int
) -> None:
    """The one 407, at which programs that have the password send it."""
    here = f"127.0.0.1:{provider.port}"
    lab.add_link("jira", f"{provider.origin}/jira")
    port = lab.open_port(lab.make_lease("jira"))
    first = form.format(here=here)

    answer = talk(port, f"{first} HTTP/1.1\r\nHost: {here}\r\nConnection: close\r\n{line}\r\n\r\n".encode(), ends=True)

    assert status_of(answer) == status
    assert (b"\r\nProxy-Authenticate: Basic " in answer) is (status == 407)
    assert len(provider.seen) == (1 if status == 200 and form.startswith("GET") else 0)


def test_credentials_inside_a_ports_connection_must_be_the_secret(lab: ProxyLab, provider: Provider) -> None:
    lab.add_link("jira", f"{provider.origin}/jira")
    port = lab.open_port(lab.make_lease("jira"))
    proxied = ("-i", "-p", "-x", f"http://x:{SECRET}@127.0.0.1:{port}", "--suppress-connect-headers", f"{provider.origin}/jira/x")

    answers = [curl("-H", f"Authorization: Bearer {word}", *proxied).stdout for word in ("wrong", SECRET)]

    assert list(map(code_of, answers)) == ["own_credentials", ""]
    assert authorizations(provider) == [[f"Bearer {TOKEN}"]]


def test_socks_is_not_for_a_leases_port(lab: ProxyLab) -> None:
    assert talk(lab.open_port(lab.make_lease()), b"\x05\x01\x00") == b"\x05\xff"


def test_a_port_of_the_owners_takes_only_socks(lab: ProxyLab, provider: Provider) -> None:
    """Its peer's uid was checked by the server, but a page in the owner's browser has that too, and can send HTTP."""
    lab.add_link("jira", f"{provider.origin}/jira")
    port = lab.open_port(None)

    by_http = curl("-i", f"http://127.0.0.1:{port}/jira/x").stdout
    by_socks = curl("-x", f"socks5h://127.0.0.1:{port}", f"{provider.origin}/jira/x").stdout

    assert (status_of(by_http), by_socks) == (403, b"ok")


def test_a_port_has_only_links_by_their_names(lab: ProxyLab, provider: Provider) -> None:
    """By Host would be for a browser that was led astray; and the refusal names no link."""
    lab.add_link("jira", f"{provider.origin}/jira")
    lab.add_link("other", f"{provider.origin}/other")
    port = lab.open_port(lab.make_lease("jira"))

    answers = [
        curl("-i", "-u", f"x:{SECRET}", f"http://127.0.0.1:{port}/{path}").stdout
        for path in ("rest/x", "other/x", "jira/../other/x")
    ]

    assert list(map(code_of, answers)) == ["lease_denied"] * 3
    assert b"jira" not in b"".join(answers)
    assert provider.connections == 0

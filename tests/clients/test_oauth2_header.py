"""`atl-sign header` with links of OAuth 2.0: a request that has to be sent elsewhere gets its header only with that address."""

import json
import shlex
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import requests

from tests.clients.danced_links import MYSELF, Site, add_link, atl_sign, start_site
from tests.fork_server import ForkServer
from tests.lab import Daemon


@pytest.fixture(scope="module")
def site(fork_server: ForkServer) -> Iterator[Site]:
    with ExitStack() as stack:
        yield start_site(stack, stack.enter_context(Daemon(fork_server)))


def test_without_the_address_there_is_no_header(site: Site) -> None:
    """The refusal names it, with a command that works when pasted; the twin: the gateway's own address needs no second line."""
    url, there = f"{site.url}{MYSELF}?a=1&b='", f"{site.there}{MYSELF}?a=1&b='"

    refused = atl_sign(site.daemon, "header", "GET", url)

    assert (refused.returncode, refused.stdout) == (1, "")
    message, hint = refused.stderr.splitlines()
    assert message == f"atl-sign: the token is not valid at this address; the request has to be sent to {there}"
    command = hint.removeprefix("hint: print header and address: atl-sign ")
    assert atl_sign_line(site, command).startswith("Authorization: Bearer ")
    own = atl_sign(site.daemon, "header", "GET", there)
    assert (own.returncode, own.stdout.count("\n"), own.stdout.startswith("Authorization: Bearer ")) == (0, 1, True)


def atl_sign_line(site: Site, words: str) -> str:
    """Return what the command prints that a shell makes of *words*."""
    done = atl_sign(site.daemon, *shlex.split(words))
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_with_the_address_the_request_works(site: Site) -> None:
    """Two lines; the twin: the header at the address that was asked for."""
    printed = atl_sign(site.daemon, "header", "--with-url", "GET", site.url + MYSELF)

    assert printed.returncode == 0, printed.stderr
    header, url = printed.stdout.splitlines()
    assert url == site.there + MYSELF
    headers = {"Authorization": header.removeprefix("Authorization: ")}
    assert requests.get(url, headers=headers, timeout=10).status_code == 200
    assert requests.get(site.url + MYSELF, headers=headers, timeout=10).status_code == 401


def test_json_has_both(site: Site) -> None:
    """With the option and without it."""
    for options in ((), ("--with-url",)):
        printed = atl_sign(site.daemon, "header", "--json", *options, "GET", site.url + MYSELF)
        answer = json.loads(printed.stdout)
        assert (answer["url"], answer["uses"]) == (site.there + MYSELF, "many")


def test_a_path_that_the_gateway_lacks(site: Site) -> None:
    """No header for it, nor an address."""
    for options in ((), ("--with-url",)):
        refused = atl_sign(site.daemon, "header", *options, "GET", f"{site.url}/browse/WEB-1")
        assert (refused.returncode, refused.stdout) == (1, "")
        assert "has no /browse/WEB-1" in refused.stderr


def test_where_the_address_is_right_the_option_repeats_it(fork_server: ForkServer) -> None:
    """So that a script need not know which link has a gateway; without it there is one line."""
    with ExitStack() as stack:
        daemon = stack.enter_context(Daemon(fork_server))
        link = add_link(stack, daemon, "datacenter", "jira")

        both = atl_sign(daemon, "header", "--with-url", "GET", link.asked)
        one = atl_sign(daemon, "header", "GET", link.asked)

    assert both.stdout.splitlines() == [one.stdout.removesuffix("\n"), link.asked]
    assert one.stdout.startswith("Authorization: Bearer ")

"""The command that changes one setting of a link; `tests/daemon/test_doctor.py` gives it to a shell."""

import shlex
from pathlib import Path

from atl_sign.config.link_command import format_link_command
from atl_sign.config.links import parse_base_url
from tests.unit.provider_lab import make_link

URL = "https://jira.example.com/jira"


def test_nothing_is_dropped() -> None:
    """PUT forgets what it is not given, but for the consumer key."""
    link = make_link(
        URL,
        signing_url=parse_base_url("http://old:8080"),
        ca_bundle=Path("/home/ann/the company's.pem"),
        client_cert=Path("/c.pem"),
        proxy="http://p:3128",
        timeout_s=2.5,
        git="read",
        git_days=3,
    )

    words = shlex.split(format_link_command(link, signing_url=parse_base_url("http://new:8090/jira")))

    assert words == [
        *("atl-sign", "link", "add", "jira", URL, "--signing-url", "http://new:8090/jira"),
        *("--ca-bundle", "/home/ann/the company's.pem", "--client-cert", "/c.pem", "--proxy", "http://p:3128"),
        *("--timeout", "2.5", "--git", "read", "--git-days", "3", "--replace"),
    ]


def test_a_plain_link_has_a_plain_command() -> None:
    """Defaults are not named."""
    link = make_link(URL, timeout_s=30.0)

    assert format_link_command(link, ca_bundle="FILE") == f"atl-sign link add jira {URL} --ca-bundle FILE --replace"
    other = parse_base_url("https://wiki.example.com")
    assert format_link_command(link, url=other) == "atl-sign link add jira https://wiki.example.com --replace"


def test_what_others_chose_is_quoted() -> None:
    """A base URL out of a provider's answer may hold what a shell would do; a raw backtick it may not."""
    url = parse_base_url("https://h/$(touch%20x)'$(id)&;"[:-1])

    assert shlex.split(format_link_command(make_link(URL), url=url))[4] == str(url)

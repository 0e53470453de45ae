"""
What `atl-sign curl` sends, curl alone would have sent, and the provider takes its signature; what is refused reaches nobody.

The lines were drawn at random, and each is run both ways. Before the proxy took the place of a second curl in bash, 3,200 of them
were: docs/commands.md names what differs.
"""

import pytest

from tests.clients.differential.compare import judge
from tests.clients.differential.lab import Lab, installed_version
from tests.clients.differential.lines import Line, read_lines

LINES = read_lines()
# Of options, as 1000 * major + minor: what an older curl does not know.
SINCE = {
    "--url-query": 7_087,
    "--json": 7_082,
    "--rate": 7_084,
    "--no-clobber": 7_083,
    "--remove-on-error": 7_083,
    "--form-escape": 7_081,
}
ABBREVIATED_UNTIL = 8_006

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]


def hold(line: Line, lab: Lab) -> str:
    """Run *line* both ways and hold them against each other; return "signed", "partly", "refused" or "void"."""
    outcome, faults, plain, signed = judge(line, lab)
    assert not faults, "\n".join([line.describe(), *faults, "=== curl", plain.describe(), "=== atl-sign curl", signed.describe()])
    return outcome


def skip_unless_known(line: Line) -> None:
    """Skip *line* if the installed curl does not know an option of it."""
    words = (*line.arguments, *(line.curlrc or "").split(), *(line.config or "").split())
    for option, since in SINCE.items():
        if any(word.startswith(option) for word in words) and installed_version() < since:
            pytest.skip(f"the installed curl has no {option}")


def test_there_are_lines() -> None:
    assert len(LINES) == 150
    assert sum(outcome == "signed" for _, outcome in LINES) > 130


@pytest.mark.parametrize(("line", "outcome"), LINES, ids=[str(number) for number in range(len(LINES))])
def test_atl_sign_curl_sends_what_curl_sends(lab: Lab, line: Line, outcome: str) -> None:
    """Method, target, headers and body of every request, the status, standard output and files are curl's own."""
    skip_unless_known(line)

    found = hold(line, lab)

    assert found == outcome or (found == "void" and installed_version() >= ABBREVIATED_UNTIL)  # curl itself refuses it by now


BODY = b"f=from+stdin&g=1"
JIRA = "http://SERVER/jira"
# Each went wrong once, or takes too long to be drawn often.
SIGNED_LINES = [
    Line(("-d", "@-", f"{JIRA}/x"), b"s\r\n=1\n"),
    Line(("--data-urlencode", "a@empty", "--data-urlencode", "a@empty", f"{JIRA}/x")),
    Line(("-G", "--data-urlencode", "a@empty", "-d", "b=1", f"{JIRA}/x")),
    Line(("--data-urlencode", "a@-", "--data-urlencode", "a@-", f"{JIRA}/x"), BODY),
    Line(("--url-query", "@empty", "--url-query", "jql=a", f"{JIRA}/x")),
    Line(("--url-query", "", f"{JIRA}/a?b=1")),
    Line((f"{JIRA}/%c3%a9?a=%c3%a4",)),
    Line(("-G", "-d", "", "-d", "a=1", f"{JIRA}/x?")),
    Line(("-d", "", "-d", "", "-d", "a=1", f"{JIRA}/x")),
    Line(("--data-urlencode", "a=x y \u00e4", f"{JIRA}/x")),
    Line(("-L", f"{JIRA}/redirect/302/absolute/%c3%a4?a=a%20%c3%a4")),
    Line(("-L", f"{JIRA}/redirect/302/absolute/a?")),
    Line(("--url-query", "=", "--url-query", "b=", f"{JIRA}/a")),
    Line(("--json", "@-", "-L", f"{JIRA}/x"), BODY),
    Line(("--json", "@-", "--retry", "1", f"{JIRA}/x"), BODY),
    Line(("--json", "@-", f"{JIRA}/{{a,b}}"), BODY),
    Line(("--json", "@-", "-L", f"{JIRA}/redirect/307/absolute/x"), BODY),
    Line(("--json", "@-", "-L", f"{JIRA}/redirect/301/absolute/x"), BODY),
    Line(("-H", "Content-Type: text/plain", "--data-binary", "@-", "-L", f"{JIRA}/redirect/308/relative/x"), b"a=b\r\n"),
    Line(("-d", "a=1", "-L", f"{JIRA}/redirect/307/elsewhere/x")),
    Line(("-L", f"{JIRA}/y", f"{JIRA}/redirect/302/outside/x")),  # the other way round, /y is sent unsigned
    Line(("-sL", "--max-redirs", "3", f"{JIRA}/loop/302/x")),
    Line(("--retry", "1", f"{JIRA}/flaky/1/x")),
    Line(("--retry", "1", "-d", "a=1", f"{JIRA}/flaky/1/x")),
    Line(("--retry", "1", "--json", "@-", f"{JIRA}/flaky/1/x"), BODY),
    Line(("-f", "--retry", "1", f"{JIRA}/flaky/2/x")),
]


@pytest.mark.parametrize("line", SIGNED_LINES, ids=lambda line: " ".join(line.arguments))
def test_lines_that_once_went_wrong_are_sent_as_curl_sends_them(lab: Lab, line: Line) -> None:
    """The same rules; and these are not to be refused."""
    skip_unless_known(line)
    assert hold(Line(("-s", *line.arguments), line.stdin), lab) == "signed"

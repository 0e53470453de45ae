"""
What `atl-sign curl` sends, curl alone would have sent, and the provider takes its signature; what it refuses reaches nobody.

`make differential` runs 3,200 command lines, DIFFERENTIAL_EXAMPLES=20000 more, DIFFERENTIAL_SEED=7 others.
"""

import os
import sys

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.clients.differential.compare import Tally, judge
from tests.clients.differential.lab import REFUSED, Lab, installed_version
from tests.clients.differential.lines import Line, command_lines

EXAMPLES = int(os.environ.get("DIFFERENTIAL_EXAMPLES", "400"))  # different lines
SEED = int(os.environ.get("DIFFERENTIAL_SEED", "1"))
SHARE_MIN = 0.55  # of the lines that send anything: where everything is refused, nothing is proved
FEW = 200
SHARDS = min(8, max(2, EXAMPLES // FEW))  # so that two or four cores finish together, and none has few lines

pytestmark = [pytest.mark.slow, pytest.mark.differential, pytest.mark.timeout(100 + EXAMPLES // 10)]


@pytest.fixture(scope="module")
def reads_curlrc(lab: Lab) -> bool:
    """Whether ~/.curlrc counts at all: then what stands there may be refused."""
    line = Line(("-s", "http://SERVER/jira/x"), curlrc='header = "Authorization: Basic eve"\n')
    return lab.signed(line).status == REFUSED


def hold(line: Line, lab: Lab) -> str:
    """Run *line* both ways and hold them against each other; return "signed", "refused" or "void"."""
    outcome, faults, plain, signed = judge(line, lab)
    assert not faults, "\n".join([line.describe(), *faults, "=== curl", plain.describe(), "=== atl-sign curl", signed.describe()])
    return outcome


@pytest.mark.parametrize(("path", "has_cookie"), [("redirect/301/absolute/a", True), ("redirect/301/elsewhere/a", False)])
def test_a_cookie_of_the_line_stays_with_its_server(lab: Lab, path: str, has_cookie: bool) -> None:
    """curl sends `-b NAME=VALUE` wherever a redirect leads; we do within the link, and to no other server."""
    line = Line(("-sL", "-b", "a=b; c=d", f"http://SERVER/jira/{path}"), options=frozenset({"cookie", "location"}))

    outcome, faults, _, signed = judge(line, lab)

    assert (outcome, faults) == ("signed", [])
    assert [b"Cookie: a=b; c=d" in sent.headers for sent in signed.sent] == [True, has_cookie]


@pytest.mark.parametrize("shard", range(SHARDS))
def test_atl_sign_curl_sends_what_curl_sends(lab: Lab, reads_curlrc: bool, shard: int, capfd: pytest.CaptureFixture[str]) -> None:
    """Method, target, headers and body of every request, the status, standard output and files are curl's own."""
    tally = Tally()
    done: set[Line] = set()  # hypothesis comes back to what it has drawn
    failed: list[Line] = []
    wanted = -(-EXAMPLES // SHARDS)

    @seed(SEED * 1_000 + shard)
    @settings(
        max_examples=2 * wanted,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(command_lines(reads_curlrc=reads_curlrc))
    def check(line: Line) -> None:
        if line in done or (len(done) >= wanted and not failed):  # shrinking begins after the last line
            return
        failed.append(line)
        tally.add(line, hold(line, lab))
        failed.remove(line)
        done.add(line)

    check()

    with capfd.disabled():
        print(f"\ndifferential {shard + 1}/{SHARDS}: {tally.describe()}", file=sys.stderr)
    # In a few dozen lines it can be half by chance.
    assert tally.share >= (SHARE_MIN if wanted >= FEW else SHARE_MIN / 2), tally.describe()


BODY = b"f=from+stdin&g=1"
JIRA = "http://SERVER/jira"
# Each went wrong once, or takes too long to be drawn often.
SINCE = {"--json": 7_082, "--url-query": 7_087}  # as the table of options has versions
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
    Line(("-L", f"{JIRA}/redirect/302/outside/x", f"{JIRA}/y")),
    Line(("-sL", "--max-redirs", "3", f"{JIRA}/loop/302/x")),
    Line(("--retry", "1", f"{JIRA}/flaky/1/x")),
    Line(("--retry", "1", "-d", "a=1", f"{JIRA}/flaky/1/x")),
    Line(("--retry", "1", "--json", "@-", f"{JIRA}/flaky/1/x"), BODY),
    Line(("-f", "--retry", "1", f"{JIRA}/flaky/2/x")),
    Line(("--proxy", "http://ELSEWHERE", f"{JIRA}/x?a=1")),
]


@pytest.mark.parametrize("line", SIGNED_LINES, ids=lambda line: " ".join(line.arguments))
def test_lines_that_once_went_wrong_are_sent_as_curl_sends_them(lab: Lab, line: Line) -> None:
    """The same rules; and these are not to be refused."""
    for option, since in SINCE.items():
        if option in line.arguments and installed_version() < since:
            pytest.skip(f"the installed curl has no {option}")
    assert hold(Line(("-s", *line.arguments), line.stdin), lab) == "signed"

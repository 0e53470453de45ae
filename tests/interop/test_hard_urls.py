"""Hard requests: our signature is the one that Net::OAuth (Perl) and oauth-1.0a (npm) make with the same key, nonce and time."""

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from atl_sign.base.credentials import Consumer, Secret
from atl_sign.base.urls import parse_pairs, parse_url
from atl_sign.schemes.oauth1.signature import LegRequest, sign, signature_base_string
from atl_sign.schemes.oauth1.tokens import AccessToken
from tests.interop.table import ROWS, Row
from tests.vectors import private_key, private_pem

pytestmark = pytest.mark.slow  # they need Perl's and Node's packages, which `make test` installs

HERE = Path(__file__).parent
NONCE, TIMESTAMP = "0123456789abcdef", 1_700_000_000

Answers = dict[str, dict[str, str]]  # by the row's name


def _ask(command: Sequence[str]) -> Answers:
    """Run *command* once for the whole table."""
    lines = [
        json.dumps({**asdict(row), "key": private_pem(), "nonce": NONCE, "timestamp": str(TIMESTAMP)}, ensure_ascii=False)
        for row in ROWS
    ]
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    process = subprocess.run(
        command, input="\n".join(lines), capture_output=True, encoding="utf-8", timeout=60, cwd=HERE, env=environment
    )
    assert process.returncode == 0, f"{command[0]} failed: {process.stderr}"
    assert process.stderr == ""
    answers = [json.loads(line) for line in process.stdout.splitlines()]
    assert len(answers) == len(ROWS)
    return {row.name: answer for row, answer in zip(ROWS, answers, strict=True)}


@pytest.fixture(scope="module")
def perl() -> Answers:
    """What Net::OAuth answers."""
    return _ask(["perl", "net_oauth.pl"])


@pytest.fixture(scope="module")
def npm() -> Answers:
    """What oauth-1.0a answers."""
    assert (HERE / "node_modules").is_dir(), "first: npm ci --prefix tests/interop"
    return _ask(["node", "oauth_1_0a.cjs"])


def _ours(row: Row) -> dict[str, str]:
    form = None if row.form is None else parse_pairs(row.form, "form")
    request = LegRequest(row.method, parse_url(row.url), form, row.oauth)
    consumer = Consumer(row.consumer_key, private_key())
    token = None if row.token is None else AccessToken(Secret(row.token), Secret(""))
    moment: Any = {"nonce": NONCE, "timestamp": TIMESTAMP}
    header = sign(request, consumer, token, **moment)
    signature = unquote(header.partition('oauth_signature="')[2].removesuffix('"'))
    return {"base_string": signature_base_string(request, consumer, token, **moment), "signature": signature}


def _case(row: Row) -> object:
    return pytest.param(row, id=row.name)


@pytest.mark.parametrize("row", [_case(row) for row in ROWS if not row.not_perl])
def test_net_oauth_makes_the_same_signature(row: Row, perl: Answers) -> None:
    """And the same base string, which says more when it differs."""
    assert perl[row.name] == _ours(row)


@pytest.mark.parametrize("row", [_case(row) for row in ROWS])
def test_oauth_1_0a_makes_the_same_signature(row: Row, npm: Answers) -> None:
    """And the same base string, which says more when it differs."""
    assert npm[row.name] == _ours(row)


@pytest.mark.parametrize("row", [_case(row) for row in ROWS if row.not_perl])
def test_net_oauth_does_differ_where_the_table_says_so(row: Row, perl: Answers) -> None:
    """When it no longer does, the row's excuse goes."""
    assert perl[row.name].get("signature") != _ours(row)["signature"]


@pytest.mark.parametrize("row", [_case(row) for row in ROWS])
def test_a_changed_request_has_another_signature(row: Row, perl: Answers, npm: Answers) -> None:
    """The twin: one more parameter, and neither agrees."""
    url, hash_sign, fragment = row.url.partition("#")
    changed = replace(row, url=f"{url}{'&' if '?' in url else '?'}zz=1{hash_sign}{fragment}")

    assert _ours(changed)["signature"] not in (perl[row.name].get("signature"), npm[row.name]["signature"])


def test_every_row_has_a_name_of_its_own() -> None:
    """Answers are kept by it; forty rows are the least."""
    assert len({row.name for row in ROWS}) == len(ROWS) >= 40

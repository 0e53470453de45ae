"""One table of Content-Types for every client: which are forms, and are signed as such; which are refused, and sent to nobody."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests

from atl_sign_client import AtlSignAuth, AtlSignError, AtlSignHTTPXAuth
from tests.clients.differential.lab import Lab
from tests.lab import REPOSITORY

TABLE = REPOSITORY / "tests/vectors/form_types.json"
CASES = json.loads(TABLE.read_text())["cases"]
FORM = "a=%C3%A9&b=2"

each_type = pytest.mark.parametrize("case", CASES, ids=[repr(case["content_type"]) for case in CASES])


@each_type
def test_the_table_is_what_tomcat_does(case: dict[str, Any]) -> None:
    """A form is one for both versions, what is none is none for both; what they read differently is refused."""
    parsed = (case["tomcat_9"], case["tomcat_10"])

    assert case["is"] == "refused" or parsed == ((case["is"] == "form"),) * 2
    assert len(set(parsed)) == 1 or case["is"] == "refused"


def hold(lab: Lab, case: dict[str, Any], refusal: str | None) -> None:
    """Assert that the request was refused, or arrived with a signature over what the server reads."""
    sent = lab.recorder.take()
    if case["is"] == "refused":
        assert refusal is not None
        assert "Content-Type is not in lower case" in refusal or "another encoding than UTF-8" in refusal
        assert sent == []
    else:
        assert refusal is None
        assert [(each.verdict, each.body) for each in sent] == [("signed", FORM.encode())]


@each_type
@pytest.mark.parametrize("in_bytes", [False, True])
def test_requests(lab: Lab, case: dict[str, Any], in_bytes: bool) -> None:
    """A header may be bytes there."""
    kind = case["content_type"].strip()  # requests takes no blank in front
    given: Any = kind.encode("latin-1") if in_bytes else kind
    refusal = None
    try:
        requests.post(f"{lab.recorder.base_url}/x", data=FORM, headers={"Content-Type": given}, auth=AtlSignAuth(), timeout=20)
    except AtlSignError as exc:
        refusal = exc.message

    hold(lab, case, refusal)


@each_type
def test_httpx(lab: Lab, case: dict[str, Any]) -> None:
    """The same."""
    refusal = None
    headers = {b"Content-Type": case["content_type"].strip(" \t").encode("latin-1")}  # h11 takes no blank in front
    try:
        with httpx.Client(auth=AtlSignHTTPXAuth(), trust_env=False) as client:
            client.post(f"{lab.recorder.base_url}/x", content=FORM, headers=headers)
    except AtlSignError as exc:
        refusal = exc.message

    hold(lab, case, refusal)


@each_type
def test_curl(lab: Lab, case: dict[str, Any]) -> None:
    """`atl-sign curl`, whose engine is bash."""
    header = b"Content-Type: " + case["content_type"].encode("latin-1")
    command = [REPOSITORY / "clients/bash/atl-sign", "curl", "-sS", "-H", header, "-d", FORM, f"{lab.recorder.base_url}/x"]
    done = subprocess.run(command, env=lab.daemon.environment, capture_output=True, check=False, timeout=60)

    assert done.returncode == (125 if case["is"] == "refused" else 0), done.stderr
    hold(lab, case, done.stderr.decode() if done.returncode else None)


def test_node() -> None:
    """The function that `signedFetch`, Axios and undici ask."""
    node = shutil.which("node")
    assert node is not None, "Node is needed: apt-get install nodejs"
    module = Path(REPOSITORY, "clients/node/form.js").as_uri()
    script = f"""
        import {{readFileSync}} from 'node:fs';
        import {{isForm}} from '{module}';
        const judge = type => {{ try {{ return isForm(type) ? 'form' : 'other'; }} catch (error) {{ return error.code; }} }};
        const {{cases}} = JSON.parse(readFileSync(process.argv[1]));
        console.log(JSON.stringify(cases.map(each => judge(each.content_type))));
    """
    command = [node, "--input-type=module", "-e", script, "--", str(TABLE)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)

    expected = [case["is"].replace("refused", "bad_request") for case in CASES]
    assert json.loads(done.stdout) == expected


def test_two_types_are_refused(lab: Lab) -> None:
    """A server reads the first, httpx's own look-up joins them; without a body no type counts."""
    url = f"{lab.recorder.base_url}/x"
    two = [("Content-Type", "application/x-www-form-urlencoded"), ("content-type", "text/plain")]
    with httpx.Client(auth=AtlSignHTTPXAuth(), trust_env=False) as client:
        with pytest.raises(AtlSignError, match="two Content-Type headers"):
            client.post(url, content=FORM, headers=two)
        assert lab.recorder.take() == []
        client.get(url, headers=two)
        client.get(url, headers={"Content-Type": "Application/X-WWW-Form-Urlencoded"})

    assert [each.verdict for each in lab.recorder.take()] == ["signed"] * 2

"""The three legs: request token, the user's decision, access token and its renewal."""

import base64
import hashlib
import re
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import pytest

from atl_sign.sandbox import ApproveError, Sandbox
from tests.sandbox.browser import Browser, heading, hidden_fields
from tests.sandbox.consumer import ACCESS_TOKEN, AUTHORIZE, REQUEST_TOKEN, WHO_AM_I, Clock, Consumer, KeyPair, Reply, send

Make = Callable[[str], Consumer]
CALLBACK = "http://127.0.0.1:9/callback?state=1"


@pytest.fixture
def jira(registered: Make) -> Consumer:
    """A consumer at Jira that has not danced."""
    return registered("jira")


@pytest.fixture
def alice(jira: Consumer) -> Browser:
    """Alice, logged in at Jira."""
    browser = Browser(jira.base)
    browser.log_in("alice")
    return browser


def authorize_url(consumer: Consumer, callback: str | None = "oob") -> tuple[str, str]:
    """Return the page's address, and the request token."""
    token = consumer.request_token(callback)["oauth_token"]
    return f"{consumer.base}{AUTHORIZE}?oauth_token={token}", token


def decide(browser: Browser, url: str, **button: str) -> Reply:
    """Press a button on the consent page; returns the answer."""
    return browser.post(AUTHORIZE, {**hidden_fields(browser.get(url.removeprefix(browser.base)).text), **button})


@pytest.mark.parametrize("product", WHO_AM_I)
def test_whole_dance_by_code(danced: Make, product: str) -> None:
    """requests-oauthlib dances at each product; tokens are 32 letters and digits, the lifetimes those of facts section 2."""
    consumer = danced(product)

    fields = consumer.dance("bob")

    assert fields["oauth_expires_in"] == "157680000"
    assert fields["oauth_authorization_expires_in"] == "160272000"
    for name in ("oauth_token", "oauth_token_secret", "oauth_session_handle"):
        assert len(fields[name]) == 32
        assert fields[name].isalnum()
    assert "bob" in consumer.call("GET", WHO_AM_I[product]).text


def test_request_token_answer(jira: Consumer) -> None:
    """text/plain, form-encoded; confirmed only when a callback was sent."""
    reply = jira.call("POST", REQUEST_TOKEN, callback_uri="oob")
    without = jira.call("POST", REQUEST_TOKEN)

    assert reply.headers["Content-Type"] == "text/plain;charset=UTF-8"
    assert set(reply.fields) == {"oauth_token", "oauth_token_secret", "oauth_callback_confirmed"}
    assert reply.fields["oauth_callback_confirmed"] == "true"
    assert set(without.fields) == {"oauth_token", "oauth_token_secret"}


@pytest.mark.parametrize("path", [REQUEST_TOKEN, ACCESS_TOKEN])
def test_tokens_come_by_post_alone(jira: Consumer, path: str) -> None:
    """A GET is not allowed."""
    reply = jira.call("GET", path, callback_uri="oob")

    assert reply.status == 405
    assert reply.headers["Allow"] == "POST"


@pytest.mark.parametrize(
    "callback", ["oob", "http://127.0.0.1:8765/cb?i=1", "http://localhost:1/", "https://example.com", "http://[::1]:5/x"]
)
def test_callback_may_be_any_web_address(jira: Consumer, callback: str) -> None:
    """There is no list of allowed ones."""
    assert jira.request_token(callback)["oauth_callback_confirmed"] == "true"


@pytest.mark.parametrize("callback", ["app://callback", "/callback", "callback", "http://", "OOB", "http://[", "http://h/\n", ""])
def test_other_callback_is_rejected(jira: Consumer, callback: str) -> None:
    """A scheme of one's own, a relative address, nonsense."""
    reply = jira.call("POST", REQUEST_TOKEN, callback_uri=callback or " ")

    assert reply.status == 400
    assert reply.problem == "parameter_rejected"
    assert reply.fields["oauth_parameters_rejected"] == "oauth_callback"
    assert reply.fields["oauth_problem_advice"]


def test_request_token_needs_a_known_consumer_and_the_right_key(jira: Consumer, other_key_pair: KeyPair) -> None:
    """Each wrong in its own way."""
    wrong_key = jira.call("POST", REQUEST_TOKEN, callback_uri="oob", rsa_key=other_key_pair.private_pem)
    jira.key = "nobody"
    unknown = jira.call("POST", REQUEST_TOKEN, callback_uri="oob")

    assert (wrong_key.status, wrong_key.problem) == (401, "signature_invalid")
    assert (unknown.status, unknown.problem) == (401, "consumer_key_unknown")


def test_allow_leads_back_with_token_and_verifier(jira: Consumer) -> None:
    """Appended to the callback's own query; the verifier is good for the access token."""
    url, token = authorize_url(jira, CALLBACK)

    address = jira.provider.approve("jira", url)

    query = parse_qs(urlsplit(address).query)
    assert address.startswith(f"{CALLBACK}&oauth_token={token}&oauth_verifier=")
    assert len(query["oauth_verifier"][0]) == 6
    assert jira.swap(token, query["oauth_verifier"][0]).status == 200


def test_callback_without_a_query_gets_one(jira: Consumer) -> None:
    """By "?", not by "&"."""
    url, token = authorize_url(jira, "http://127.0.0.1:9/x")

    assert jira.provider.approve("jira", url).startswith(f"http://127.0.0.1:9/x?oauth_token={token}&oauth_verifier=")


def test_deny_leads_back_too(jira: Consumer) -> None:
    """With "denied" for a verifier, and the swap is permission_denied."""
    url, token = authorize_url(jira, CALLBACK)

    address = jira.provider.approve("jira", url, deny=True)

    assert address == f"{CALLBACK}&oauth_token={token}&oauth_verifier=denied"
    assert (jira.swap(token, "denied").status, jira.swap(token, "denied").problem) == (401, "permission_denied")


def test_deny_without_a_callback_shows_a_page(jira: Consumer, alice: Browser) -> None:
    """No code on it."""
    url, token = authorize_url(jira)

    reply = decide(alice, url, deny="Deny")

    assert heading(reply.text) == "Access denied"
    assert "oauth_verifier" not in reply.text
    assert jira.swap(token, "x").problem == "permission_denied"
    assert jira.provider.approve("jira", authorize_url(jira)[0], deny=True) == "denied"


def test_page_asks_in_the_consumers_name(jira: Consumer, alice: Browser) -> None:
    """Who asks, as whom, and where it goes from here; nothing is loaded from anywhere."""
    url, _ = authorize_url(jira, CALLBACK)

    reply = alice.get(url.removeprefix(jira.base))

    assert heading(reply.text) == "Allow Test consumer?"
    assert "<strong>alice</strong>" in reply.text
    assert CALLBACK in reply.text
    assert "src=" not in reply.text


def test_policy_lets_nothing_in_but_the_style_and_the_icon(jira: Consumer) -> None:
    """The hash (CSP level 3, section 8.4) is that of the page's one style element, to the byte; no script, no frame around it."""
    reply = Browser(jira.base).get("/")

    (style,) = re.findall(r"<style>(.*?)</style>", reply.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert reply.headers["Content-Security-Policy"] == (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; frame-ancestors 'none'"
    )
    assert " style=" not in reply.text


def test_names_are_escaped_on_the_page(jira: Consumer, alice: Browser) -> None:
    """A consumer's name is no HTML."""
    consumer = jira.provider.state.sites["jira"].state.find_consumer(jira.key)
    assert consumer is not None
    consumer.name = "<script>alert(1)</script>"

    reply = alice.get(authorize_url(jira)[0].removeprefix(jira.base))

    assert "<script>" not in reply.text
    assert heading(reply.text) == "Allow <script>alert(1)</script>?"


def test_page_wants_a_login_first(jira: Consumer) -> None:
    """And comes back to where it was."""
    browser, (url, token) = Browser(jira.base), authorize_url(jira)

    asked = browser.get(url.removeprefix(jira.base))
    login = send("GET", f"http://{urlsplit(jira.base).netloc}{asked.headers['Location']}")
    fields = hidden_fields(login.text)
    back = browser.post("/login.jsp", {**fields, "os_username": "alice", "os_password": "alice"})

    assert asked.status == 302
    assert urlsplit(asked.headers["Location"]).path == "/jira/login.jsp"
    assert fields["os_destination"] == f"{AUTHORIZE}?oauth_token={token}"
    assert back.headers["Location"] == f"/jira{AUTHORIZE}?oauth_token={token}"
    assert Browser(jira.base).post(AUTHORIZE, {"oauth_token": token}).status == 302


@pytest.mark.parametrize("change", [{"atl_token": "wrong"}, {"atl_token": ""}])
def test_decision_needs_the_xsrf_token(jira: Consumer, alice: Browser, change: dict[str, str]) -> None:
    """403 and nothing decided; with the token it passes."""
    url, token = authorize_url(jira)
    fields = {**hidden_fields(alice.get(url.removeprefix(jira.base)).text), "approve": "Allow"}

    refused = alice.post(AUTHORIZE, {**fields, **change})
    problem = jira.swap(token, "x").problem
    allowed = alice.post(AUTHORIZE, fields)

    assert refused.status == 403
    assert problem == "permission_unknown"
    assert allowed.status == 200


def test_decision_needs_a_button(jira: Consumer, alice: Browser) -> None:
    """Neither Allow nor Deny decides nothing."""
    url, token = authorize_url(jira)

    assert decide(alice, url).status == 400
    assert jira.swap(token, "x").problem == "permission_unknown"


def test_page_is_good_for_one_decision(jira: Consumer, alice: Browser) -> None:
    """Afterwards it is token_used, for the page and for the form."""
    url, _ = authorize_url(jira)
    fields = hidden_fields(alice.get(url.removeprefix(jira.base)).text)
    decide(alice, url, approve="Allow")

    page, form = alice.get(url.removeprefix(jira.base)), alice.post(AUTHORIZE, {**fields, "approve": "Allow"})

    for reply in (page, form):
        assert reply.status == 401
        assert "token_used" in reply.text
        assert jira.provider.state.requests[-1].verdict == "token_used"


def test_page_of_an_old_request_token(jira: Consumer, alice: Browser, clock: Clock) -> None:
    """Ten minutes; one second earlier it still asks."""
    url, token = authorize_url(jira)

    clock.now += 599
    before = alice.get(url.removeprefix(jira.base))
    clock.now += 1
    after = alice.get(url.removeprefix(jira.base))

    assert before.status == 200
    assert (after.status, "token_expired" in after.text) == (401, True)
    assert (jira.swap(token, "x").status, jira.swap(token, "x").problem) == (401, "token_expired")


@pytest.mark.parametrize("query", ["", "?oauth_token=unknown"])
def test_page_of_no_request_token(alice: Browser, query: str) -> None:
    """An HTML page, 401, with the challenge."""
    reply = alice.get(AUTHORIZE + query)

    assert reply.status == 401
    assert "token_rejected" in reply.text
    assert reply.headers["WWW-Authenticate"].startswith("OAuth realm=")


def test_swap_before_the_decision_may_be_repeated(jira: Consumer) -> None:
    """permission_unknown takes neither the token nor the nonce."""
    url, token = authorize_url(jira)

    early = [jira.swap(token, "x", nonce="same").problem for _ in range(2)]
    code = jira.provider.approve("jira", url)

    assert early == ["permission_unknown"] * 2
    assert jira.swap(token, code, nonce="same").status == 200


def test_swap_wants_the_right_verifier(jira: Consumer) -> None:
    """Wrong, missing, then right, then a second time."""
    url, token = authorize_url(jira)
    code = jira.provider.approve("jira", url)

    wrong, missing, right, again = (jira.swap(token, verifier) for verifier in ("wrong1", None, code, code))

    assert (wrong.status, wrong.problem) == (401, "token_rejected")
    assert (missing.status, missing.fields["oauth_parameters_absent"]) == (400, "oauth_verifier")
    assert right.status == 200
    assert (again.status, again.problem) == (401, "token_rejected")


def test_swap_wants_the_right_key_and_consumer(jira: Consumer, clock: Clock, key_pair: KeyPair, other_key_pair: KeyPair) -> None:
    """The signature is checked last, and then nothing is lost."""
    url, token = authorize_url(jira)
    code = jira.provider.approve("jira", url)
    other = Consumer(jira.provider, "jira", key_pair, clock, key="other-consumer")

    assert other.swap(token, code).problem == "token_rejected"
    assert jira.swap(token, code, rsa_key=other_key_pair.private_pem).problem == "signature_invalid"
    assert jira.swap(token, code).status == 200


def test_access_token_keeps_the_request_tokens_secret(jira: Consumer) -> None:
    """The products hand it on."""
    fields = jira.request_token()
    code = jira.provider.approve("jira", f"{jira.base}{AUTHORIZE}?oauth_token={fields['oauth_token']}")

    assert jira.swap(fields["oauth_token"], code).fields["oauth_token_secret"] == fields["oauth_token_secret"]


def test_renewal_replaces_the_token(jira: Consumer, clock: Clock) -> None:
    """Even after the token's own end: the old one is gone at once, the handle is new."""
    fields = jira.dance()
    clock.now += 157_680_000

    renewed = jira.renew(fields["oauth_session_handle"])
    old = jira.call("GET", "/rest/api/2/myself")
    jira.token = renewed.fields["oauth_token"]
    new = jira.call("GET", "/rest/api/2/myself")

    assert set(renewed.fields) == set(fields)
    assert renewed.fields["oauth_token"] != fields["oauth_token"]
    assert renewed.fields["oauth_session_handle"] != fields["oauth_session_handle"]
    assert old.problem == "token_rejected"
    assert new.status == 200


def test_renewal_wants_the_right_handle(jira: Consumer) -> None:
    """Wrong and missing; the token lives on."""
    fields = jira.dance()

    wrong = jira.renew("x" * 32)
    missing = jira.call("POST", ACCESS_TOKEN)

    assert (wrong.status, wrong.problem) == (401, "token_rejected")
    assert (missing.status, missing.fields["oauth_parameters_absent"]) == (400, "oauth_session_handle")
    assert jira.renew(fields["oauth_session_handle"]).status == 200


def test_renewal_ends_with_the_session(jira: Consumer, clock: Clock) -> None:
    """Thirty days after the token."""
    fields = jira.dance()
    clock.now += 160_272_000

    reply = jira.renew(fields["oauth_session_handle"])

    assert (reply.status, reply.problem) == (401, "permission_denied")


def test_oauth_1_0_dance_without_a_callback(jira: Consumer, alice: Browser) -> None:
    """No verifier: an "approved" page, and the swap works without."""
    url, token = authorize_url(jira, None)

    reply = decide(alice, url, approve="Allow")

    assert heading(reply.text) == "Access allowed"
    assert "oauth_verifier" not in reply.text
    assert jira.swap(token, None).status == 200
    assert jira.provider.approve("jira", authorize_url(jira, None)[0]) == ""


def test_oauth_1_0_callback_comes_with_the_page(jira: Consumer) -> None:
    """In its address; the way back has no verifier, but a refusal is told."""
    url, token = authorize_url(jira, None)
    denied_url, denied_token = authorize_url(jira, None)

    assert jira.provider.approve("jira", f"{url}&oauth_callback=http://h/x") == f"http://h/x?oauth_token={token}"
    denied = jira.provider.approve("jira", f"{denied_url}&oauth_callback=http://h/x", deny=True)
    assert denied == f"http://h/x?oauth_token={denied_token}&oauth_verifier=denied"


@pytest.mark.parametrize(
    ("callback", "expected"), [("oob", "http://fixed.example/?"), (None, "http://fixed.example/?"), (CALLBACK, CALLBACK)]
)
def test_fixed_callback_counts_when_none_is_given(jira: Consumer, callback: str | None, expected: str) -> None:
    """The one of the request wins over the consumer's."""
    consumer = jira.provider.state.sites["jira"].state.find_consumer(jira.key)
    assert consumer is not None
    consumer.callback = "http://fixed.example/"

    assert jira.provider.approve("jira", authorize_url(jira, callback)[0]).startswith(expected)


def test_approve_says_why_not(jira: Consumer, provider: Sandbox) -> None:
    """The heading of the page where it ended."""
    with pytest.raises(ApproveError, match="This request cannot be allowed"):
        provider.approve("jira", f"{jira.base}{AUTHORIZE}?oauth_token=unknown")
    provider.state.sites["jira"].state.users["bob"].is_active = False
    with pytest.raises(ApproveError, match="Log in"):
        provider.approve("jira", authorize_url(jira)[0], "bob")


def test_revoked_grant_is_token_rejected(jira: Consumer, alice: Browser) -> None:
    """The row is deleted; another user cannot do it."""
    jira.dance()
    path = "/plugins/servlet/oauth/users/access-tokens"
    bob = Browser(jira.base)
    bob.log_in("bob")

    listed = alice.get(path)
    foreign = bob.post(path, {"token": jira.token or "", "atl_token": bob.xsrf_token()})
    before = jira.call("GET", "/rest/api/2/myself")
    revoked = alice.post(path, hidden_fields(listed.text))
    after = jira.call("GET", "/rest/api/2/myself")

    assert "Test consumer" in listed.text
    assert "allowed 2023-11-14, ends 2028-11-12" in listed.text
    assert (foreign.status, before.status) == (401, 200)
    assert (revoked.status, "There are none." in revoked.text) == (200, True)
    assert after.problem == "token_rejected"


def test_grants_page_and_its_refusals(jira: Consumer, alice: Browser) -> None:
    """401 without a login, 403 without the XSRF token, 400 without a token, 200 for an unknown one."""
    path, nobody = "/plugins/servlet/oauth/users/access-tokens", Browser(jira.base)
    token = alice.xsrf_token()

    statuses = [
        alice.post(path, fields).status for fields in ({}, {"atl_token": token}, {"atl_token": token, "token": "unknown"})
    ]

    assert statuses == [403, 400, 200]
    assert nobody.get(path).status == 302
    assert nobody.post(path, {"token": "x"}).status == 401


def test_consumer_info_is_for_everybody(jira: Consumer) -> None:
    """The product's own consumer, with a public key; the same key each time, another for each product."""
    first, second = (send("GET", jira.base + "/plugins/servlet/oauth/consumer-info").text for _ in range(2))
    other = send("GET", jira.provider.base_url("bamboo") + "/plugins/servlet/oauth/consumer-info").text

    assert first == second
    assert "<publicKey>MIIBIjANBgkqhkiG9w0BAQ" in first
    assert first.partition("<publicKey>")[2] != other.partition("<publicKey>")[2]

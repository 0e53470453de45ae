"""One link's provider: the real sandbox for what it can do, a raw server for what no sandbox would."""

import functools
import re
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

import pytest

from atl_sign.base.credentials import Consumer, Secret
from atl_sign.base.errors import ProviderRefusedError, ProviderUnreachableError
from atl_sign.base.urls import Pairs
from atl_sign.config.links import Link, parse_base_url
from atl_sign.custody.keys.software import RsaPrivateKey, make_private_key
from atl_sign.providers.answer import Answer
from atl_sign.providers.clocks import Clocks
from atl_sign.providers.manifest import Manifest, fetch_manifest
from atl_sign.providers.who_am_i import check_link
from atl_sign.sandbox import Sandbox
from atl_sign.sandbox.keys import parse_public_key
from atl_sign.sandbox.problems import REFUSAL_FORMS, RefusalForm
from atl_sign.schemes.oauth1.legs import Legs
from atl_sign.schemes.oauth1.signature import LegRequest
from atl_sign.schemes.oauth1.tokens import AccessToken, RequestToken
from tests.lab import PRODUCTS
from tests.unit.provider_lab import (
    CONSUMER_KEY,
    Provider,
    everything_shown,
    make_link,
    make_provider,
    make_token,
    other_private_key,
    private_key,
    token_of,
)
from tests.unit.raw_server import RawServer, header_of, reply

WHO = "/rest/api/2/myself"
REQUEST_TOKEN = RequestToken(Secret("canary-request-token"), Secret("canary-request-secret"))
VERIFIER = Secret("canary-verifier")
TOKEN_FIELDS = {"oauth_token": "canary-key", "oauth_token_secret": "canary-secret"}


@pytest.fixture
def jira() -> Sandbox:
    """A Jira of this test's own, not started yet."""
    return Sandbox(("jira",))


def join(sandbox: Sandbox, product: str = "jira", *, key: str = CONSUMER_KEY, **settings: Any) -> Link:
    """Register our consumer in the sandbox; returns the link to it."""
    sandbox.register_consumer(product, key, private_key().public.pem)
    return make_link(sandbox.base_url(product), product, consumer_key=key, **settings)


def dance(sandbox: Sandbox, provider: Provider, product: str = "jira") -> AccessToken:
    """Return an access token that alice gave."""
    token = provider.fetch_request_token("oob")
    return token_of(provider.fetch_access_token(token, Secret(sandbox.approve(product, provider.authorize_url(token)))))


def verdicts(sandbox: Sandbox) -> list[str]:
    return [received.verdict for received in sandbox.state.requests]


@functools.cache
def key_of(bits: int, whose: str = "") -> RsaPrivateKey:
    """Return a key of *bits*; *whose* tells one from another of the same length."""
    del whose
    return make_private_key(bits)


def parameters(request: bytes) -> dict[str, str]:
    """Return the parameters in the request's Authorization header."""
    return {name: unquote(value) for name, value in re.findall(r'(\w+)="([^"]*)"', str(header_of(request, "Authorization")))}


def refuse(**fields: str) -> bytes:
    """Return an OAuth refusal, as net.oauth sends it."""
    body = urlencode(fields)
    challenge = "OAuth " + ", ".join(f'{name}="{quote(value, safe="")}"' for name, value in {"realm": "x", **fields}.items())
    if len(challenge) > 8192:  # as Tomcat bounds it: then the body alone tells
        challenge = "OAuth realm=x"
    return reply(body, 401, {"WWW-Authenticate": challenge, "Content-Type": "application/x-www-form-urlencoded"})


def refusal(call: Callable[[], object]) -> ProviderRefusedError:
    """Return the error of *call*, in which no secret of these tests stands."""
    with pytest.raises(ProviderRefusedError) as refused:
        call()
    shown = everything_shown(refused.value)
    assert "canary" not in shown
    assert "oauth_signature=" not in shown
    return refused.value


# the dance's legs


@pytest.mark.parametrize("product", PRODUCTS)
def test_three_legs_give_a_token_that_works(sandbox: Sandbox, product: str) -> None:
    """Request token, consent, access token, a signed call: at each product, verified by code that is not ours."""
    provider = make_provider(join(sandbox, product))

    token = dance(sandbox, provider, product)

    answer = provider.fetch_signed("/rest/applinks/1.0/manifest", token)
    assert answer.status == 200
    assert sandbox.state.requests[-1].verdict == "signed"
    assert sandbox.state.requests[-1].user == "alice"


def test_the_lifetimes_come_along(jira: Sandbox) -> None:
    """Expiry, session handle and the session's end, by our own clock (facts section 2)."""
    now = time.time()
    with jira:
        provider = make_provider(join(jira), clock=lambda: now)
        request_token = provider.fetch_request_token("oob")
        code = jira.approve("jira", provider.authorize_url(request_token))
        grant = provider.fetch_access_token(request_token, Secret(code))
    token = token_of(grant)

    start = datetime.fromtimestamp(now, UTC)
    assert grant.expires_at is not None
    assert token.session_expires_at is not None
    assert token.session_handle is not None
    assert abs(grant.expires_at - start - timedelta(days=5 * 365)) < timedelta(seconds=5)
    assert abs(token.session_expires_at - start - timedelta(days=5 * 365 + 30)) < timedelta(seconds=5)
    assert len(token.session_handle.reveal()) == 32
    assert grant.user is None


@pytest.mark.parametrize("life", [None, "", "-5", "soon", "9" * 11, "\u0665"])
def test_a_lifetime_that_cannot_be_read_is_none(life: str | None) -> None:
    """Older servers name no end; nothing is made up."""
    fields = TOKEN_FIELDS if life is None else {**TOKEN_FIELDS, "oauth_expires_in": life, "oauth_authorization_expires_in": life}
    with RawServer(reply(urlencode(fields))) as server:
        grant = make_provider(make_link(server.url)).fetch_access_token(REQUEST_TOKEN, VERIFIER)
    token = token_of(grant)

    assert token.key.reveal() == "canary-key"
    assert token.secret.reveal() == "canary-secret"
    assert grant.expires_at is None
    assert token.session_expires_at is None
    assert token.session_handle is None


def test_callback_and_verifier_travel_in_the_header() -> None:
    """Nothing secret in the address; an empty POST with its length."""
    with RawServer(
        reply(urlencode({**TOKEN_FIELDS, "oauth_callback_confirmed": "true"})), reply(urlencode(TOKEN_FIELDS))
    ) as server:
        provider = make_provider(make_link(server.url + "/jira"))
        token = provider.fetch_request_token("http://127.0.0.1:8765/cb?i=1")
        provider.fetch_access_token(token, VERIFIER)

    first, second = server.requests
    assert first.startswith(b"POST /jira/plugins/servlet/oauth/request-token HTTP/1.1\r\n")
    assert second.startswith(b"POST /jira/plugins/servlet/oauth/access-token HTTP/1.1\r\n")
    assert header_of(first, "Content-Length") == header_of(second, "Content-Length") == "0"
    assert parameters(first)["oauth_callback"] == "http://127.0.0.1:8765/cb?i=1"
    assert "oauth_token" not in parameters(first)
    assert parameters(second)["oauth_verifier"] == "canary-verifier"
    assert parameters(second)["oauth_token"] == "canary-key"
    assert parameters(first)["oauth_nonce"] != parameters(second)["oauth_nonce"]


def test_the_authorize_page_has_the_token_escaped() -> None:
    """Whatever characters a provider puts into it."""
    provider = make_provider(make_link("https://h/jira"))

    url = provider.authorize_url(RequestToken(Secret("a&b/c"), Secret("")))

    assert url == "https://h/jira/plugins/servlet/oauth/authorize?oauth_token=a%26b%2Fc"


def test_a_provider_that_does_not_confirm_the_callback_is_refused() -> None:
    """OAuth 1.0 without the a lets somebody else's consent be slipped in."""
    with RawServer(reply(urlencode(TOKEN_FIELDS))) as server:
        error = refusal(lambda: make_provider(make_link(server.url)).fetch_request_token("oob"))

    assert "did not confirm the callback" in error.message
    assert error.problem is None


def test_denied_expired_and_early_swaps_have_their_words(jira: Sandbox) -> None:
    """The sandbox's own answers to each."""
    with jira:
        provider = make_provider(join(jira))
        token = provider.fetch_request_token("oob")
        early = refusal(lambda: provider.fetch_access_token(token, VERIFIER))
        code = jira.approve("jira", provider.authorize_url(token))
        wrong = refusal(lambda: provider.fetch_access_token(token, Secret("wrong1")))
        provider.fetch_access_token(token, Secret(code))
        again = refusal(lambda: provider.fetch_access_token(token, Secret(code)))
        token = provider.fetch_request_token("oob")
        assert jira.approve("jira", provider.authorize_url(token), deny=True) == "denied"
        denied = refusal(lambda: provider.fetch_access_token(token, Secret("denied")))
        token = provider.fetch_request_token("oob")
        jira.clock = lambda: time.time() + 601
        expired = refusal(lambda: provider.fetch_access_token(token, VERIFIER))

    assert [error.problem for error in (early, wrong, again, denied, expired)] == [
        "permission_unknown",
        "token_rejected",
        "token_rejected",
        "permission_denied",
        "token_expired",
    ]
    assert "not decided yet" in early.message
    assert early.hint == "press Allow on the provider's page, then try again"


# who we are to it


def test_a_consumer_that_is_not_registered_is_told_where_to_enter_it(jira: Sandbox) -> None:
    """The commonest first failure."""
    with jira:
        link = make_link(jira.base_url("jira"), "tools", consumer_key="nobody")
        error = refusal(lambda: make_provider(link).fetch_request_token("oob"))

    assert error.problem == "consumer_key_unknown"
    assert "atl-sign link setup tools" in str(error.hint)


def test_another_public_key_is_told_as_such(jira: Sandbox) -> None:
    """The base strings are equal, so nothing but the key pair is left."""
    with jira:
        jira.register_consumer("jira", CONSUMER_KEY, other_private_key().public.pem)
        error = refusal(lambda: make_provider(make_link(jira.base_url("jira"))).fetch_request_token("oob"))

    assert error.problem == "signature_invalid"
    assert "another public key" in error.message


@pytest.mark.parametrize("ours", [2048, 3072, 4096])
@pytest.mark.parametrize("theirs", [1024, 2048, 3072, 4096])
def test_a_public_key_of_another_length_is_found_out(jira: Sandbox, ours: int, theirs: int) -> None:
    """The products' library throws over it: 500, an OAuth challenge and no problem, in every leg, in a renewal and in a check."""
    mine, other = key_of(ours), key_of(theirs, "other")
    with jira:
        jira.register_consumer("jira", CONSUMER_KEY, mine.public.pem)
        link = make_link(jira.base_url("jira"))
        provider = Provider(link, Consumer(CONSUMER_KEY, mine), Clocks())
        token, request_token = dance(jira, provider), provider.fetch_request_token("oob")
        code = jira.approve("jira", provider.authorize_url(request_token))
        consumer = jira.state.sites["jira"].state.find_consumer(CONSUMER_KEY)
        assert consumer is not None
        consumer.public_key = parse_public_key(other.public.pem, may_be_certificate=False)
        errors = [
            refusal(lambda: provider.fetch_request_token("oob")),
            refusal(lambda: provider.fetch_access_token(request_token, Secret(code))),
            refusal(lambda: provider.renew_access_token(token)),
            refusal(lambda: provider.fetch_signed(WHO, token)),
        ]
        consumer.public_key = parse_public_key(mine.public.pem, may_be_certificate=False)
        assert provider.fetch_signed(WHO, token).status == 200  # nothing was spent

    bits = "" if ours == theirs else f": it has {theirs} bits, this machine's has {ours}"
    for error in errors:
        assert error.message == f"link jira: the provider has another public key for this consumer{bits} (signature_invalid)"
        assert error.hint == "an administrator enters the key that `atl-sign key` prints"
        assert error.problem == "signature_invalid"


@pytest.mark.parametrize("challenge", [{}, {"WWW-Authenticate": "Basic realm=x"}])
def test_a_fault_of_the_provider_is_not_blamed_on_the_key(challenge: dict[str, str]) -> None:
    """The twin: without an OAuth challenge the signature was not what it failed over, and nothing more is asked."""
    with RawServer(reply("Internal Server Error", 500, challenge)) as server:
        error = refusal(lambda: make_provider(make_link(server.url)).fetch_request_token("oob"))

    assert "status 500" in error.message
    assert "key" not in f"{error.message} {error.hint}"
    assert error.problem is None
    assert len(server.requests) == 1


def test_a_provider_that_fails_over_every_signature_is_not_blamed_on_the_key() -> None:
    """The twin: a broken key store, say; a signature of no length is taken."""
    with RawServer(reply("", 500, {"WWW-Authenticate": 'OAuth realm="x"'})) as server:
        error = refusal(lambda: make_provider(make_link(server.url)).fetch_signed(WHO, make_token()))

    assert error.message == "link jira: the provider failed while it checked the signature (status 500, no oauth_problem)"
    assert "key" not in str(error.hint)
    assert error.problem is None
    assert all(b"canary" not in request for request in server.requests[1:])  # the token is not what is tried


def test_a_revoked_token_needs_a_new_dance(jira: Sandbox) -> None:
    """Revoking deletes it, so the provider has never heard of it."""
    with jira:
        provider = make_provider(join(jira))
        token = dance(jira, provider)
        assert provider.fetch_signed(WHO, token).status == 200
        jira.state.sites["jira"].state.access_tokens.clear()
        error = refusal(lambda: provider.fetch_signed(WHO, token))

    assert error.problem == "token_rejected"
    assert error.hint == "atl-sign dance jira"


def test_a_proxy_that_hides_the_address_is_named_and_signing_url_helps(jira: Sandbox) -> None:
    """The server sees itself under another address: the error says which, and that one works."""
    behind = Sandbox(("jira",), base_url="https://inner.example:8443/tools", is_behind_proxy=True)
    with behind:
        link = join(behind)
        error = refusal(lambda: make_provider(link).fetch_request_token("oob"))
        mended = make_link(str(link.url), "jira", signing_url=parse_base_url("https://inner.example:8443/tools"))
        dance(behind, make_provider(mended))

    assert error.problem == "signature_invalid"
    assert "believes it was called at https://inner.example:8443/tools/plugins/servlet/oauth/request-token" in error.message
    assert f"signed was {link.url}/plugins/servlet/oauth/request-token: another scheme" in error.message
    assert "--signing-url https://inner.example:8443/tools" in str(error.hint)


# signatures that differ on the way


def misread(change: Callable[[str, str, list[tuple[str, str]]], tuple[str, str, list[tuple[str, str]]]]) -> RawServer:
    """Return a server that computes its base string of another request than it got."""

    def answer(connection: socket.socket, request: bytes) -> None:
        line = request.split(b"\r\n", 1)[0].decode()
        method, target, _ = line.split(" ")
        parts = urlsplit(target)
        signed = [*parse_qsl(parts.query), *parameters(request).items()]
        signed = [(name, value) for name, value in signed if name != "oauth_signature"]
        method, uri, signed = change(method, f"http://{header_of(request, 'Host')}{parts.path}", signed)
        pairs = "&".join(f"{n}={v}" for n, v in sorted((quote(n, safe="-._~"), quote(v, safe="-._~")) for n, v in signed))
        base_string = "&".join(quote(part, safe="-._~") for part in (method, uri, pairs))
        connection.sendall(refuse(oauth_problem="signature_invalid", oauth_signature_base_string=base_string))

    return RawServer(answer)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m, u, p: (m, u, p), "another public key"),
        (lambda m, u, p: ("HEAD", u, p), "got the method HEAD, signed was GET"),
        (lambda m, u, p: (m, u.replace("http://", "https://"), p), "another scheme"),
        (lambda m, u, p: (m, u.replace("127.0.0.1", "backend"), p), "at http://backend:"),
        (lambda m, u, p: (m, u.replace("/jira/", "/"), p), "another path"),
        (lambda m, u, p: (m, u, [*p, ("jsessionid", "canary-session")]), "other parameters than were signed: jsessionid"),
        (lambda m, u, p: (m, u, [(n, v) for n, v in p if n != "expand"]), "other parameters than were signed: expand"),
        (lambda m, u, p: (m, u, [(n, "b" if n == "expand" else v) for n, v in p]), "other parameters than were signed: expand"),
    ],
    ids=["nothing", "method", "scheme", "host", "path", "added", "lost", "changed"],
)
def test_the_part_that_differs_is_named(
    change: Callable[[str, str, list[tuple[str, str]]], tuple[str, str, list[tuple[str, str]]]], words: str
) -> None:
    """Each thing that a proxy can do to a request on its way; never the token that the base strings hold."""
    with misread(change) as server:
        provider = make_provider(make_link(server.url + "/jira"))
        error = refusal(lambda: provider.fetch_signed("/rest/x?expand=a", make_token()))

    assert words in error.message
    assert error.problem == "signature_invalid"
    assert len(server.requests) == 1


def test_a_long_base_string_is_compared_whole() -> None:
    """A query of 40,000 characters differs in one parameter at its end."""
    query = "&".join(f"p{number}=%C3%A4" for number in range(4000))
    with misread(lambda m, u, p: (m, u, [*p, ("zz", "1")])) as server:
        provider = make_provider(make_link(server.url))
        error = refusal(lambda: provider.fetch_signed(f"/x?{query}", make_token()))

    assert "other parameters than were signed: zz (" in error.message


# clocks and nonces


@pytest.mark.parametrize("ahead_s", [3600, -3600])
def test_the_providers_clock_is_learned_and_the_request_repeated_once(ahead_s: int) -> None:
    """A refused timestamp tells the time: the next ones are right at once."""
    with Sandbox(("jira",), clock=lambda: time.time() + ahead_s) as sandbox:
        provider = make_provider(join(sandbox))
        dance(sandbox, provider)

    found = [verdict for verdict in verdicts(sandbox) if verdict not in ("anonymous", "session")]
    assert found.count("timestamp_refused") == 1
    assert found[0] == "timestamp_refused"
    assert abs(provider.clock_offset_s - ahead_s) < 5


@pytest.mark.parametrize("refusals", REFUSAL_FORMS)
@pytest.mark.parametrize("ahead_s", [3600, -3600])
def test_the_clock_is_learned_from_whichever_copy_can_be_read(refusals: RefusalForm, ahead_s: int) -> None:
    """A line's end after the body, a header alone, a body alone, a page over the body: dance and check succeed all the same."""
    with Sandbox(("jira",), clock=lambda: time.time() + ahead_s, refusals=refusals) as sandbox:
        link = join(sandbox)
        token = dance(sandbox, make_provider(link))
        provider = make_provider(link)
        result = check_link(link, provider.session(token).send, provider.clocks, fetch_manifest(link))

    assert result.user == "alice"
    assert abs(provider.clock_offset_s - ahead_s) < 5
    assert verdicts(sandbox).count("timestamp_refused") == 2


def test_a_known_offset_needs_no_refusal() -> None:
    """What was learned before is used from the first request on."""
    with Sandbox(("jira",), clock=lambda: time.time() + 3600) as sandbox:
        dance(sandbox, make_provider(join(sandbox), clock_offset_s=3600.0))

    assert "timestamp_refused" not in verdicts(sandbox)


def test_a_timestamp_refused_twice_is_told() -> None:
    """Two requests, not more; the second has the provider's time."""
    theirs = int(time.time()) + 3600
    acceptable = f"{theirs - 300}-{theirs + 300}"
    with RawServer(refuse(oauth_problem="timestamp_refused", oauth_acceptable_timestamps=acceptable)) as server:
        error = refusal(lambda: make_provider(make_link(server.url)).fetch_signed(WHO, make_token()))

    assert error.problem == "timestamp_refused"
    assert "NTP" in str(error.hint)
    assert len(server.requests) == 2
    assert abs(int(parameters(server.requests[1])["oauth_timestamp"]) - theirs) < 5


@pytest.mark.parametrize(
    "acceptable", [{}, {"oauth_acceptable_timestamps": "now-then"}, {"oauth_acceptable_timestamps": "1-600"}]
)
def test_a_timestamp_refused_without_a_time_is_told_at_once(acceptable: dict[str, str]) -> None:
    """There is nothing to learn, so nothing to try."""
    with RawServer(refuse(oauth_problem="timestamp_refused", **acceptable)) as server:
        provider = make_provider(make_link(server.url))
        refusal(lambda: provider.fetch_signed(WHO, make_token()))

    assert len(server.requests) == 1
    assert provider.clock_offset_s == 0.0


def test_a_used_nonce_is_replaced_once() -> None:
    """A proxy sent the request twice: a fresh nonce and a new signature get through."""
    with RawServer(refuse(oauth_problem="nonce_used"), reply('{"name": "alice"}')) as server:
        answer = make_provider(make_link(server.url)).fetch_signed(WHO, make_token())

    assert answer.text == '{"name": "alice"}'
    first, second = map(parameters, server.requests)
    assert first["oauth_nonce"] != second["oauth_nonce"]
    assert first["oauth_signature"] != second["oauth_signature"]
    assert len(bytes.fromhex(first["oauth_nonce"])) == 16


def test_a_nonce_used_twice_is_told() -> None:
    """No third try."""
    with RawServer(refuse(oauth_problem="nonce_used")) as server:
        error = refusal(lambda: make_provider(make_link(server.url)).fetch_request_token("oob"))

    assert error.problem == "nonce_used"
    assert len(server.requests) == 2


# answers that are none


@pytest.mark.parametrize(
    ("answer", "words", "hint"),
    [
        (reply("<html>log in</html>", headers={"Content-Type": "text/html"}), "a page for people answers", "login page"),
        (reply('{"ok": true}', headers={"Content-Type": "application/json"}), "status 200: its answer holds no token", "browser"),
        (reply(""), "status 200: its answer holds no token", "browser"),
        (reply("oauth_token=canary-key"), "status 200: its answer holds no token", "browser"),
        (reply("oauth_token_secret=canary-secret"), "status 200: its answer holds no token", "browser"),
        (reply("oauth_token=&oauth_token_secret="), "status 200: its answer holds no token", "browser"),
        (reply(urlencode(TOKEN_FIELDS), 201), "status 201: its answer holds no token", "browser"),
        (reply("gone", 404), "nothing is at this address (404)", "context path"),
        (reply("<html>gone</html>", 404, {"Content-Type": "text/html"}), "nothing is at this address (404)", "context path"),
        (reply("no", 500), "the provider failed (status 500)", "the provider's log"),
        (reply("no", 401), "status 401: its answer holds no token", "browser"),
        (reply("no", 401, {"WWW-Authenticate": "Basic realm=x"}), "status 401, Basic", "ask the administrator"),
        (
            reply("", 302, {"Location": "https://sso.example/in;s=canary?x=canary#canary"}),
            "to https://sso.example/in",
            "base URL",
        ),
        (reply(urlencode(TOKEN_FIELDS), 302, {"Location": "/login\x07"}), "the address redirects to /login\\u0007", "base URL"),
        (reply("", 302), "redirects to elsewhere", "base URL"),
        (reply(b"\xff\xfe\x00canary"), "its answer holds no token", "browser"),
    ],
)
@pytest.mark.parametrize("leg", ["request", "access"])
def test_another_answer_to_the_dance_is_told_by_what_it_is(answer: bytes, words: str, hint: str, leg: str) -> None:
    """HTML, JSON, nothing, half a token, another status, a redirect: never taken for a token, never shown."""
    with RawServer(answer) as server:
        provider = make_provider(make_link(server.url, "tools"))
        if leg == "request":
            error = refusal(lambda: provider.fetch_request_token("oob"))
        else:
            error = refusal(lambda: provider.fetch_access_token(REQUEST_TOKEN, VERIFIER))

    assert error.message.startswith("link tools: ")
    assert words in error.message
    assert hint in str(error.hint)
    assert error.problem is None
    assert len(server.requests) == 1


@pytest.mark.parametrize("location", ["http://u:p@elsewhere.example/", "http://[broken", "http://elsewhere.example/plugins"])
def test_a_redirected_dance_signs_nothing_for_elsewhere(location: str) -> None:
    """requests-oauthlib would sign the next address before anybody decides to go there."""
    signed: list[str] = []

    class Watched(Legs):
        def sign(
            self, method: str, url: str, form: Pairs | None, oauth: Pairs, token: RequestToken | None
        ) -> tuple[LegRequest, str]:
            signed.append(url)
            return super().sign(method, url, form, oauth, token)

    with RawServer(reply("", 302, {"Location": location})) as server:
        link = make_link(server.url)
        refusal(lambda: Watched(link, Consumer(CONSUMER_KEY, private_key()), Clocks()).fetch_request_token("oob"))

    assert signed == [f"{server.url}/plugins/servlet/oauth/request-token"]


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (refuse(oauth_problem="token_rejected"), "token_rejected"),
        (reply("", 401, {"WWW-Authenticate": 'OAuth realm="x", oauth_problem="token_rejected"'}), "token_rejected"),
        (reply("", 401, {"WWW-Authenticate": 'Negotiate, oauth oauth_problem="token_rejected"'}), "token_rejected"),
        (reply("oauth_problem=token_rejected", 403), "token_rejected"),
        (reply("oauth_problem=odd+word%0A", 403), "unreadable"),
        (reply("oauth_problem=new_word", 403), "new_word"),
    ],
)
def test_a_problem_is_found_in_header_or_body(answer: bytes, problem: str) -> None:
    """Also behind a challenge that a proxy put before it."""
    with RawServer(answer) as server:
        error = refusal(lambda: make_provider(make_link(server.url)).fetch_signed(WHO, make_token()))

    assert error.problem == problem
    assert f"({problem})" in error.message


@pytest.mark.parametrize(
    "answer",
    [
        reply("oauth_problem=token_rejected"),
        reply("<html>oauth_problem=token_rejected", 401),
        reply("", 401, {"WWW-Authenticate": 'OAuth realm="x"'}),
        reply("", 401, {"WWW-Authenticate": 'Basic oauth_problem="token_rejected"'}),
        reply("oauth_problem=", 401),
    ],
)
def test_no_problem_is_made_up(answer: bytes) -> None:
    """A page, another scheme, a success: the caller gets the answer as it came."""
    with RawServer(answer) as server:
        assert isinstance(make_provider(make_link(server.url)).fetch_signed(WHO, make_token()), Answer)


@pytest.mark.parametrize(
    "body",
    [
        b"oauth_problem=token_rejected\n",
        b"\r\n oauth_problem=token_rejected \r\n",
        b"oauth_problem=token_rejected\n&oauth_problem_advice=x",
        b"\xef\xbb\xbfoauth_problem=token_rejected",
        "oauth_problem=token_rejected\n".encode("utf-16"),
    ],
    ids=["newline", "padded", "between", "mark", "utf-16"],
)
def test_what_surrounds_a_refusal_is_no_part_of_it(body: bytes) -> None:
    """Line ends, blanks, a byte order mark; a proxy can add any of them."""
    with RawServer(reply(body, 401)) as server:
        error = refusal(lambda: make_provider(make_link(server.url)).fetch_signed(WHO, make_token()))

    assert error.problem == "token_rejected"


@pytest.mark.parametrize("body", [b"\xef\xbb\xbf%s", b"%s\n", b"\r\n%s\r\n"], ids=["mark", "newline", "padded"])
def test_what_surrounds_a_token_is_no_part_of_it(body: bytes) -> None:
    """The same for the answer that everybody hopes for."""
    with RawServer(reply(body % urlencode(TOKEN_FIELDS).encode())) as server:
        token = token_of(make_provider(make_link(server.url)).fetch_access_token(REQUEST_TOKEN, VERIFIER))

    assert token.key.reveal() == "canary-key"
    assert token.secret.reveal() == "canary-secret"


def test_what_a_provider_repeats_of_our_secrets_is_not_shown() -> None:
    """It got token, verifier and header, and may put them anywhere into its answer."""

    def echo(connection: socket.socket, request: bytes) -> None:
        header = str(header_of(request, "Authorization"))
        sent = parameters(request)
        words = [header, sent["oauth_token"], sent.get("oauth_verifier", "x"), f"permission_{sent['oauth_token']}"]
        base = f"{sent['oauth_token']}&http%3A%2F%2Fx%2F{sent['oauth_token']}&{sent['oauth_token']}%3D1"
        connection.sendall(
            refuse(
                oauth_problem=words[len(server.requests) - 1] if len(server.requests) < 5 else "signature_invalid",
                oauth_parameters_rejected=f"oauth_token={sent['oauth_token']}&{sent['oauth_token']}={header}",
                oauth_signature_base_string=base if len(server.requests) == 5 else base.replace(sent["oauth_token"], "GET", 1),
            )
        )

    with RawServer(echo) as server:
        provider = make_provider(make_link(server.url))
        errors = [refusal(lambda: provider.fetch_access_token(REQUEST_TOKEN, VERIFIER)) for _ in range(3)]
        errors += [refusal(lambda: provider.fetch_signed(WHO, make_token())) for _ in range(3)]

    assert "<secret>" in errors[1].message
    assert all("canary" not in str(error.problem) for error in errors)


def test_short_secrets_do_not_hide_the_words() -> None:
    """A code of one letter would turn every such letter into "<secret>"."""
    with RawServer(refuse(oauth_problem="permission_unknown")) as server:
        provider = make_provider(make_link(server.url))
        error = refusal(lambda: provider.fetch_access_token(REQUEST_TOKEN, Secret("a")))

    assert error.message == "link jira: the user has not decided yet (permission_unknown)"


def test_a_provider_that_is_down_is_unreachable_and_shows_nothing() -> None:
    """The dance's requests end like all others, and requests' errors, which hold the header, stay inside."""
    with RawServer(b"") as server:
        provider = make_provider(make_link(server.url))
        for call in (
            lambda: provider.fetch_access_token(REQUEST_TOKEN, VERIFIER),
            lambda: provider.fetch_request_token("oob"),
            lambda: provider.fetch_signed(WHO, make_token()),
        ):
            with pytest.raises(ProviderUnreachableError) as refused:
                call()
            shown = everything_shown(refused.value)
            assert "canary" not in shown
            assert "oauth_signature=" not in shown


def test_a_proxy_of_no_kind_is_unreachable_for_the_dance_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """requests' error for it is a ValueError, as are those for answers that cannot be decoded."""
    monkeypatch.setenv("HTTP_PROXY", "bogus://127.0.0.1:1")

    with pytest.raises(ProviderUnreachableError, match="the proxy's address"):
        make_provider(make_link("http://h.invalid")).fetch_request_token("oob")


def test_both_tries_share_one_deadline() -> None:
    """The second one does not start the clock again."""
    with RawServer(refuse(oauth_problem="nonce_used"), lambda connection, _: server.hang(connection)) as server:
        provider = make_provider(make_link(server.url, timeout_s=0.3))
        started_at = time.monotonic()
        with pytest.raises(ProviderUnreachableError, match="no whole answer"):
            provider.fetch_signed(WHO, make_token())

    assert time.monotonic() - started_at < 2


# manifests


@pytest.mark.parametrize("product", PRODUCTS)
def test_each_product_says_who_it_is(sandbox: Sandbox, product: str) -> None:
    """To anybody: the request is not signed."""
    manifest = fetch_manifest(make_link(sandbox.base_url(product)))

    assert manifest.type_id == product
    assert re.fullmatch(r"[0-9.]+", manifest.version)
    assert manifest.url == sandbox.base_url(product)
    assert sandbox.state.requests[-1].verdict == "anonymous"


def test_a_manifest_may_have_a_namespace_and_lack_the_rest() -> None:
    """What is not said is empty; what is far too long is cut."""
    text = f'<m xmlns="urn:x"><typeId> jira </typeId><version>{"9" * 600}</version></m>'
    with RawServer(reply(text)) as server:
        manifest = fetch_manifest(make_link(server.url))

    assert manifest == Manifest("jira", "9" * 500, "")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (reply('{"typeId": "jira"}', headers={"Content-Type": "application/json"}), "it has no application-link manifest"),
        (reply("<html><body>", headers={"Content-Type": "text/html"}), "a page for people answers"),
        (reply("<manifest><name>x</name></manifest>"), "it has no application-link manifest"),
        (reply("<manifest><typeId/></manifest>"), "it has no application-link manifest"),
        (reply('<!DOCTYPE m [<!ENTITY a "b">]><m><typeId>&a;</typeId></m>'), "a page for people answers"),
        (reply('<?xml version="1.0"?><!DOCTYPE m [<!ENTITY a "b">]><m><typeId>&a;</typeId></m>'), "no application-link manifest"),
        (reply("<m>" * 50_000), "it has no application-link manifest"),
        (reply("<m>" * 50_000 + "</m>" * 50_000), "it has no application-link manifest"),
        (reply(b"\xff\xfe\x00"), "it has no application-link manifest"),
        (reply("", 404), "nothing is at this address (404): it has no application-link manifest"),
        (reply("<m><typeId>jira</typeId></m>", 500), "status 500"),
        (reply("", 301, {"Location": "/jira/"}), "redirects to /jira/"),
    ],
)
def test_another_answer_is_no_manifest(answer: bytes, words: str) -> None:
    """JSON, pages, entities that could explode, depth, rubbish."""
    with RawServer(answer) as server:
        error = refusal(lambda: fetch_manifest(make_link(server.url, "tools")))

    assert words in error.message


@pytest.mark.parametrize(
    ("configured", "is_at"),
    [
        ("https://h/jira", True),
        ("https://h/jira/", True),
        ("https://H:443/jira", True),
        ("", True),
        ("http://h/jira", False),
        ("https://h", False),
        ("https://other/jira", False),
        ("not an address", False),
    ],
)
def test_a_manifest_is_compared_as_addresses_not_as_texts(configured: str, is_at: bool) -> None:
    """A default port, another case, a slash at the end are the same place."""
    assert Manifest("jira", "9", configured).is_at(parse_base_url("https://h/jira")) is is_at

"""Every OAuth problem, provoked over HTTP, and the shape in which it comes; each beside a request that passes."""

from collections.abc import Callable
from urllib.parse import quote, unquote, urlencode

import pytest
from oauthlib.oauth1 import SIGNATURE_TYPE_BODY, SIGNATURE_TYPE_QUERY, Client
from requests.utils import parse_dict_header

from atl_sign.sandbox import Sandbox
from tests.sandbox.consumer import (
    ACCESS_TOKEN,
    FORM,
    JSON,
    NO_CHECK,
    REQUEST_TOKEN,
    WHO_AM_I,
    Clock,
    Consumer,
    KeyPair,
    Reply,
    send,
)
from tests.sandbox.raw import send_raw

Make = Callable[[str], Consumer]


def assert_problem(reply: Reply, problem: str, status: int, **fields: str) -> None:
    """The shape of facts section 3.1: status, WWW-Authenticate and the same as a form-encoded body."""
    assert reply.status == status
    assert reply.headers["Content-Type"] == "application/x-www-form-urlencoded;charset=UTF-8"
    assert reply.fields == {"oauth_problem": problem, **fields}
    scheme, _, challenge = reply.headers["WWW-Authenticate"].partition(" ")
    told = {name: unquote(value) for name, value in parse_dict_header(challenge).items()}  # type: ignore[no-untyped-call]
    assert scheme == "OAuth"
    assert told.pop("realm").startswith("http://127.0.0.1:")
    assert told == {"oauth_problem": problem, **fields}


@pytest.mark.parametrize("product", WHO_AM_I)
def test_signed_request_is_the_user(danced: Make, product: str) -> None:
    """The base line: oauthlib signs, the sandbox takes it, at each product."""
    consumer = danced(product)

    reply = consumer.call("GET", WHO_AM_I[product])

    assert reply.status == 200
    assert "alice" in reply.text
    assert consumer.provider.state.requests[-1].verdict == "signed"
    assert consumer.provider.state.requests[-1].user == "alice"


@pytest.mark.parametrize("product", WHO_AM_I)
def test_other_key_is_signature_invalid_with_the_base_string(danced: Make, other_key_pair: KeyPair, product: str) -> None:
    """The answer brings what the server checked against."""
    consumer = danced(product)
    header = consumer.sign("GET", consumer.base + WHO_AM_I[product], rsa_key=other_key_pair.private_pem, nonce="n")

    reply = send("GET", consumer.base + WHO_AM_I[product], headers=header)

    uri = quote(consumer.base + WHO_AM_I[product], safe="-._~")
    parameters = (
        f"oauth_consumer_key=test-consumer&oauth_nonce=n&oauth_signature_method=RSA-SHA1&oauth_timestamp=1700000000&"
        f"oauth_token={consumer.token}&oauth_version=1.0"
    )
    assert_problem(
        reply,
        "signature_invalid",
        401,
        oauth_signature=reply.fields["oauth_signature"],
        oauth_signature_base_string=f"GET&{uri}&{quote(parameters, safe='-._~')}",
        oauth_signature_method="RSA-SHA1",
    )


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/rest/api/2/myself?a=1"),
        ("GET", "/rest/api/2//myself"),
        ("GET", "/rest/api/2/myself/"),
        ("GET", "/rest/api/2/%6dyself"),
        ("HEAD", "/rest/api/2/myself"),
        ("GET", "/rest/api/latest/myself"),
    ],
)
def test_changed_request_is_refused(danced: Make, method: str, path: str) -> None:
    """A header for one request is good for no other, even where the path means the same."""
    jira = danced("jira")
    header = jira.sign("GET", jira.base + "/rest/api/2/myself")

    reply = send(method, jira.base + path, headers=header)

    assert reply.status == 401
    assert jira.provider.state.requests[-1].verdict == "signature_invalid"


@pytest.mark.parametrize("count", [40, 400])
def test_a_problem_that_is_too_long_for_a_head_is_an_empty_500(danced: Make, other_key_pair: KeyPair, count: int) -> None:
    """Tomcat has 8 KiB for an answer's head and gives up one that is longer, with its challenge and its body."""
    jira = danced("jira")
    path = f"/rest/api/2/search?jql={'%20OR%20'.join(f'a%3D{number}' for number in range(count))}"
    header = jira.sign("GET", jira.base + path, rsa_key=other_key_pair.private_pem)

    reply = send("GET", jira.base + path, headers=header)

    assert jira.provider.state.requests[-1].verdict == "signature_invalid"
    if count == 40:
        assert_problem(
            reply, "signature_invalid", 401, **{name: reply.fields[name] for name in reply.fields if name != "oauth_problem"}
        )
        assert len(reply.headers["WWW-Authenticate"]) > 1_500
    else:
        assert (reply.status, reply.body, "WWW-Authenticate" in reply.headers) == (500, b"", False)


def test_host_and_port_are_part_of_the_signature(danced: Make) -> None:
    """Another Host header, another address: that is how a proxy breaks it."""
    jira = danced("jira")
    header = jira.sign("GET", jira.base + "/rest/api/2/myself")

    reply = send("GET", jira.base + "/rest/api/2/myself", headers={**header, "Host": "jira.example.com"})

    assert reply.problem == "signature_invalid"
    assert unquote(reply.fields["oauth_signature_base_string"]).startswith("GET&http://jira.example.com/jira/rest/api/2/myself&")


def test_same_header_twice_is_nonce_used(danced: Make) -> None:
    """The first time it passes."""
    jira = danced("jira")
    header = jira.sign("GET", jira.base + "/rest/api/2/myself")

    first, second = (send("GET", jira.base + "/rest/api/2/myself", headers=header) for _ in range(2))

    assert first.status == 200
    assert_problem(second, "nonce_used", 401)


def test_nonce_counts_for_all_users_of_a_consumer(danced: Make) -> None:
    """Another token, another time, the same consumer and nonce: used."""
    jira = danced("jira")
    jira.call("GET", "/rest/api/2/myself", nonce="same")
    jira.dance("bob")

    reply = jira.call("GET", "/rest/api/2/myself", nonce="same", timestamp="1700000005")

    assert_problem(reply, "nonce_used", 401)


def test_nonce_is_used_up_by_a_wrong_signature(danced: Make, other_key_pair: KeyPair) -> None:
    """It is recorded before the signature is checked."""
    jira = danced("jira")

    wrong = jira.call("GET", "/rest/api/2/myself", nonce="n", rsa_key=other_key_pair.private_pem)
    right = jira.call("GET", "/rest/api/2/myself", nonce="n")

    assert wrong.problem == "signature_invalid"
    assert_problem(right, "nonce_used", 401)


@pytest.mark.parametrize("offset", [-301, 301, 3_600])
def test_wrong_clock_is_timestamp_refused(danced: Make, clock: Clock, offset: int) -> None:
    """The middle of the acceptable range is the server's clock; the Date header is too."""
    jira = danced("jira")

    refused = jira.call("GET", "/rest/api/2/myself", timestamp=str(1_700_000_000 + offset))
    taken = jira.call("GET", "/rest/api/2/myself", timestamp=str(1_700_000_000 + offset // abs(offset) * 300))

    assert_problem(refused, "timestamp_refused", 400, oauth_acceptable_timestamps="1699999700-1700000300")
    assert refused.headers["Date"] == "Tue, 14 Nov 2023 22:13:20 GMT"
    assert taken.status == 200


@pytest.mark.parametrize("method", ["HMAC-SHA1", "RSA-SHA256", "PLAINTEXT", "rsa-sha1"])
def test_other_signature_method_is_rejected(danced: Make, method: str) -> None:
    """RSA-SHA1 is the only one."""
    jira = danced("jira")
    header = jira.sign("GET", jira.base + "/rest/api/2/myself")
    header["Authorization"] = header["Authorization"].replace("RSA-SHA1", method)

    assert_problem(send("GET", jira.base + "/rest/api/2/myself", headers=header), "signature_method_rejected", 400)


def test_other_version_is_rejected(danced: Make) -> None:
    """1.0 alone."""
    jira = danced("jira")
    header = jira.sign("GET", jira.base + "/rest/api/2/myself")
    header["Authorization"] = header["Authorization"].replace('oauth_version="1.0"', 'oauth_version="1.1"')

    reply = send("GET", jira.base + "/rest/api/2/myself", headers=header)

    assert_problem(reply, "version_rejected", 400, oauth_acceptable_versions="1.0-1.0")


def test_protocol_parameter_in_query_and_header_is_rejected(danced: Make) -> None:
    """Even when it says the same."""
    jira = danced("jira")
    path = "/rest/api/2/myself?oauth_version=1.0"

    reply = send("GET", jira.base + path, headers=jira.sign("GET", jira.base + "/rest/api/2/myself"))

    assert_problem(reply, "parameter_rejected", 400, oauth_parameters_rejected="oauth_version=1.0&oauth_version=1.0")


@pytest.mark.parametrize("name", ["consumer_key", "token", "signature_method", "signature", "timestamp", "nonce"])
@pytest.mark.parametrize("product", WHO_AM_I)
def test_request_with_one_of_six_missing_is_anonymous(danced: Make, product: str, name: str) -> None:
    """Silently: no problem is told, and where the product answers anonymously it does."""
    consumer = danced(product)
    header = consumer.sign("GET", consumer.base + WHO_AM_I[product])
    items = [item for item in header["Authorization"].removeprefix("OAuth ").split(", ") if not item.startswith(f"oauth_{name}=")]

    reply = send("GET", consumer.base + WHO_AM_I[product], headers={"Authorization": f"OAuth {', '.join(items)}"})

    assert len(items) == 6
    assert "oauth_problem" not in reply.text
    assert "alice" not in reply.text
    assert reply.status == (401 if product in ("bamboo", "jira") else 200)
    assert consumer.provider.state.requests[-1].verdict == "anonymous"


def test_protocol_parameters_may_come_in_the_query(danced: Make) -> None:
    """Signed there, it is the user; with one byte changed it is nobody's."""
    jira = danced("jira")
    url, _, _ = _query_client(jira).sign(jira.base + "/rest/api/2/search?jql=project%3DWEB")

    taken = send("GET", url)
    jira.clock.now += 1
    changed, _, _ = _query_client(jira).sign(jira.base + "/rest/api/2/search?jql=project%3DWEB")
    refused = send("GET", changed.replace("WEB", "OPS"))

    assert taken.json["total"] == 4
    assert refused.problem == "signature_invalid"


def test_protocol_parameters_may_come_in_the_form(danced: Make) -> None:
    """Of a POST; with one byte changed it is refused."""
    bamboo = danced("bamboo")
    client = _query_client(bamboo, SIGNATURE_TYPE_BODY)
    url = bamboo.base + "/rest/api/latest/queue/WEB-BUILD"
    _, headers, body = client.sign(url, "POST", "stage=Test", FORM)

    taken = send("POST", url, body, {**headers, **NO_CHECK})
    client.nonce = "another"
    _, headers, body = client.sign(url, "POST", "stage=Test", FORM)
    refused = send("POST", url, body.replace("Test", "Compile"), {**headers, **NO_CHECK})

    assert taken.json["buildResultKey"] == "WEB-BUILD-42"
    assert refused.problem == "signature_invalid"


def test_form_is_signed_for_post_alone(danced: Make) -> None:
    """A servlet container reads no form of a PUT: what was signed over it does not match; unsigned it passes to the product."""
    bitbucket = danced("bitbucket")
    path = "/rest/access-tokens/1.0/users/alice"

    over_form = bitbucket.call("PUT", path, "a=1", FORM)
    without = send("PUT", bitbucket.base + path, "a=1", {**FORM, **bitbucket.sign("PUT", bitbucket.base + path)})

    assert over_form.problem == "signature_invalid"
    assert without.status == 415


def test_json_body_is_not_signed(danced: Make) -> None:
    """Changing it changes nothing for the signature; a form's change does."""
    jira, bamboo = danced("jira"), danced("bamboo")
    header = jira.sign("POST", jira.base + "/rest/api/2/search", '{"jql": "project = WEB"}')
    url = bamboo.base + "/rest/api/latest/queue/WEB-BUILD"
    form_header = bamboo.sign("POST", url, "stage=Test", is_form=True)

    json_reply = send("POST", jira.base + "/rest/api/2/search", '{"jql": "project = OPS"}', {**header, **JSON})
    form_reply = send("POST", url, "stage=Compile", {**form_header, **FORM, **NO_CHECK})

    assert json_reply.json["total"] == 2
    assert form_reply.problem == "signature_invalid"


@pytest.mark.parametrize(
    "query",
    [
        "a=1&a=0&b",
        "jql=x%20%3D%20%22y%22&fields=*all",
        "a+b=c%2Bd&e=%C3%A9~",
        "a=%7e%2a%2A",
        "",
        "=&&a=",
    ],
)
def test_query_is_signed_as_it_is_read(danced: Make, query: str) -> None:
    """oauthlib and the sandbox read it alike: repeated names, blanks, lower-case escapes, names without a value."""
    jira = danced("jira")
    # oauthlib does not take a part without a name; the server drops it, so it is signed without.
    header = jira.sign("GET", f"{jira.base}/rest/api/2/myself?{query.replace('=&&', '')}")

    reply = send("GET", f"{jira.base}/rest/api/2/myself?{query}", headers=header)

    assert reply.status == 200, reply.text


@pytest.mark.parametrize("raw", ['a=[1]{2}|^"', "a=é<>`", 'é[={"'])
def test_raw_characters_of_the_query_are_taken(danced: Make, raw: str) -> None:
    """What curl puts on the wire unescaped counts as what it means; changed it fails."""
    jira = danced("jira")
    name, _, value = raw.partition("=")
    target = f"/jira/rest/api/2/myself?{raw}".encode()

    taken = send_raw(jira, target, jira.sign("GET", f"{jira.base}/rest/api/2/myself?{urlencode({name: value})}"))
    refused = send_raw(jira, target, jira.sign("GET", f"{jira.base}/rest/api/2/myself?{urlencode({name: value + 'x'})}"))

    assert taken.startswith(b"HTTP/1.1 200 ")
    assert refused.startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize("escape", ["%6", "%zz", "%", "%2F", "%2f", "%5C", "%5c", "%00"])
@pytest.mark.parametrize("product", WHO_AM_I)
def test_what_tomcat_takes_in_no_path_is_400(danced: Make, product: str, escape: str) -> None:
    """Signed or not, before the product sees it: a page, no challenge, no product's error; in a query each is fine."""
    consumer = danced(product)
    for path in (f"{WHO_AM_I[product]}{escape}", f"/scm/web/sho{escape}.git/info/refs?service=git-upload-pack"):
        header = consumer.sign("GET", consumer.base + path)
        for headers in (header, {}):
            reply = send("GET", consumer.base + path, headers=headers)

            assert (reply.status, reply.headers["Content-Type"]) == (400, "text/html;charset=UTF-8")
            assert "WWW-Authenticate" not in reply.headers
            assert consumer.provider.state.requests[-1].verdict == "bad path"
    assert consumer.call("GET", f"{WHO_AM_I[product]}?a=%2F%5C%00").status == 200
    assert send("GET", f"{consumer.base}/no{escape}where/%20").status == 400
    assert consumer.call("GET", f"{WHO_AM_I[product]}%2E%20").status == 404


@pytest.mark.parametrize(
    "change", [('oauth_timestamp="1700000000"', 'oauth_timestamp="soon"'), ('oauth_nonce="', 'oauth_nonce="%x')]
)
def test_what_java_cannot_parse_throws(danced: Make, change: tuple[str, str]) -> None:
    """500, no oauth_problem, at the products' calls and at the dance's."""
    jira = danced("jira")
    for method, path in (("GET", "/rest/api/2/myself"), ("POST", REQUEST_TOKEN)):
        header = jira.sign(method, jira.base + path)
        header["Authorization"] = header["Authorization"].replace(*change)

        reply = send(method, jira.base + path, headers=header)

        assert reply.status == 500
        assert "oauth_problem" not in reply.headers["WWW-Authenticate"]


def test_token_of_nobody_is_rejected(danced: Make) -> None:
    """Unknown here."""
    assert_problem(danced("jira").call("GET", "/rest/api/2/myself", resource_owner_key="x" * 32), "token_rejected", 401)


def test_token_of_another_product_is_rejected(danced: Make) -> None:
    """The right consumer at the wrong host."""
    jira, bamboo = danced("jira"), danced("bamboo")

    assert_problem(bamboo.call("GET", WHO_AM_I["bamboo"], resource_owner_key=jira.token), "token_rejected", 401)


def test_token_of_another_consumer_is_rejected(danced: Make, provider: Sandbox, key_pair: KeyPair, clock: Clock) -> None:
    """Told before the signature is looked at."""
    jira = danced("jira")
    other = Consumer(provider, "jira", key_pair, clock, key="other-consumer")

    assert_problem(other.call("GET", "/rest/api/2/myself", resource_owner_key=jira.token), "token_rejected", 401)


def test_request_token_is_no_access_token(danced: Make) -> None:
    """Neither before nor after it was allowed."""
    jira = danced("jira")
    request_token = jira.request_token()["oauth_token"]

    assert_problem(jira.call("GET", "/rest/api/2/myself", resource_owner_key=request_token), "token_rejected", 401)


def test_access_token_expires(danced: Make, clock: Clock) -> None:
    """After five years; a second before it still works."""
    jira = danced("jira")

    clock.now += 157_679_999
    before = jira.call("GET", "/rest/api/2/myself")
    clock.now += 1
    after = jira.call("GET", "/rest/api/2/myself")

    assert before.status == 200
    assert_problem(after, "token_expired", 401)


def test_deleted_link_kills_its_tokens(danced: Make, provider: Sandbox) -> None:
    """The token is unknown then, and so is the consumer."""
    jira = danced("jira")
    state = provider.state.sites["jira"].state
    state.remove_link(next(iter(state.links)))

    assert_problem(jira.call("GET", "/rest/api/2/myself"), "token_rejected", 401)
    assert_problem(jira.call("POST", REQUEST_TOKEN, callback_uri="oob", resource_owner_key=None), "consumer_key_unknown", 401)


def test_three_legged_oauth_switched_off_is_permission_denied(danced: Make, provider: Sandbox) -> None:
    """At a call and at a request token."""
    jira = danced("jira")
    consumer = provider.state.sites["jira"].state.find_consumer("test-consumer")
    assert consumer is not None
    consumer.is_three_legged = False

    assert_problem(jira.call("GET", "/rest/api/2/myself"), "permission_denied", 401)
    assert_problem(jira.call("POST", REQUEST_TOKEN, callback_uri="oob", resource_owner_key=None), "permission_denied", 401)


def test_deactivated_user_gets_a_bare_401(danced: Make, provider: Sandbox) -> None:
    """No oauth_problem, the challenge alone."""
    jira = danced("jira")
    provider.state.sites["jira"].state.users["alice"].is_active = False

    reply = jira.call("GET", "/rest/api/2/myself")

    assert reply.status == 401
    assert reply.headers["WWW-Authenticate"] == f'OAuth realm="{quote(jira.base, safe="")}"'
    assert "oauth_problem" not in reply.text
    assert provider.state.requests[-1].verdict == "no login"


def test_two_legged_oauth_gets_a_bare_401(registered: Make) -> None:
    """An empty token is two-legged OAuth, checked and then not allowed; with a wrong consumer it is a problem."""
    jira = registered("jira")
    # oauthlib leaves an empty token out of the header, so it goes into the query, where it is signed all the same.
    path = "/rest/api/2/myself?oauth_token="

    signed = jira.call("GET", path)
    jira.key = "nobody"
    unknown = jira.call("GET", path)

    assert signed.status == 401
    assert "oauth_problem" not in signed.headers["WWW-Authenticate"]
    assert_problem(unknown, "consumer_key_unknown", 401)


@pytest.mark.parametrize("name", ["consumer_key", "signature", "timestamp", "nonce"])
def test_dance_call_without_a_parameter_names_it(registered: Make, name: str) -> None:
    """The dance's own calls say what is missing."""
    jira = registered("jira")
    header = jira.sign("POST", jira.base + REQUEST_TOKEN, callback_uri="oob")
    items = [item for item in header["Authorization"].removeprefix("OAuth ").split(", ") if not item.startswith(f"oauth_{name}=")]

    reply = send("POST", jira.base + REQUEST_TOKEN, headers={"Authorization": f"OAuth {', '.join(items)}"})

    assert_problem(reply, "parameter_absent", 400, oauth_parameters_absent=f"oauth_{name}")


def test_access_token_call_without_a_token_names_it(registered: Make) -> None:
    """Stripped of its header, for example by a proxy."""
    jira = registered("jira")

    assert_problem(send("POST", jira.base + ACCESS_TOKEN), "parameter_absent", 400, oauth_parameters_absent="oauth_token")


@pytest.mark.parametrize("agent", ["WebDAVFS/3.0", "Microsoft-WebDAV-MiniRedir/10.0"])
def test_some_user_agents_pass_the_oauth_filter_by(danced: Make, agent: str) -> None:
    """Their signed requests are anonymous."""
    assert danced("jira").call("GET", "/rest/api/2/myself", headers={"User-Agent": agent}).status == 401


def test_head_is_signed_as_head(danced: Make) -> None:
    """And answered without a body."""
    reply = danced("jira").call("HEAD", "/rest/api/2/myself")

    assert reply.status == 200
    assert reply.body == b""
    assert int(reply.headers["Content-Length"]) > 0


def _query_client(consumer: Consumer, signature_type: str = SIGNATURE_TYPE_QUERY) -> Client:
    return Client(
        consumer.key,
        resource_owner_key=consumer.token,
        rsa_key=consumer.key_pair.private_pem,
        signature_method="RSA-SHA1",
        signature_type=signature_type,
        timestamp=str(int(consumer.clock.now)),
    )

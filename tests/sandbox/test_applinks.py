"""Application links: the form page, the REST calls, the public keys that they take, and the manifest."""

import json
from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from xml.etree import ElementTree

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from atl_sign.sandbox import Sandbox
from atl_sign.sandbox.keys import BadKeyError, parse_public_key
from tests.sandbox.browser import Browser, hidden_fields
from tests.sandbox.consumer import JSON, REQUEST_TOKEN, Clock, Consumer, KeyPair, Reply, send

PAGE = "/plugins/servlet/applinks/listApplicationLinks"
LINKS = "/rest/applinks/3.0/applicationlink"
CONSUMER = "/rest/applinks-oauth/1.0/applicationlink/{}/authentication/consumer"
LINK_FIELDS = {"name": "atl-sign", "rpcUrl": "http://x.example", "displayUrl": "http://x.example", "typeId": "generic"}


def basic(user: str, password: str | None = None) -> dict[str, str]:
    return {"Authorization": "Basic " + b64encode(f"{user}:{password or user}".encode()).decode()}


def put(base: str, path: str, fields: Mapping[str, Any], user: str = "admin") -> Reply:
    return send("PUT", base + path, json.dumps(fields), {**JSON, **basic(user)})


def consumer_fields(key_pair: KeyPair, **changes: Any) -> dict[str, Any]:
    """What JBS BitbucketUtils sends, for an incoming consumer (facts section 1.2)."""
    return {
        "key": "rest-consumer",
        "name": "By REST",
        "description": "",
        "publicKey": key_pair.public_pem,
        "outgoing": False,
        "twoLOAllowed": False,
        "executingTwoLOUser": None,
        "twoLOImpersonationAllowed": None,
        **changes,
    }


def make_certificate(key_pair: KeyPair) -> str:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key_pair.private_key.public_key(), 1, now, now + timedelta(days=1))
    return builder.sign(key_pair.private_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def can_dance(provider: Sandbox, product: str, key: str, key_pair: KeyPair, clock: Clock) -> bool:
    consumer = Consumer(provider, product, key_pair, clock, key="not-this-one")
    consumer.key = key
    return consumer.call("POST", REQUEST_TOKEN, callback_uri="oob").status == 200


@pytest.mark.parametrize("version", ["3.0", "latest"])
@pytest.mark.parametrize("product", ["bamboo", "jira", "confluence", "bitbucket"])
def test_link_and_consumer_by_rest(provider: Sandbox, key_pair: KeyPair, clock: Clock, product: str, version: str) -> None:
    """Two PUTs, 201 each, and the consumer may dance."""
    base = provider.base_url(product)

    made = put(base, f"/rest/applinks/{version}/applicationlink", LINK_FIELDS)
    href = made.json["resources-created"][0]["href"]
    consumer = put(base, CONSUMER.format(href.rpartition("/")[2]), consumer_fields(key_pair))

    assert (made.status, consumer.status) == (201, 201)
    assert href.startswith(f"{base}/rest/applinks/{version}/applicationlink/")
    assert can_dance(provider, product, "rest-consumer", key_pair, clock)


def test_link_is_shown_listed_and_deleted_by_rest(provider: Sandbox, key_pair: KeyPair, clock: Clock) -> None:
    """With its consumer it goes."""
    base = provider.base_url("jira")
    href = put(base, LINKS, LINK_FIELDS).json["resources-created"][0]["href"]
    link_id = href.rpartition("/")[2]
    put(base, CONSUMER.format(link_id), consumer_fields(key_pair))

    listed, shown = send("GET", base + LINKS, headers=basic("admin")), send("GET", href, headers=basic("admin"))
    deleted, again = (send("DELETE", href, headers=basic("admin")) for _ in range(2))

    assert shown.json["id"] == link_id
    assert listed.json["applicationLinks"] == [shown.json]
    assert (deleted.status, again.status) == (200, 404)
    assert not can_dance(provider, "jira", "rest-consumer", key_pair, clock)


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", LINKS), ("PUT", LINKS), ("GET", LINKS + "/1"), ("DELETE", LINKS + "/1"), ("PUT", CONSUMER.format(1))],
)
def test_links_by_rest_are_for_administrators(provider: Sandbox, method: str, path: str) -> None:
    """401 to nobody and to a wrong password, 403 to others."""
    url = provider.base_url("jira") + path

    replies = [send(method, url, "{}", {**JSON, **headers}) for headers in ({}, basic("admin", "wrong"), basic("alice"))]

    assert [reply.status for reply in replies] == [401, 401, 403]
    assert replies[0].headers["WWW-Authenticate"] == replies[1].headers["WWW-Authenticate"]


@pytest.mark.parametrize("changes", [{"typeId": "jira"}, {"typeId": None}, {"name": ""}, {"rpcUrl": 5}, {"displayUrl": None}])
def test_bad_link_by_rest_is_refused(provider: Sandbox, changes: dict[str, Any]) -> None:
    """400, and no link."""
    reply = put(provider.base_url("jira"), LINKS, {**LINK_FIELDS, **changes})

    assert reply.status == 400
    assert provider.state.sites["jira"].state.links == {}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"publicKey": "rubbish"}, "Invalid public key"),
        ({"publicKey": None}, "publicKey"),
        ({"key": ""}, "key"),
        ({"name": None}, "name"),
        ({"outgoing": True}, "outgoing"),
        ({"twoLOAllowed": True}, "twoLOAllowed"),
        ({"key": "taken"}, "in use already"),
    ],
)
def test_bad_consumer_by_rest_is_refused(provider: Sandbox, key_pair: KeyPair, changes: dict[str, Any], words: str) -> None:
    """400 and why; the link has no consumer then."""
    provider.register_consumer("jira", "taken", key_pair.public_pem)
    base = provider.base_url("jira")
    link_id = put(base, LINKS, LINK_FIELDS).json["resources-created"][0]["href"].rpartition("/")[2]

    reply = put(base, CONSUMER.format(link_id), consumer_fields(key_pair, **changes))

    assert reply.status == 400
    assert words in reply.json["errorMessages"][0]
    assert provider.state.sites["jira"].state.links[link_id].consumer is None


def test_certificate_is_no_key_for_rest(provider: Sandbox, key_pair: KeyPair) -> None:
    """The form takes it, the REST call does not."""
    base = provider.base_url("jira")
    link_id = put(base, LINKS, LINK_FIELDS).json["resources-created"][0]["href"].rpartition("/")[2]

    assert put(base, CONSUMER.format(link_id), consumer_fields(key_pair, publicKey=make_certificate(key_pair))).status == 400


def test_consumer_of_no_link_is_not_found(provider: Sandbox, key_pair: KeyPair) -> None:
    """404."""
    assert put(provider.base_url("jira"), CONSUMER.format("unknown"), consumer_fields(key_pair)).status == 404


def test_new_consumer_key_of_a_link_kills_the_old_tokens(provider: Sandbox, key_pair: KeyPair, clock: Clock) -> None:
    """With the same key they live on."""
    jira = Consumer(provider, "jira", key_pair, clock)
    jira.dance()
    link_id = next(iter(provider.state.sites["jira"].state.links))

    put(jira.base, CONSUMER.format(link_id), consumer_fields(key_pair, key=jira.key))
    same = jira.call("GET", "/rest/api/2/myself")
    put(jira.base, CONSUMER.format(link_id), consumer_fields(key_pair, key="another"))
    other = jira.call("GET", "/rest/api/2/myself")

    assert same.status == 200
    assert other.problem == "token_rejected"


@pytest.mark.parametrize("callback", ["", "http://cb.example/x"])
def test_link_by_the_form(provider: Sandbox, key_pair: KeyPair, clock: Clock, callback: str) -> None:
    """An administrator enters key, name and public key; a fixed callback gets a slash at its end."""
    browser = Browser(provider.base_url("jira"))
    browser.log_in("admin")
    fields = {
        "key": "form-consumer",
        "consumerName": "By form",
        "publicKey": key_pair.public_pem.replace("\n", "\r\n"),
        "callback": callback,
    }

    reply = browser.post(PAGE, {**fields, "atl_token": browser.xsrf_token()})

    consumer = provider.state.sites["jira"].state.find_consumer("form-consumer")
    assert reply.status == 200
    assert "consumer key form-consumer" in reply.text
    assert consumer is not None
    assert consumer.callback == (f"{callback}/" if callback else None)
    assert can_dance(provider, "jira", "form-consumer", key_pair, clock)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"publicKey": "rubbish"}, "Invalid public key"),
        ({"key": ""}, "required"),
        ({"consumerName": ""}, "required"),
        ({"callback": "oob"}, "callback"),
        ({"callback": "ftp://x"}, "callback"),
        ({"key": "taken"}, "in use already"),
    ],
)
def test_bad_form_is_shown_again(provider: Sandbox, key_pair: KeyPair, changes: dict[str, str], words: str) -> None:
    """With the reason and what was entered; no link is left behind."""
    provider.register_consumer("jira", "taken", key_pair.public_pem)
    browser = Browser(provider.base_url("jira"))
    browser.log_in("admin")
    fields = {"key": "k", "consumerName": 'My "name"', "publicKey": key_pair.public_pem, "callback": "", **changes}

    reply = browser.post(PAGE, {**fields, "atl_token": browser.xsrf_token()})

    assert reply.status == 400
    assert words in reply.text
    assert "consumerName" in changes or "My &quot;name&quot;" in reply.text
    assert len(provider.state.sites["jira"].state.links) == 1


def test_link_is_deleted_on_the_page(provider: Sandbox, key_pair: KeyPair) -> None:
    """A second time does nothing."""
    provider.register_consumer("jira", "k", key_pair.public_pem, name="Old")
    browser = Browser(provider.base_url("jira"))
    browser.log_in("admin")
    fields = hidden_fields(browser.get(PAGE).text)

    first, second = (browser.post(PAGE, fields) for _ in range(2))

    assert (first.status, second.status) == (200, 200)
    assert "There are none yet." in first.text
    assert provider.state.sites["jira"].state.links == {}


def test_page_is_for_administrators(provider: Sandbox) -> None:
    """A login for nobody, 403 for others and for a form without its XSRF token."""
    admin, alice, nobody = (Browser(provider.base_url("jira")) for _ in range(3))
    admin.log_in("admin")
    alice.log_in("alice")

    assert nobody.get(PAGE).headers["Location"].startswith("/jira/login.jsp?os_destination=")
    assert nobody.post(PAGE, {}).status == 302
    assert alice.get(PAGE).status == 403
    assert alice.post(PAGE, {}).status == 403
    assert admin.post(PAGE, {"key": "k"}).status == 403


@pytest.mark.parametrize("product", ["bamboo", "jira", "confluence", "bitbucket"])
def test_manifest_is_xml_for_everybody(provider: Sandbox, product: str) -> None:
    """typeId, version and the configured base URL; JSON when asked for."""
    url = provider.base_url(product) + "/rest/applinks/1.0/manifest"

    xml, as_json = send("GET", url), send("GET", url, headers={"Accept": "application/json"})
    both = send("GET", url, headers={"Accept": "application/xml, application/json"})

    root = ElementTree.fromstring(xml.text)
    assert xml.headers["Content-Type"] == both.headers["Content-Type"] == "application/xml;charset=UTF-8"
    assert root.findtext("typeId") == as_json.json["typeId"] == product
    assert root.findtext("version") == as_json.json["version"]
    assert root.findtext("url") == as_json.json["url"] == provider.base_url(product)
    assert root.findtext("publicSignup") == "false"


def test_public_key_is_taken_in_each_writing(key_pair: KeyPair) -> None:
    """SPKI with or without marker lines, on one line or many, with any line ends."""
    pem = key_pair.public_pem
    body = "".join(pem.split("\n")[1:-2])
    expected = key_pair.private_key.public_key().public_numbers()

    for text in (pem, pem.replace("\n", ""), pem.replace("\n", "\r\n"), body, f"  {body}\n", f"-----BEGIN ANY THING-----{body}"):
        assert parse_public_key(text, may_be_certificate=False).public_numbers() == expected


def test_certificate_is_taken_from_its_very_first_character(key_pair: KeyPair) -> None:
    """A blank before it, and it is read as a key, which it is not."""
    certificate = make_certificate(key_pair)

    key = parse_public_key(certificate, may_be_certificate=True)

    assert key.public_numbers() == key_pair.private_key.public_key().public_numbers()
    for text in (f" {certificate}", f"\n{certificate}", "-----BEGIN CERTIFICATE-----\nrubbish"):
        with pytest.raises(BadKeyError):
            parse_public_key(text, may_be_certificate=True)


def test_other_keys_are_refused(key_pair: KeyPair) -> None:
    """PKCS#1, another algorithm, a private key, nothing at all."""
    pkcs1 = key_pair.private_key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.PKCS1).decode()
    curve = ec.generate_private_key(ec.SECP256R1()).public_key()
    spki = curve.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()

    assert pkcs1.startswith("-----BEGIN RSA PUBLIC KEY-----")
    for text in (pkcs1, spki, key_pair.private_pem, "", "-----BEGIN PUBLIC KEY-----", "äöü", "A"):
        with pytest.raises(BadKeyError):
            parse_public_key(text, may_be_certificate=True)


def test_a_second_link_of_one_address_is_refused(provider: Sandbox) -> None:
    """By the plugin's own shape, which is the same in all products."""
    base = provider.base_url("jira")
    first, second = put(base, LINKS, LINK_FIELDS), put(base, LINKS, {**LINK_FIELDS, "name": "other"})
    third = put(base, LINKS, {**LINK_FIELDS, "rpcUrl": "http://y.example"})

    assert (first.status, second.status, third.status) == (201, 400, 201)
    assert second.json["status-code"] == 400
    assert "http://x.example exists already" in second.json["message"]


def test_websudo_wants_more_than_a_password(provider: Sandbox) -> None:
    """401 with the plugin's words; to others it is still 401, and without the setting it is not asked for."""
    provider.state.sites["jira"].state.has_websudo = True
    base = provider.base_url("jira")

    refused, nobody = put(base, LINKS, LINK_FIELDS), send("GET", base + LINKS)

    assert (refused.status, refused.json) == (401, {"status-code": 401, "message": "This resource requires WebSudo."})
    assert nobody.status == 401
    assert "WebSudo" not in nobody.text


def test_wrong_passwords_end_in_a_captcha(provider: Sandbox) -> None:
    """Not even the right password counts then, until a login in the browser; other users are not concerned."""
    state = provider.state.sites["jira"].state
    state.captcha_after = 2
    url = provider.base_url("jira") + LINKS

    wrong = [send("GET", url, headers=basic("admin", "wrong")) for _ in range(2)]
    right = send("GET", url, headers=basic("admin"))

    assert [reply.status for reply in wrong] == [401, 401]
    assert wrong[0].headers["X-Seraph-LoginReason"] == "AUTHENTICATED_FAILED"
    assert (right.status, right.headers["X-Seraph-LoginReason"]) == (403, "AUTHENTICATION_DENIED")
    assert right.headers["X-Authentication-Denied-Reason"].startswith("CAPTCHA_CHALLENGE; login-url=http://")
    assert send("GET", url, headers=basic("alice")).status == 403
    assert "X-Seraph-LoginReason" not in send("GET", url, headers=basic("alice")).headers
    Browser(provider.base_url("jira")).log_in("admin")
    assert send("GET", url, headers=basic("admin")).status == 200

"""Credentials are read once, kept, and never shown."""

import json
import threading
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from atl_sign.base.credentials import Grant, Secret, StoreState
from atl_sign.base.errors import StoreLockedError, StoreUnavailableError
from atl_sign.config.links import Link, parse_base_url
from atl_sign.custody.items import KEY_ITEM
from atl_sign.custody.safe import Safe
from atl_sign.custody.stores.base import Item
from atl_sign.custody.stores.memory import MemoryStore
from atl_sign.schemes.oauth1.tokens import AccessToken
from tests.unit.provider_lab import everything_shown, make_grant, make_link, other_private_key, private_key, token_of

LINK = make_link("https://h/jira", "tools")
FULL = Grant(
    AccessToken(
        Secret("canary-key"),
        Secret("canary-secret"),
        session_handle=Secret("canary-handle"),
        session_expires_at=datetime(2031, 12, 23, 12, tzinfo=UTC),
    ),
    expires_at=datetime(2031, 11, 23, 12, tzinfo=UTC),
    user="alice",
)


class CountingStore(MemoryStore):
    """A real store that counts, waits and fails as a test says."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: Counter[str] = Counter()
        self.failure: Exception | None = None
        self.may_answer = threading.Event()
        self.may_answer.set()

    def read(self, name: str) -> Item | None:
        self.reads[name] += 1
        assert self.may_answer.wait(10)
        if self.failure is not None:
            raise self.failure
        return super().read(name)

    def write(self, name: str, value: Secret, if_version: str | None = None) -> str:
        if self.failure is not None:
            raise self.failure
        return super().write(name, value, if_version)

    def delete(self, name: str) -> None:
        if self.failure is not None:
            raise self.failure
        super().delete(name)

    def put(self, name: str, item: object) -> None:
        """Write what a test wants to be found; texts as they are."""
        super().write(name, Secret(item if isinstance(item, str) else json.dumps(item)))

    def text(self, name: str) -> str:
        item = super().read(name)
        assert item is not None
        return item.value.reveal()


@pytest.fixture
def store() -> CountingStore:
    return CountingStore()


@pytest.fixture
def safe(store: CountingStore) -> Safe:
    return Safe(store)


def shown(grant: Grant | None) -> Any:
    """Everything in a token, for comparing: secrets are equal to themselves alone."""
    if grant is None:
        return None
    token = token_of(grant)
    handle = token.session_handle.reveal() if token.session_handle else None
    return token.key.reveal(), token.secret.reveal(), grant.expires_at, handle, token.session_expires_at, grant.user


def test_it_speaks_for_its_store(safe: Safe) -> None:
    """Name and state come from there."""
    state: StoreState = "ready"

    assert safe.backend == "memory"
    assert safe.state() == state


def test_a_token_comes_back_whole_from_another_process(store: CountingStore, safe: Safe) -> None:
    """Expiry, session handle and user too: what a later renewal needs."""
    safe.put_token(LINK, FULL)

    assert shown(safe.token(LINK)) == shown(FULL)
    assert shown(Safe(store).token(LINK)) == shown(FULL)


def test_a_token_that_names_no_end_has_none(store: CountingStore, safe: Safe) -> None:
    """Older servers send the two values alone."""
    safe.put_token(LINK, make_grant())

    assert shown(Safe(store).token(LINK)) == shown(make_grant())


def test_the_key_comes_back_from_another_process(store: CountingStore, safe: Safe) -> None:
    """The same modulus."""
    safe.put_key(private_key())

    key = Safe(store).key()

    assert key is not None
    assert key.public.fingerprint == private_key().public.fingerprint


def test_what_is_stored_is_one_line_of_json(store: CountingStore, safe: Safe) -> None:
    """Some keyrings give the first line back and nothing else."""
    safe.put_key(private_key())
    safe.put_token(LINK, FULL)

    for name in (KEY_ITEM, "token:tools"):
        text = store.text(name)
        assert "\n" not in text
        assert json.loads(text)["v"] == 2
        assert json.loads(text)["scheme"] == "oauth1"
    assert json.loads(store.text("token:tools"))["grant"]["oauth_token"] == "canary-key"


def test_each_item_is_read_once(store: CountingStore, safe: Safe) -> None:
    """Also that there is no token: asking again costs nothing."""
    Safe(store).put_key(private_key())
    store.reads.clear()

    for _ in range(3):
        assert safe.key() is not None
        assert safe.token(LINK) is None

    assert store.reads == {KEY_ITEM: 1, "token:tools": 1}


def test_a_key_that_is_not_there_is_asked_for_again(store: CountingStore, safe: Safe) -> None:
    """None is no credential to keep: a keyring restored from a backup is found."""
    assert safe.key() is None

    Safe(store).put_key(private_key())

    assert safe.key() is not None


def test_what_is_written_need_not_be_read(store: CountingStore, safe: Safe) -> None:
    """The safe knows what it wrote."""
    safe.put_key(private_key())
    safe.put_token(LINK, FULL)
    store.reads.clear()  # it looked at what it replaced

    assert safe.peek_key() is private_key()
    assert safe.peek_token(LINK) is FULL
    assert not store.reads


class CountedLock:
    """A lock that knows how many have come to it."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._comers = 0
        self._changed = threading.Condition()

    def __enter__(self) -> None:
        with self._changed:
            self._comers += 1
            self._changed.notify_all()
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def wait_for(self, comers: int) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._comers >= comers, 10)


@pytest.mark.parametrize("item", [KEY_ITEM, "token:tools"])
def test_fifty_threads_at_once_read_once(store: CountingStore, monkeypatch: pytest.MonkeyPatch, item: str) -> None:
    """The first requests after a start come together, before the keyring has answered any: it is asked once."""
    Safe(store).put_key(private_key())
    Safe(store).put_token(LINK, FULL)
    safe, lock = Safe(store), CountedLock()
    monkeypatch.setattr(safe._desk, "lock", lock)
    store.reads.clear()
    store.may_answer.clear()
    found: list[bool] = []

    def ask() -> None:
        found.append((safe.key() if item == KEY_ITEM else safe.token(LINK)) is not None)

    threads = [threading.Thread(target=ask) for _ in range(50)]
    for thread in threads:
        thread.start()
    assert lock.wait_for(50)
    store.may_answer.set()
    for thread in threads:
        thread.join(10)

    assert found == [True] * 50
    assert store.reads == {item: 1}


def test_who_cannot_wait_is_told_so(store: CountingStore, safe: Safe) -> None:
    """Nothing is read for a caller of the event loop; once it was read, the same call answers."""
    Safe(store).put_key(private_key())
    Safe(store).put_token(LINK, FULL)
    store.reads.clear()
    assert safe.peek_key() is None
    assert safe.peek_token(LINK) is None
    assert not store.reads

    safe.key()
    safe.token(LINK)

    assert safe.peek_key() is not None
    assert shown(safe.peek_token(LINK)) == shown(FULL)


@pytest.mark.parametrize(
    "changed",
    [
        replace(LINK, url=parse_base_url("https://other/jira")),
        replace(LINK, url=parse_base_url("http://h/jira")),
        make_link("https://h/jira", "tools", consumer_key="somebody-else"),
    ],
    ids=["host", "scheme", "consumer"],
)
def test_a_token_of_another_address_or_consumer_counts_as_none(store: CountingStore, safe: Safe, changed: Link) -> None:
    """Somebody edited the file: the grant is not sent to where it was not given."""
    safe.put_token(LINK, FULL)

    assert safe.token(changed) is None
    assert Safe(store).token(changed) is None
    assert shown(safe.token(replace(LINK, timeout_s=1.0, proxy="http://p:1"))) == shown(FULL)


def test_a_forgotten_token_is_gone_from_both(store: CountingStore, safe: Safe) -> None:
    """From memory and from the store; another link's stays, and forgetting twice is fine."""
    other = replace(LINK, name="other")
    safe.put_token(LINK, FULL)
    safe.put_token(other, FULL)

    safe.forget_token(LINK)
    safe.forget_token(LINK)

    assert safe.token(LINK) is None
    assert Safe(store).token(LINK) is None
    assert shown(safe.token(other)) == shown(FULL)


@pytest.mark.parametrize(
    "failure", [StoreLockedError("the keyring is locked"), StoreUnavailableError("no bus")], ids=["locked", "gone"]
)
def test_what_the_store_does_not_take_changes_nothing(store: CountingStore, safe: Safe, failure: Exception) -> None:
    """The old key and token go on working; a failure is never taken for "there is none"."""
    safe.put_key(private_key())
    safe.put_token(LINK, FULL)
    store.failure = failure

    with pytest.raises(type(failure)):
        safe.put_key(other_private_key())
    with pytest.raises(type(failure)):
        safe.put_token(LINK, make_grant())
    with pytest.raises(type(failure)):
        Safe(store).token(LINK)
    with pytest.raises(type(failure)):
        Safe(store).key()

    assert safe.key() is private_key()
    assert safe.token(LINK) is FULL


def test_a_logout_that_the_store_refused_is_none_once_the_store_answers(store: CountingStore, safe: Safe) -> None:
    """Nothing is signed meanwhile, and what stands in the way is told; then the token is there again without a command."""
    safe.put_token(LINK, FULL)
    store.failure = StoreLockedError("the keyring is locked")

    with pytest.raises(StoreLockedError):
        safe.forget_token(LINK)

    with pytest.raises(StoreLockedError):
        safe.token(LINK)
    store.failure = None
    assert shown(safe.token(LINK)) == shown(FULL)
    safe.forget_token(LINK)
    assert safe.token(LINK) is None
    assert Safe(store).token(LINK) is None


@pytest.mark.parametrize("is_renewed_first", [True, False])
def test_a_refused_logout_costs_no_renewed_token(store: CountingStore, safe: Safe, is_renewed_first: bool) -> None:
    """The provider has voided the one in the store, before or after the logout: the new one is used and stored all the same."""
    safe.put_token(LINK, FULL)
    new = replace(FULL, material=replace(token_of(FULL), key=Secret("renewed")))
    store.failure = StoreLockedError("the keyring is locked")

    assert not is_renewed_first or safe.renewed.renew(LINK, FULL, new)
    with pytest.raises(StoreLockedError):
        safe.forget_token(LINK)
    assert is_renewed_first or safe.renewed.renew(LINK, FULL, new)

    assert shown(safe.token(LINK)) == shown(new)
    store.failure = None
    safe.renewed.save(LINK, new)
    assert shown(Safe(store).token(LINK)) == shown(new)


def test_a_name_that_comes_late_brings_no_token_back(store: CountingStore, safe: Safe) -> None:
    """The user's name is added to the very token that is kept, and to no other."""
    token = make_grant()
    safe.put_token(LINK, token)
    safe.name_user(LINK, token, "alice")
    named = safe.token(LINK)
    assert named is not None
    assert named.user == "alice"

    safe.name_user(LINK, token, "bob")
    assert safe.token(LINK) is named
    safe.forget_token(LINK)
    safe.name_user(LINK, named, "bob")
    assert safe.token(LINK) is None
    assert Safe(store).token(LINK) is None


def test_a_failed_read_is_tried_again(store: CountingStore, safe: Safe) -> None:
    """Unlock the keyring, and the next request works."""
    Safe(store).put_token(LINK, FULL)
    store.failure = StoreLockedError("the keyring is locked")
    with pytest.raises(StoreLockedError):
        safe.token(LINK)

    store.failure = None

    assert shown(safe.token(LINK)) == shown(FULL)


GOOD_ITEM = {
    "v": 1,
    "url": "https://h/jira",
    "consumer_key": "unit-tests",
    "oauth_token": "canary-key",
    "oauth_token_secret": "canary-secret",
    "expires_at": None,
    "session_handle": None,
    "session_expires_at": None,
    "user": None,
}


@pytest.mark.parametrize(
    "item",
    [
        "canary no json",
        '"canary"',
        "[1]",
        "5",
        "null",
        "",
        "[" * 100_000,
        {**GOOD_ITEM, "v": 2},  # without what that version has
        {**GOOD_ITEM, "v": 0},
        {**GOOD_ITEM, "v": "3"},
        {"v": 2, "scheme": "oauth1", "url": "https://h/jira", "client": "unit-tests", "grant": "canary"},
        {"v": 2, "scheme": "CANARY canary", "url": "https://h/jira", "client": "unit-tests", "grant": {}},
        {"v": 2, "scheme": 5, "url": "https://h/jira", "client": "unit-tests", "grant": {}},
        {key: value for key, value in GOOD_ITEM.items() if key != "v"},
        {key: value for key, value in GOOD_ITEM.items() if key != "oauth_token"},
        {**GOOD_ITEM, "expires_at": "canary"},
        {**GOOD_ITEM, "expires_at": 1e30},
        {**GOOD_ITEM, "session_expires_at": 10**15},
    ],
)
def test_a_broken_token_item_is_named_and_not_shown(store: CountingStore, safe: Safe, item: object) -> None:
    """The item's name, and the way out; its text stands neither in the error nor in the errors behind it."""
    store.put("token:tools", item)

    with pytest.raises(StoreUnavailableError, match="the item token:tools of the store") as refused:
        safe.token(LINK)

    assert refused.value.hint == "atl-sign dance tools"
    assert "canary" not in everything_shown(refused.value)
    store.put("token:tools", GOOD_ITEM)
    token = safe.token(LINK)
    assert token is not None
    assert token_of(token).key.reveal() == "canary-key"


def ec_pem() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(encoding, form, serialization.NoEncryption()).decode()


def encrypted_pem() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(encoding, form, serialization.BestAvailableEncryption(b"x")).decode()


# A PKCS#8 structure whose algorithm is 1.2.3, which nobody has.
UNKNOWN_PEM = "-----BEGIN PRIVATE KEY-----\nMA8CAQAwBAYCKgMEBAQCBQA=\n-----END PRIVATE KEY-----\n"


@pytest.mark.parametrize("pem", ["canary", 5, None, ec_pem(), encrypted_pem(), UNKNOWN_PEM])
def test_a_broken_key_item_is_named_and_not_shown(store: CountingStore, safe: Safe, pem: object) -> None:
    """Not PEM, not a text, not RSA, encrypted, unheard of: never a crash, never a word of it."""
    store.put(KEY_ITEM, {"v": 1, "private_key": pem})

    with pytest.raises(StoreUnavailableError, match="the item consumer-key of the store") as refused:
        safe.key()

    assert refused.value.hint == "atl-sign key new --replace"
    text = everything_shown(refused.value)
    assert "canary" not in text
    assert "BEGIN" not in text

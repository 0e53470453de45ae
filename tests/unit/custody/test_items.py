"""What the store holds: items of this version and of the one before are read, and those of a later one are left alone."""

import json
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from atl_sign.base.credentials import GitRecord, GitToken, Grant, Secret
from atl_sign.base.errors import DaemonError, StoreConflictError, StoreLockedError, StoreNewerError
from atl_sign.custody.items import KEY_ITEM, items_of_link
from atl_sign.custody.safe import Safe
from atl_sign.custody.stores.base import Item
from atl_sign.custody.stores.memory import MemoryStore
from atl_sign.schemes.oauth1.tokens import AccessToken
from tests.unit.provider_lab import everything_shown, make_grant, make_link, token_of
from tests.vectors import private_key, private_pem

LINK = make_link("https://h/jira", "tools")
TOKEN, _, GIT = items_of_link("tools")

# As commit a4f6816 wrote them, which knew version 1 alone.
TOKEN_V1 = (
    '{"v":1,"url":"https://h/jira","consumer_key":"unit-tests","oauth_token":"pUmzSr1wJDqSrnhVTQ1MuNv6dGwyUmPw",'
    '"oauth_token_secret":"bDZGAGFVr0pdHWQ3vI0Ah4UnnzaVNmqT","expires_at":1953201600,'
    '"session_handle":"kwZVYL5Uk0ZbLoiAVfs3hHlDWOKTuu7G","session_expires_at":1955793600,"user":"alice","renew_at":1952596800,'
    '"is_in_doubt":true}'
)
BARE_TOKEN_V1 = (
    '{"v":1,"url":"https://h/jira","consumer_key":"unit-tests","oauth_token":"a","oauth_token_secret":"b","expires_at":null,'
    '"session_handle":null,"session_expires_at":null,"user":null,"renew_at":null,"is_in_doubt":false}'
)
GIT_V1 = (
    '{"v":1,"url":"https://h/jira","consumer_key":"unit-tests","leftovers":["atl-sign git on h 4e5f6a7b"],'
    '"token":{"name":"atl-sign git on h 0a1b2c3d","secret":"NjA1MDU2NTk5NjM5OqmXVq","user":"alice","permission":"read",'
    '"expires_at":1924992000}}'
)
EMPTY_GIT_V1 = '{"v":1,"url":"https://h/jira","consumer_key":"unit-tests","leftovers":[],"token":null}'
KEY_V1 = '{"v":1,"private_key":' + json.dumps(private_pem()) + "}"
ELSEWHERE = '{"v":2,"scheme":"oauth1","reference":"moon:crater","public_key":' + json.dumps(private_key().public.pem) + "}"
OLD_ITEMS = {TOKEN: TOKEN_V1, GIT: GIT_V1, KEY_ITEM: KEY_V1}


class RecordingStore(MemoryStore):
    """A real store that counts its writes, and refuses them as a test says."""

    def __init__(self, items: dict[str, str]) -> None:
        super().__init__()
        self.writes: list[str] = []
        self.failure: DaemonError | None = None
        for name, text in items.items():
            super().write(name, Secret(text))

    def write(self, name: str, value: Secret, if_version: str | None = None) -> str:
        if self.failure is not None:
            raise self.failure
        self.writes.append(name)
        return super().write(name, value, if_version)

    def delete(self, name: str) -> None:
        self.writes.append(name)
        super().delete(name)

    def text(self, name: str) -> str:
        item = self.read(name)
        assert item is not None
        return item.value.reveal()


def shown(grant: Grant | None) -> object:
    assert grant is not None
    token = token_of(grant)
    handle = token.session_handle and token.session_handle.reveal()
    ends = grant.expires_at, token.session_expires_at, grant.renew_at
    return token.key.reveal(), token.secret.reveal(), handle, ends, grant.user, grant.is_in_doubt


def read_all(safe: Safe) -> object:
    record, key = safe.git_record(LINK), safe.key()
    assert record is not None
    assert record.token is not None
    assert key is not None
    git = record.token.name, record.token.secret.reveal(), record.token.user, record.token.permission, record.token.expires_at
    return shown(safe.token(LINK)), git, record.leftovers, key.public.fingerprint


EXPECTED = (
    (
        "pUmzSr1wJDqSrnhVTQ1MuNv6dGwyUmPw",
        "bDZGAGFVr0pdHWQ3vI0Ah4UnnzaVNmqT",
        "kwZVYL5Uk0ZbLoiAVfs3hHlDWOKTuu7G",
        (
            datetime(2031, 11, 23, 12, tzinfo=UTC),
            datetime(2031, 12, 23, 12, tzinfo=UTC),
            datetime(2031, 11, 16, 12, tzinfo=UTC),
        ),
        "alice",
        True,
    ),
    ("atl-sign git on h 0a1b2c3d", "NjA1MDU2NTk5NjM5OqmXVq", "alice", "read", datetime(2031, 1, 1, tzinfo=UTC)),
    ("atl-sign git on h 4e5f6a7b",),
    private_key().public.fingerprint,
)


def test_items_of_version_1_are_read_and_written_anew_once() -> None:
    """Everything in them is found, by this process and by the next, which reads version 2 and writes nothing."""
    store = RecordingStore(OLD_ITEMS)

    assert read_all(Safe(store)) == EXPECTED

    assert sorted(store.writes) == sorted(OLD_ITEMS)
    for name in OLD_ITEMS:
        item = json.loads(store.text(name))
        assert (item["v"], item["scheme"]) == (2, "oauth1")
    assert read_all(Safe(store)) == EXPECTED
    assert len(store.writes) == 3


def test_what_version_1_left_out_is_still_left_out() -> None:
    """A token that names no end, and a record of no token."""
    store = RecordingStore({TOKEN: BARE_TOKEN_V1, GIT: EMPTY_GIT_V1})

    for safe in (Safe(store), Safe(store)):
        assert shown(safe.token(LINK)) == ("a", "b", None, (None, None, None), None, False)
        assert safe.git_record(LINK) == GitRecord(None)


def test_a_token_of_before_renewals_is_read() -> None:
    """The first items of version 1 had neither `renew_at` nor `is_in_doubt`."""
    text = BARE_TOKEN_V1.replace(',"renew_at":null,"is_in_doubt":false', "")

    assert shown(Safe(RecordingStore({TOKEN: text})).token(LINK)) == ("a", "b", None, (None, None, None), None, False)


@pytest.mark.parametrize(
    ("url", "client"), [("https://other/jira", "unit-tests"), ("https://h/jira", "somebody-else")], ids=["host", "client"]
)
def test_an_old_token_of_another_address_or_consumer_counts_as_none(url: str, client: str) -> None:
    """As with a new one."""
    safe = Safe(RecordingStore(OLD_ITEMS))

    assert safe.token(make_link(url, "tools", consumer_key=client)) is None
    assert safe.git_record(make_link(url, "tools", consumer_key=client)) is None


def test_a_store_that_takes_no_write_still_gives_old_items() -> None:
    """They are written anew when it does; nobody waits for that, or hears of it."""
    store = RecordingStore(OLD_ITEMS)
    store.failure = StoreLockedError("the disk is full")

    assert read_all(Safe(store)) == EXPECTED

    assert store.text(TOKEN) == TOKEN_V1
    store.failure = None
    assert read_all(Safe(store)) == EXPECTED
    assert json.loads(store.text(TOKEN))["v"] == 2


def test_an_old_item_that_another_daemon_has_replaced_is_not_written_over() -> None:
    """A dance comes between the read and the write: its token counts, for this daemon too."""

    class Overtaken(RecordingStore):
        is_first = True

        def write(self, name: str, value: Secret, if_version: str | None = None) -> str:
            if self.is_first:
                self.is_first = False
                Safe(self).put_token(LINK, make_grant("newer"))
            return super().write(name, value, if_version)

    store = Overtaken({TOKEN: TOKEN_V1})

    token = Safe(store).token(LINK)

    assert token is not None
    assert token_of(token).key.reveal() == "newer"
    assert "newer" in store.text(TOKEN)


NEWER = {
    "version": {"v": 3, "scheme": "oauth1", "canary": True},
    "scheme": {"v": 2, "scheme": "oauth9", "url": "https://h/jira", "client": "unit-tests", "grant": {"canary": 1}, "canary": 1},
    "both": {"v": 4, "scheme": "oauth9", "canary": 1},
}


@pytest.mark.parametrize("item", NEWER.values(), ids=NEWER.keys())
def test_what_a_newer_atl_sign_wrote_is_left_alone(item: object) -> None:
    """Neither read nor replaced nor removed: each call says so, under a code of its own, and shows nothing of it."""
    text = json.dumps(item)
    store = RecordingStore(dict.fromkeys(OLD_ITEMS, text))
    safe = Safe(store)
    calls: dict[str, Callable[[], object]] = {
        "token": lambda: safe.token(LINK),
        "dance begins": lambda: safe.check_store(LINK),
        "dance ends": lambda: safe.put_token(LINK, make_grant()),
        "renewal": lambda: safe.renewed.renewing(LINK, make_grant(), 0).__enter__(),
        "logout": lambda: safe.forget_token(LINK),
        "git": lambda: safe.git_record(LINK),
        "git token": lambda: safe.replace_git_record(LINK, None, GitRecord(None)),
        "git logout": lambda: safe.forget_git_record(LINK),
        "key": safe.key,
        "key new": lambda: safe.put_key(private_key()),
    }

    for name, call in calls.items():
        with pytest.raises(StoreNewerError) as refused:
            call()
        assert refused.value.code == "store_newer", name
        assert "canary" not in everything_shown(refused.value)
        assert refused.value.hint == "install the newest atl-sign, then: atl-sign restart"

    assert store.writes == []
    assert {store.text(name) for name in OLD_ITEMS} == {text}


def test_a_move_carries_what_a_newer_atl_sign_wrote() -> None:
    """As it is; and what is of an older version too."""
    text = json.dumps(NEWER["version"])
    source, target = RecordingStore({TOKEN: text, KEY_ITEM: KEY_V1}), RecordingStore({})

    Safe(source).move_to(target, [TOKEN, KEY_ITEM], leftovers=(), begin=lambda: None, commit=lambda: None)

    assert (target.text(TOKEN), target.text(KEY_ITEM)) == (text, KEY_V1)


def test_a_dance_replaces_what_nobody_can_read() -> None:
    """The twin of what is left alone: an item that is damaged is of no use to any version."""
    for text in ("nonsense", "[]", '{"v":true}', '{"v":2}', '{"v":-1}'):
        store = RecordingStore({TOKEN: text})
        safe = Safe(store)

        safe.check_store(LINK)
        safe.put_token(LINK, make_grant())

        assert shown(Safe(store).token(LINK)) == shown(make_grant())


def test_a_dance_wins_over_what_comes_between() -> None:
    """Another daemon writes while this one looks at what it replaces: the user consented here last. But not for ever."""

    class Racing(RecordingStore):
        rounds = 2

        def read(self, name: str) -> Item | None:
            item = super().read(name)
            if self.rounds > 0:
                self.rounds -= 1
                MemoryStore.write(self, name, Secret(f"round {self.rounds}"))
            return item

    store = Racing({})
    Safe(store).put_token(LINK, make_grant())
    assert shown(Safe(store).token(LINK)) == shown(make_grant())

    store.rounds = 1000
    with pytest.raises(StoreConflictError):
        Safe(store).put_token(LINK, make_grant())


def test_the_envelope_names_scheme_address_and_client() -> None:
    """The format that later versions have to read."""
    store = RecordingStore({})
    safe = Safe(store)
    safe.put_token(LINK, Grant(AccessToken(Secret("a"), Secret("b"))))
    git = GitToken("n", Secret("s"), "alice", "write", datetime(2031, 1, 1, tzinfo=UTC))
    safe.replace_git_record(LINK, None, GitRecord(git))

    assert json.loads(store.text(TOKEN)) == {
        "v": 2,
        "scheme": "oauth1",
        "url": "https://h/jira",
        "client": "unit-tests",
        "grant": {
            "oauth_token": "a",
            "oauth_token_secret": "b",
            "expires_at": None,
            "session_handle": None,
            "session_expires_at": None,
            "user": None,
            "renew_at": None,
            "is_in_doubt": False,
        },
    }
    assert json.loads(store.text(GIT)) == {
        "v": 2,
        "scheme": "oauth1",
        "url": "https://h/jira",
        "client": "unit-tests",
        "leftovers": [],
        "token": {"name": "n", "secret": "s", "user": "alice", "permission": "write", "expires_at": 1924992000},
    }


def test_a_key_at_an_unknown_place_is_of_a_newer_version() -> None:
    """It is refused by name, and stays: nothing is put in its place by mistake."""
    safe = Safe(RecordingStore({KEY_ITEM: ELSEWHERE}))

    with pytest.raises(StoreNewerError, match="at a place that is not known here"):
        safe.key()

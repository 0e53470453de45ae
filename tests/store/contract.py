"""What every store promises; a store's test class inherits it and names its store in the fixture `store`."""

import threading
from datetime import UTC, datetime, timedelta

import pytest

from atl_sign.base.credentials import Grant, Secret
from atl_sign.base.errors import StoreConflictError
from atl_sign.custody.items import Kept, Owner, TokenCodec
from atl_sign.custody.stores.base import ABSENT, Store
from atl_sign.schemes.oauth2.tokens import OAuth2Tokens, make_grant
from atl_sign.schemes.registry import SCHEMES
from tests.unit.provider_lab import everything_shown

VALUES = {
    "JSON": '{"v":1,"oauth_token":"t","oauth_token_secret":"s"}',
    "empty": "",
    "60 KB": "0123456789abcdef" * 3840,
    "beyond ASCII": '{"user":"Łucja 🔑"}',
    "several lines": "-----BEGIN-----\nAAAA\n-----END-----\n",
}

TEXTS = ["canary one", "canary two", "canary three"]


class StoreContract:
    """The tests that all stores share."""

    @pytest.fixture
    def store(self) -> Store:
        raise NotImplementedError

    @pytest.fixture
    def another(self, store: Store) -> Store:
        """The same items, as another daemon has them; the same object where a store has one process."""
        return store

    def test_a_store_that_works_says_so(self, store: Store) -> None:
        """`state` is "ready" when reads and writes would be answered."""
        assert store.state() == "ready"

    def test_a_missing_item_reads_as_none(self, store: Store) -> None:
        """Nothing was written, nothing is there; that is no error."""
        assert store.read("token:nobody") is None

    @pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())
    def test_an_item_reads_back_as_written(self, store: Store, value: str) -> None:
        """To the character, whatever the text."""
        store.write("token:jira", Secret(value))

        assert _text(store, "token:jira") == value

    def test_a_grant_of_6_kb_tokens_is_kept_through_renewals(self, store: Store) -> None:
        """Access and refresh token, and the refresh token before (git-credential-manager#2428, facts oauth2.md section 13)."""
        codec, owner, version = TokenCodec(SCHEMES), Owner("oauth2", "https://bitbucket.org", "the-app"), ABSENT
        for letter in "abc":
            grant = _long_grant(letter)
            version = store.write("token:long", codec.format(Kept(owner, grant)), if_version=version)

            item = store.read("token:long")

            assert item is not None
            kept = codec.parse("token:long", item.value).value
            assert kept is not None
            assert (kept.owner, kept.value.is_same_as(grant), item.version) == (owner, True, version)
            assert codec.format(kept).reveal() == codec.format(Kept(owner, grant)).reveal()
            assert len(item.value.reveal()) > 18_000

    def test_a_version_lasts_as_long_as_the_value(self, store: Store) -> None:
        """`write` returns the version that `read` gives; another value has another one, and so has no other item's change."""
        first = store.write("token:jira", Secret("one"))
        store.write("token:other", Secret("other"))
        assert _version(store, "token:jira") == first

        second = store.write("token:jira", Secret("two"))

        assert second not in (first, ABSENT)
        assert _version(store, "token:jira") == second

    def test_a_write_over_the_version_that_is_there_replaces_it(self, store: Store) -> None:
        """Twice in a row, each over what the one before returned."""
        version = store.write("token:jira", Secret("one"))

        version = store.write("token:jira", Secret("two"), if_version=version)
        store.write("token:jira", Secret("three"), if_version=version)

        assert _text(store, "token:jira") == "three"

    def test_a_write_over_another_version_changes_nothing(self, store: Store) -> None:
        """Somebody was faster: the item and its version stay, and the error says which item it is, and nothing of it."""
        old = store.write("token:jira", Secret(TEXTS[0]))
        new = store.write("token:jira", Secret(TEXTS[1]))

        with pytest.raises(StoreConflictError, match="token:jira") as caught:
            store.write("token:jira", Secret(TEXTS[2]), if_version=old)

        assert _text(store, "token:jira") == TEXTS[1]
        assert _version(store, "token:jira") == new
        assert "canary" not in everything_shown(caught.value)

    def test_a_write_over_a_deleted_item_changes_nothing(self, store: Store) -> None:
        """A logout wins over what comes late."""
        version = store.write("token:jira", Secret("one"))
        store.delete("token:jira")

        with pytest.raises(StoreConflictError):
            store.write("token:jira", Secret("two"), if_version=version)

        assert store.read("token:jira") is None

    def test_an_item_that_must_not_be_there_is_made_once(self, store: Store) -> None:
        """The first one makes it, the second one is told; after a delete there is room again."""
        store.write("token:jira", Secret("one"), if_version=ABSENT)

        with pytest.raises(StoreConflictError):
            store.write("token:jira", Secret("two"), if_version=ABSENT)

        assert _text(store, "token:jira") == "one"
        store.delete("token:jira")
        store.write("token:jira", Secret("two"), if_version=ABSENT)
        assert _text(store, "token:jira") == "two"

    def test_of_many_writes_over_one_version_one_succeeds(self, store: Store, another: Store) -> None:
        """Four threads, half of them with the store as another daemon has it: one of them wins, and its value is there."""
        version = store.write("token:jira", Secret("old"))
        outcomes: dict[str, str] = {}
        begin = threading.Barrier(4)

        def use(name: str, mine: Store) -> None:
            begin.wait(30)
            try:
                mine.write("token:jira", Secret(name), if_version=version)
                outcomes[name] = "written"
            except Exception as exc:
                outcomes[name] = type(exc).__name__

        stores = {"a": store, "b": another, "c": store, "d": another}
        threads = [threading.Thread(target=use, args=each) for each in stores.items()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert sorted(outcomes.values()) == ["StoreConflictError"] * 3 + ["written"]
        assert outcomes[str(_text(store, "token:jira"))] == "written"
        assert _text(another, "token:jira") == _text(store, "token:jira")

    def test_a_second_write_replaces_the_first(self, store: Store) -> None:
        """A longer and a shorter text, so that no rest of the old one shows."""
        for value in ("first", "the second one", "3rd"):
            store.write("token:jira", Secret(value))

            assert _text(store, "token:jira") == value

    def test_items_do_not_mix(self, store: Store) -> None:
        """A name that begins like another is another item, for writing and for deleting."""
        store.write("token:jira", Secret("one"))
        store.write("token:jira-test", Secret("two"))
        store.write("consumer-key", Secret("three"))

        store.delete("token:jira")

        assert store.read("token:jira") is None
        assert _text(store, "token:jira-test") == "two"
        assert _text(store, "consumer-key") == "three"

    def test_a_deleted_item_is_gone_and_can_come_back(self, store: Store) -> None:
        """After delete it reads as None; a later write makes it anew."""
        store.write("token:jira", Secret("one"))

        store.delete("token:jira")

        assert store.read("token:jira") is None
        store.write("token:jira", Secret("two"))
        assert _text(store, "token:jira") == "two"

    def test_deleting_a_missing_item_is_fine(self, store: Store) -> None:
        """Twice in a row, too."""
        store.delete("token:jira")
        store.delete("token:jira")

        assert store.read("token:jira") is None

    def test_many_threads_write_and_read_at_once(self, store: Store) -> None:
        """Four threads on one item: no call fails, and what stays is one of the values, whole."""
        values = [letter * 500 for letter in "abcd"]
        failures: list[Exception] = []

        def use(value: str) -> None:
            try:
                for _ in range(3):
                    store.write("token:jira", Secret(value))
                    assert _text(store, "token:jira") in values
            except Exception as exc:
                failures.append(exc)

        threads = [threading.Thread(target=use, args=(value,)) for value in values]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert failures == []
        assert _text(store, "token:jira") in values


def _long_grant(letter: str) -> Grant:
    access, refresh, before = (Secret(f"{kind}{letter * 5_999}") for kind in "123")
    tokens = OAuth2Tokens(access, refresh, before, ("account", "repository:write"), "http://localhost:47813/callback/x")
    return make_grant(tokens, 7_200, datetime(2026, 11, 30, tzinfo=UTC) + timedelta(days=ord(letter)), "alice")


def _text(store: Store, name: str) -> str | None:
    item = store.read(name)
    return None if item is None else item.value.reveal()


def _version(store: Store, name: str) -> str | None:
    item = store.read(name)
    return None if item is None else item.version

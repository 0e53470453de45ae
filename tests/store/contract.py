"""What every store promises; a store's test class inherits it and names its store in the fixture `store`."""

import threading

import pytest

from atl_sign.base.credentials import Secret
from atl_sign.custody.stores.base import Store

VALUES = {
    "JSON": '{"v":1,"oauth_token":"t","oauth_token_secret":"s"}',
    "empty": "",
    "60 KB": "0123456789abcdef" * 3840,
    "beyond ASCII": '{"user":"Łucja 🔑"}',
    "several lines": "-----BEGIN-----\nAAAA\n-----END-----\n",
}


class StoreContract:
    """The tests that all stores share."""

    @pytest.fixture
    def store(self) -> Store:
        raise NotImplementedError

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


def _text(store: Store, name: str) -> str | None:
    item = store.read(name)
    return None if item is None else item.reveal()

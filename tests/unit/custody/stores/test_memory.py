"""The store in memory."""

import pytest

from atl_sign.base.credentials import Secret
from atl_sign.custody.stores.base import Store
from atl_sign.custody.stores.memory import MemoryStore
from tests.store.contract import StoreContract


class TestMemoryStore(StoreContract):
    """What every store promises, kept by the one in memory."""

    @pytest.fixture
    def store(self) -> Store:
        return MemoryStore()

    def test_another_memory_store_has_nothing_of_it(self, store: Store) -> None:
        """It is the process's memory and not the machine's."""
        store.write("token:jira", Secret("text"))

        assert MemoryStore().read("token:jira") is None


def test_an_item_hides_itself_and_its_version() -> None:
    """Neither stands in a repr: a version may follow from the text."""
    store = MemoryStore()
    version = store.write("token:jira", Secret("text"))

    item = store.read("token:jira")

    assert repr(item) == "Item(value=<secret>)"
    assert version not in repr(item)

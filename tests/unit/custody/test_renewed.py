"""A renewed token reaches the store over the one that was renewed, and over nothing else."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from atl_sign.base.credentials import Grant, Secret
from atl_sign.base.errors import StoreConflictError, StoreLockedError, StoreNewerError
from atl_sign.custody.items import token_item
from atl_sign.custody.neighbours import Neighbours
from atl_sign.custody.safe import Safe
from atl_sign.custody.stores.base import Item
from atl_sign.custody.stores.memory import MemoryStore
from atl_sign.schemes.oauth1.tokens import AccessToken
from tests.unit.provider_lab import make_link, token_of

LINK = make_link("https://h/jira", "tools")
ITEM = token_item(LINK.name)
ENDS = datetime(2031, 11, 23, 12, tzinfo=UTC)
OLD = Grant(AccessToken(Secret("old"), Secret("s"), Secret("handle")), user="alice", expires_at=ENDS)
NEW = Grant(AccessToken(Secret("renewed"), Secret("s"), Secret("handle 2")), user="alice", expires_at=ENDS)
NEWER = Grant(AccessToken(Secret("danced"), Secret("s")), user="bob")


class LockableStore(MemoryStore):
    """A real store that fails while a test has it locked, and runs what a test wants before a write."""

    def __init__(self) -> None:
        super().__init__()
        self.is_locked = False
        self.before_write: Callable[[], object] = lambda: None

    def _check(self) -> None:
        if self.is_locked:
            raise StoreLockedError("the keyring is locked")

    def read(self, name: str) -> Item | None:
        self._check()
        return super().read(name)

    def write(self, name: str, value: Secret, if_version: str | None = None) -> str:
        self._check()
        run, self.before_write = self.before_write, lambda: None
        run()
        return super().write(name, value, if_version)

    def lock(self) -> None:
        pass


class World:
    """Two daemons with one store, which learn of each other's changes; the first has begun to renew its token."""

    def __init__(self, folder: Path) -> None:
        self.store = LockableStore()
        self.one = Safe(self.store, Neighbours(folder))
        self.other = Safe(self.store, Neighbours(folder))
        self.one.put_token(LINK, OLD)
        with self.one.renewed.renewing(LINK, OLD, 1) as token:
            assert token is not None
            assert self.one.renewed.mark(LINK, token, is_in_doubt=True)

    def renew(self) -> None:
        """Let the provider answer while the store takes nothing."""
        self.store.is_locked = True
        assert self.one.renewed.renew(LINK, OLD, NEW)
        with pytest.raises(StoreLockedError):
            self.one.renewed.save(LINK, NEW)
        self.store.is_locked = False

    def stored(self) -> str | None:
        token = Safe(self.store).token(LINK)
        return None if token is None else token_of(token).key.reveal()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def key_of(safe: Safe) -> str | None:
    token = safe.token(LINK)
    return None if token is None else token_of(token).key.reveal()


def test_a_late_retry_stores_the_renewed_token(world: World) -> None:
    """The plain way: nobody else has changed anything, and the other daemon finds it."""
    world.renew()
    assert key_of(world.one) == "renewed"

    world.one.renewed.save(LINK, NEW)

    assert (world.stored(), key_of(world.other)) == ("renewed", "renewed")
    assert not world.one.has_unsaved


def test_nobody_gets_the_renewed_token_before_the_store_has_it(world: World) -> None:
    """A crash in that moment would leave a token in use that no start finds; a store that fails keeps nobody waiting."""
    seen = []

    def look() -> None:
        token = world.one.peek_token(LINK)
        seen.append(token is not None and token.is_same_as(OLD))

    assert world.one.renewed.renew(LINK, OLD, NEW)
    world.store.before_write = look

    world.one.renewed.save(LINK, NEW)

    assert seen == [True]
    token = world.one.peek_token(LINK)
    assert token is not None
    assert token.is_same_as(NEW)


def test_a_late_retry_does_not_overwrite_another_daemons_dance(world: World) -> None:
    """The user consented there after the renewal: that grant stays, and both daemons go on with it."""
    world.renew()
    world.other.put_token(LINK, NEWER)

    world.one.renewed.save(LINK, NEW)

    assert world.stored() == "danced"
    assert not world.one.has_unsaved
    assert (key_of(world.one), key_of(world.other)) == ("danced", "danced")


def test_another_daemons_dance_counts_before_the_retry_comes(world: World) -> None:
    """Whoever asks next gets it, though the renewed token was never stored."""
    world.renew()
    world.other.put_token(LINK, NEWER)

    assert key_of(world.one) == "danced"

    assert not world.one.has_unsaved
    world.one.renewed.save(LINK, NEW)
    assert world.stored() == "danced"


def test_a_dance_that_comes_just_before_the_write_wins(world: World) -> None:
    """Not even the moment between the look and the write is open."""
    assert world.one.renewed.renew(LINK, OLD, NEW)
    world.store.before_write = lambda: world.other.put_token(LINK, NEWER)

    world.one.renewed.save(LINK, NEW)

    assert (world.stored(), key_of(world.one)) == ("danced", "danced")


def test_a_logout_at_another_daemon_wins(world: World) -> None:
    """The renewed token does not come back."""
    world.renew()
    world.other.forget_token(LINK)

    world.one.renewed.save(LINK, NEW)

    assert world.stored() is None
    assert key_of(world.one) is None
    assert not world.one.has_unsaved


def test_a_name_that_another_daemon_added_to_the_old_token_stands_in_nobodys_way(world: World) -> None:
    """It is another version of the item, but the same token, which is void: the renewed one takes its place."""
    world.renew()
    old = world.other.token(LINK)
    assert old is not None
    world.other.name_user(LINK, old, "carol")

    world.one.renewed.save(LINK, NEW)

    assert world.stored() == "renewed"
    assert key_of(world.other) == "renewed"


def test_a_write_that_the_keyring_carried_out_late_is_no_conflict(world: World) -> None:
    """The store said that it failed, and had taken the token all the same."""
    assert world.one.renewed.renew(LINK, OLD, NEW)
    world.other.put_token(LINK, NEW)

    world.one.renewed.save(LINK, NEW)

    assert not world.one.has_unsaved
    assert (world.stored(), key_of(world.one)) == ("renewed", "renewed")


def test_what_a_newer_atl_sign_wrote_in_between_stays(world: World) -> None:
    """It is not overwritten, and the renewed token is not lost: it signs on until somebody decides."""
    world.renew()
    MemoryStore.write(world.store, ITEM, Secret('{"v":3}'))

    with pytest.raises(StoreNewerError):
        world.one.renewed.save(LINK, NEW)

    assert key_of(world.one) == "renewed"
    assert world.one.has_unsaved
    item = world.store.read(ITEM)
    assert item is not None
    assert item.value.reveal() == '{"v":3}'


def test_a_store_that_changes_all_the_time_is_given_up_for_now(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next retry goes on."""

    def refuse(*_: object) -> str:
        raise StoreConflictError("changed meanwhile")

    assert world.one.renewed.renew(LINK, OLD, NEW)
    with monkeypatch.context() as patch:
        patch.setattr(world.store, "write", refuse)
        with pytest.raises(StoreConflictError):
            world.one.renewed.save(LINK, NEW)
        assert world.one.has_unsaved
    assert key_of(world.one) == "renewed"

    world.one.renewed.save(LINK, NEW)

    assert world.stored() == "renewed"


def test_a_renewal_is_not_noted_over_another_daemons_dance(world: World) -> None:
    """The provider is not asked for a token in place of one that nobody uses any more."""
    world.other.put_token(LINK, OLD)
    with world.one.renewed.renewing(LINK, OLD, 1) as token:
        assert token is not None
        MemoryStore.write(world.store, ITEM, _text_of(NEWER))

        assert not world.one.renewed.mark(LINK, token, is_in_doubt=True)

    assert (world.stored(), key_of(world.one)) == ("danced", "danced")


def test_a_renewal_is_noted_over_the_same_token_with_its_users_name(world: World) -> None:
    """The twin: another version of the item, and still the token that is to be renewed."""
    world.other.put_token(LINK, replace(OLD, user=None))
    with world.one.renewed.renewing(LINK, OLD, 1) as token:
        assert token is not None
        MemoryStore.write(world.store, ITEM, _text_of(replace(OLD, user="carol")))

        assert world.one.renewed.mark(LINK, token, is_in_doubt=True)

    stored = Safe(world.store).token(LINK)
    assert stored is not None
    assert stored.is_in_doubt


def test_a_name_is_not_added_over_another_daemons_dance(world: World) -> None:
    """The name of the user that the void token stood for."""
    token = world.one.token(LINK)
    assert token is not None
    MemoryStore.write(world.store, ITEM, _text_of(NEWER))

    world.one.name_user(LINK, token, "carol")

    assert (world.stored(), key_of(world.one)) == ("danced", "danced")


def test_a_lock_keeps_the_renewed_token_apart_until_the_unlock(world: World) -> None:
    """Nothing is signed with it meanwhile; and another daemon's dance in that time wins here too."""
    world.store.is_locked = True
    assert world.one.renewed.renew(LINK, OLD, NEW)
    world.one.lock()
    with pytest.raises(StoreLockedError):
        world.one.token(LINK)
    world.store.is_locked = False
    world.other.put_token(LINK, NEWER)

    world.store.unlock = lambda passphrase, new: None  # type: ignore[method-assign]
    world.one.unlock(None, None)

    assert (world.stored(), key_of(world.one)) == ("danced", "danced")


def _text_of(token: Grant) -> Secret:
    store = MemoryStore()
    Safe(store).put_token(LINK, token)
    item = store.read(ITEM)
    assert item is not None
    return item.value

"""Git's tokens against the sandbox's Bitbucket, with a clock that is set: made, kept, replaced, cleared away."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from atl_sign.agent import git_tokens
from atl_sign.agent.git_tokens import GitTokens
from atl_sign.base.credentials import Grant, Secret
from atl_sign.base.errors import DanceNeededError, ProviderRefusedError, ProviderUnreachableError, StoreLockedError
from atl_sign.config.links import Link
from atl_sign.custody.items import git_item
from atl_sign.custody.safe import Safe
from atl_sign.custody.stores.memory import MemoryStore
from atl_sign.grants.live import Grants
from atl_sign.providers.clocks import Clocks
from atl_sign.providers.manifest import Manifests
from atl_sign.sandbox import Sandbox
from atl_sign.sandbox.state import User
from atl_sign.sandbox.tokens import PersonalToken
from atl_sign.schemes.registry import SCHEMES
from atl_sign.schemes.session import Session
from tests.unit.provider_lab import make_link, private_key

DAY_S = 86_400


class Clock:
    """Everybody's clock."""

    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class BreakingStore(MemoryStore):
    """Fails at the write whose number a test says."""

    writes = 0
    breaks_at = -1

    def write(self, name: str, value: Secret, if_version: str | None = None) -> str:
        self.writes += 1
        if self.writes == self.breaks_at:
            raise StoreLockedError("the keyring is locked", "unlock it")
        return super().write(name, value, if_version)


class Lab:
    """A link to a sandbox's Bitbucket that alice has danced with."""

    def __init__(self, **settings: Any) -> None:
        self.clock = Clock()
        self.sandbox = Sandbox(["bitbucket"], clock=self.clock, **settings)
        self.store = BreakingStore()
        self.link: Link
        self._access: Grant | None = None
        self.tokens = self.restart()

    def __enter__(self) -> "Lab":
        self.sandbox.start()
        self.link = self.make_link()
        public = private_key().public.pem
        self.sandbox.register_consumer("bitbucket", self.link.consumer_key, public)
        self.safe.put_key(private_key())
        self.access = self.dance("alice")
        self.store.writes = 0
        return self

    def __exit__(self, *_: object) -> None:
        self.sandbox.stop()

    def make_link(self, **settings: Any) -> Link:
        return make_link(self.sandbox.base_url("bitbucket"), "bitbucket", **settings)

    def dance(self, user: str) -> Grant:
        live = self.grants.of(self.link)
        consent = live.begin("oob")
        code = self.sandbox.approve("bitbucket", consent.authorize_url, user)
        return live.redeem(consent, Secret(code)).with_user(user)

    def restart(self) -> GitTokens:
        """As after a kill: what is not in the store is gone."""
        self.safe = Safe(self.store)
        self.grants = Grants(self.safe, SCHEMES, Clocks(self.clock), Manifests(), on_renewal=lambda link, outcome: None)
        self.tokens = GitTokens(self.grants)
        return self.tokens

    @property
    def access(self) -> Grant | None:
        """The grant that the store has."""
        return self._access

    @access.setter
    def access(self, grant: Grant | None) -> None:
        self._access = grant
        if grant is None:
            self.safe.forget_token(self.link)
        else:
            self.safe.put_token(self.link, grant)

    def at_provider(self, user: str = "alice") -> list[PersonalToken]:
        found: list[PersonalToken] = self.sandbox.state.sites["bitbucket"].state.tokens.of_user(user)
        return found

    def made(self) -> int:
        """How many times one was asked for."""
        return sum(received.method == "PUT" and b"access-tokens" in received.target for received in self.sandbox.state.requests)


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab() as started:
        yield started


def get(lab: Lab, user: str | None = None, link: Link | None = None) -> str:
    token = lab.tokens.get(link or lab.link, user)
    assert token is not None
    return token.secret.reveal()


def test_a_token_is_made_once_and_kept(lab: Lab) -> None:
    """For write, for seven days, under a name of this tool and machine; a restart finds it in the store."""
    secret = get(lab)

    (found,) = lab.at_provider()
    assert found.secret == secret
    assert found.permissions == ("REPO_WRITE",)
    assert found.expires_at == lab.clock.now + 7 * DAY_S
    assert found.name.startswith(git_tokens._name_prefix())
    assert get(lab) == secret
    lab.restart()
    assert get(lab) == secret
    assert lab.made() == 1


def test_the_token_says_when_it_ends(lab: Lab) -> None:
    """By this machine's clock: what the provider's shows does not matter."""
    token = lab.tokens.get(lab.link, None)

    assert token is not None
    assert token.expires_at == datetime.fromtimestamp(lab.clock.now + 7 * DAY_S, UTC)
    assert (token.user, token.permission) == ("alice", "write")
    assert token.secret.reveal() not in repr(token)


def test_memory_alone_makes_nothing(lab: Lab) -> None:
    """The event loop asks so, and must not wait."""
    assert lab.tokens.peek(lab.link, None) is None
    secret = get(lab)
    assert lab.made() == 1
    assert lab.restart().peek(lab.link, None) is None
    lab.safe.git_record(lab.link)
    assert lab.tokens.peek(lab.link, None) is None  # the access token has not been looked at yet
    lab.safe.token(lab.link)
    found = lab.tokens.peek(lab.link, None)

    assert found is not None
    assert found.secret.reveal() == secret


@pytest.mark.parametrize(
    ("settings", "permission", "days"), [({"git": "read"}, "REPO_READ", 7), ({"git_days": 30}, "REPO_WRITE", 30)]
)
def test_the_links_settings(settings: dict[str, Any], permission: str, days: int, lab: Lab) -> None:
    """What is asked for, and for how long."""
    get(lab, link=lab.make_link(**settings))

    (found,) = lab.at_provider()
    assert found.permissions == (permission,)
    assert found.expires_at == lab.clock.now + days * DAY_S


def test_another_permission_is_another_token(lab: Lab) -> None:
    """And the one that may do more is gone at once."""
    wide = get(lab)
    narrow = get(lab, link=lab.make_link(git="read"))

    assert narrow != wide
    assert [(token.secret, token.permissions) for token in lab.at_provider()] == [(narrow, ("REPO_READ",))]


@pytest.mark.parametrize("days_max", [1, 3])
def test_the_administrator_may_allow_fewer_days(days_max: int) -> None:
    """The refusal names the number, and that is taken."""
    with Lab(token_days_max=days_max) as lab:
        token = lab.tokens.get(lab.link, None)

        (found,) = lab.at_provider()
        assert found.expires_at == lab.clock.now + days_max * DAY_S
        assert token is not None
        assert token.expires_at == datetime.fromtimestamp(found.expires_at, UTC)
        assert lab.made() == 2


def test_near_its_end_it_is_replaced(lab: Lab) -> None:
    """With an hour left; the old one stays for who is in the middle of a clone, and goes with the next."""
    first = get(lab)
    lab.clock.now += 7 * DAY_S - 3_601
    assert get(lab) == first
    lab.clock.now += 1
    second = get(lab)
    assert {token.secret for token in lab.at_provider()} == {first, second}
    lab.clock.now += 7 * DAY_S
    third = get(lab)

    assert {token.secret for token in lab.at_provider()} == {third}


def test_expired_ones_of_this_machine_are_cleared_away(lab: Lab) -> None:
    """By their names: those of other machines, other tools and those that are good stay."""
    add = lab.sandbox.state.sites["bitbucket"].state.tokens.add
    past, future = lab.clock.now - 1, lab.clock.now + DAY_S
    prefix = git_tokens._name_prefix()
    for name, end in ((f"{prefix}aa", past), (f"{prefix}bb", future), ("atl-sign git on other cc", past), ("mine", past)):
        add("alice", name, ("REPO_READ",), past - DAY_S, end)

    get(lab)

    names = {token.name for token in lab.at_provider()}
    assert f"{prefix}aa" not in names
    assert {f"{prefix}bb", "atl-sign git on other cc", "mine"} < names


def test_an_erased_one_is_replaced_and_cleared_away(lab: Lab) -> None:
    """By that very credential; another one drops nothing."""
    first = get(lab)

    assert not lab.tokens.erase(lab.link, f"{first}x")
    assert not lab.tokens.erase(lab.link, "")
    assert get(lab) == first
    assert lab.tokens.erase(lab.link, first)
    assert not lab.tokens.erase(lab.link, first)
    second = get(lab)
    assert second != first
    assert [token.secret for token in lab.at_provider()] == [second]


def test_revoked_at_the_provider_already(lab: Lab) -> None:
    """As after a 401: there is nothing to remove, and nothing to complain of."""
    first = get(lab)
    store = lab.sandbox.state.sites["bitbucket"].state.tokens
    store.remove(lab.at_provider()[0])
    lab.tokens.erase(lab.link, first)

    assert get(lab) != first
    assert len(lab.at_provider()) == 1


@pytest.mark.parametrize("user", ["alice", "ALICE", None])
def test_whom_git_wants_to_be(user: str | None, lab: Lab) -> None:
    """The user of the dance; Bitbucket's names have no case."""
    assert lab.tokens.get(lab.link, user) is not None


def test_another_user_is_another_helpers_matter(lab: Lab) -> None:
    """Nothing is made for a name that it would not fit."""
    assert lab.tokens.get(lab.link, "bob") is None
    assert lab.made() == 0
    get(lab)
    assert lab.tokens.get(lab.link, "bob") is None


def test_a_dance_as_somebody_else(lab: Lab) -> None:
    """The token is the new user's from then on."""
    assert lab.access is not None
    first = get(lab)
    lab.access = lab.dance("bob")

    second = get(lab)

    assert second != first
    assert [token.secret for token in lab.at_provider("bob")] == [second]


def test_a_user_whose_name_is_no_slug(lab: Lab) -> None:
    """Names with capitals and signs have another form in addresses, which the provider is asked for (facts section 7)."""
    lab.sandbox.state.sites["bitbucket"].state.users["Ann.X@Example"] = User("Ann.X@Example", "pw", "Ann X", "ann@example.com")
    lab.access = lab.dance("Ann.X@Example")

    token = lab.tokens.get(lab.link, None)

    assert token is not None
    assert token.user == "Ann.X@Example"
    assert b"/rest/access-tokens/1.0/users/ann.x_example" in lab.sandbox.state.requests[-1].target


def test_a_user_who_is_not_known_yet_is_asked_for(lab: Lab) -> None:
    """By the who-am-I of `check`."""
    assert lab.access is not None
    lab.access = Grant(lab.access.material)

    token = lab.tokens.get(lab.link, None)

    assert token is not None
    assert token.user == "alice"


def test_many_at_once_make_one(lab: Lab) -> None:
    """Whatever thread they come from."""
    secrets: list[str] = []
    threads = [threading.Thread(target=lambda: secrets.append(get(lab))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    assert len(secrets) == 8
    assert len(set(secrets)) == 1
    assert lab.made() == 1


def test_who_waits_too_long_is_told(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody hangs behind a provider that is busy."""
    monkeypatch.setattr(git_tokens, "TURN_S", 0.01)
    with lab.tokens._turn(lab.link), pytest.raises(ProviderUnreachableError, match="busy"):
        lab.tokens.get(lab.link, None)


def test_killed_between_the_provider_and_the_store(lab: Lab) -> None:
    """The name was in the store before, so the next start finds the orphan and removes it."""
    lab.store.breaks_at = 2  # the first write says that a token is being made, the second holds it
    removed: Callable[..., bool] = lambda *_: False  # noqa: E731 - as if the process had ended here
    lab.tokens._remove = removed  # type: ignore[method-assign]
    with pytest.raises(StoreLockedError):
        lab.tokens.get(lab.link, None)
    (orphan,) = lab.at_provider()

    lab.restart()
    secret = get(lab)

    assert secret != orphan.secret
    assert [token.secret for token in lab.at_provider()] == [secret]


def test_what_the_store_does_not_take_is_taken_back(lab: Lab) -> None:
    """Nothing is left at the provider that nobody knows."""
    lab.store.breaks_at = 2
    with pytest.raises(StoreLockedError):
        lab.tokens.get(lab.link, None)

    assert lab.at_provider() == []


def test_a_store_that_is_locked_from_the_start(lab: Lab) -> None:
    """Then nothing is asked for."""
    lab.store.breaks_at = 1
    with pytest.raises(StoreLockedError):
        lab.tokens.get(lab.link, None)

    assert lab.made() == 0


def test_logged_out_while_it_is_made(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The token does not outlive the logout."""
    send = Session.send

    def log_out_first(session: Session, method: str, *arguments: Any) -> Any:
        if method == "PUT":
            lab.safe.forget_git_record(lab.link)
        return send(session, method, *arguments)

    monkeypatch.setattr(Session, "send", log_out_first)
    with pytest.raises(DanceNeededError, match="logged out"):
        lab.tokens.get(lab.link, None)

    assert lab.at_provider() == []


def test_revoke_removes_it_at_the_provider(lab: Lab) -> None:
    """And in the store; a second time there is none."""
    get(lab)

    assert lab.tokens.revoke(lab.link) == ("revoked", ())
    assert lab.at_provider() == []
    assert lab.store.read(git_item("bitbucket")) is None
    assert lab.tokens.revoke(lab.link) == ("none", ())


@pytest.mark.parametrize("trouble", ["unreachable", "logged out", "refused"])
def test_revoke_says_what_is_left(trouble: str, lab: Lab) -> None:
    """When the provider cannot be asked: it is forgotten here all the same, and its name is told."""
    get(lab)
    (found,) = lab.at_provider()
    if trouble == "unreachable":
        lab.sandbox.stop()
    elif trouble == "logged out":
        lab.access = None
    else:
        lab.sandbox.state.sites["bitbucket"].state.users["alice"].is_active = False

    assert lab.tokens.revoke(lab.link) == ("left", (found.name,))
    assert lab.safe.git_record(lab.link) is None


def test_a_token_that_cannot_be_removed_is_remembered(
    lab: Lab, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until it can; the new one is made meanwhile."""
    first = get(lab)
    lab.tokens.erase(lab.link, first)
    send = Session.send

    def refuse_to_delete(session: Session, method: str, *arguments: Any) -> Any:
        if method == "DELETE":
            raise ProviderRefusedError("not today")
        return send(session, method, *arguments)

    monkeypatch.setattr(Session, "send", refuse_to_delete)
    second = get(lab)
    assert {token.secret for token in lab.at_provider()} == {first, second}
    assert "is not removed: not today" in caplog.text
    monkeypatch.undo()
    lab.restart()
    lab.tokens.erase(lab.link, second)
    third = get(lab)

    assert [token.secret for token in lab.at_provider()] == [third]


def test_a_link_with_another_address_has_no_token(lab: Lab) -> None:
    """What was made for one Bitbucket is not handed to another."""
    get(lab)
    moved = make_link("https://other.example.com", "bitbucket")

    assert lab.safe.git_record(moved) is None
    assert lab.safe.git_record(lab.link) is not None


@pytest.mark.parametrize(
    "text",
    [
        "nonsense",
        '{"v":2}',
        '{"v":1,"url":"x","consumer_key":"x","leftovers":[],"token":{"name":"x"}}',
        '{"v":1,"url":"x","consumer_key":"x","leftovers":[],"token":{"name":"x","secret":"x","user":"a\\nb","permission":"write",'
        '"expires_at":1}}',
        '{"v":1,"url":"x","consumer_key":"x","leftovers":[],"token":{"name":"x","secret":"x","user":"a","permission":"all",'
        '"expires_at":1}}',
    ],
)
def test_an_item_that_cannot_be_read_counts_as_none(text: str, lab: Lab) -> None:
    """A token can be made again."""
    lab.store.write(git_item("bitbucket"), Secret(text))

    assert get(lab)


def test_no_access_token_no_token(lab: Lab) -> None:
    """The hint is the dance."""
    lab.access = None
    with pytest.raises(DanceNeededError, match="no access token"):
        lab.tokens.get(lab.link, None)

"""Git's tokens: one for each Bitbucket link, made when git first asks, kept until it ends, and cleared away at the provider."""

import hmac
import logging
import secrets
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

from atl_sign.base.credentials import GitRecord, GitToken, Grant
from atl_sign.base.errors import DaemonError, DanceNeededError, ProviderRefusedError, ProviderUnreachableError
from atl_sign.base.machine import short_host_name
from atl_sign.config.links import GIT_DAYS_DEFAULT, Link
from atl_sign.grants.live import Grants
from atl_sign.providers.products import PRODUCTS

if TYPE_CHECKING:  # requests and all that takes 150 ms to load: when the first token is made
    from atl_sign.providers.bitbucket_tokens import HttpTokens
    from atl_sign.providers.personal_tokens import ListedToken

MARGIN = timedelta(hours=1)  # a token that ends sooner is not handed out: a large clone takes its time
GIT_MINUTES_DEFAULT = 15
TURN_S = 60.0  # how long one waits for another's exchange with the same provider

RevokeState = Literal["none", "revoked", "left"]

_log = logging.getLogger("atl_sign")


class GitTokens:
    """The tokens for git of every link."""

    def __init__(self, grants: Grants) -> None:
        """Make tokens with the credentials of *grants*, and keep them in its safe."""
        self._grants = grants
        self._safe = grants.safe
        self._turns: dict[str, threading.Lock] = {}  # by link: one exchange with its provider at a time
        self._turns_lock = threading.Lock()

    def peek(self, link: Link, user: str | None) -> GitToken | None:
        """Return as `get` if memory has it, else None; waits for nothing."""
        access = self._safe.peek_token(link)
        if access is not None and self._has_own(link, access):
            credentials = self._grants.peek(link)
            grant = None if credentials is None else credentials.grant
            is_short = grant is not None and grant.may_renew(self._now()) and grant.ends_within(_least(link), self._now())
            return None if grant is None or is_short else self._own_token(link, grant, user)
        token = self._usable(link, self._safe.peek_git_record(link), access) if access is not None else None
        return token if token is not None and (user is None or _is_same(user, token.user)) else None

    def get(self, link: Link, user: str | None) -> GitToken | None:
        """
        Return a token for *link* that is good for some time, made now when there is none.

        Args:
            link: a Bitbucket's.
            user: the name that git gives, from the address or its settings; the answer is None unless it is the token's.

        Raises:
            DanceNeededError: there is nothing to make it with.
            ProviderRefusedError, ProviderUnreachableError: it makes none.
            StoreLockedError, StoreUnavailableError: it could not be kept.
        """
        access = self._safe.token(link)
        if access is not None and self._has_own(link, access):
            access = self._grants.load(link, _least(link)).grant
            return None if access is None else self._own_token(link, access, user)
        token = self._find_usable(link)
        if token is None:
            grant = self._grants.load(link).grant
            known = grant.user if grant is not None else None
            if user is not None and known is not None and not _is_same(user, known):
                return None
            token = self._make(link)
        return token if user is None or _is_same(user, token.user) else None

    def are_under_way(self) -> bool:
        """Tell whether a token is being made or removed."""
        with self._turns_lock:
            return any(turn.locked() for turn in self._turns.values())

    def erase(self, link: Link, secret: str) -> bool:
        """
        Drop the token of *link* when it is this very one, and return whether it was; raises as the store does.

        The grant's own token stays, and is renewed when it is wanted next, if it can be.
        """
        tried = secret.encode("utf-8", "surrogateescape")  # git passes bytes
        grant = self._safe.token(link)
        own = None if grant is None else self._grants.scheme(link).git_secret(link, grant, None)
        if grant is not None and own is not None:
            is_ours = hmac.compare_digest(own.secret.reveal().encode(), tried)
            if is_ours:
                self._grants.refuse(link, grant)
            return is_ours
        record = self._safe.git_record(link)
        token = record.token if record is not None else None
        if record is None or token is None or not hmac.compare_digest(token.secret.reveal().encode(), tried):
            return False
        # It stays at the provider's until the next one is made: that it was refused does not say that it is gone.
        return self._safe.replace_git_record(link, record, GitRecord(None, _with(record.leftovers, token.name)))

    def revoke(self, link: Link) -> tuple[RevokeState, tuple[str, ...]]:
        """
        Forget the token of *link*, and remove it at the provider with all that was left there.

        Returns:
            The outcome, and the names of the tokens that are still at the provider because it could not be asked.

        Raises:
            StoreLockedError, StoreUnavailableError: the store does not say what there is, or does not forget it.
        """
        try:
            record = self._safe.git_record(link)
            if record is None:
                return "none", ()
            names = set(_with(record.leftovers, record.token.name if record.token is not None else None))
            left = names
            try:
                with self._turn(link):
                    tokens = self._open(link)
                    left = self._clear_away(tokens, tokens.list(), names)
            except DaemonError as exc:
                _log.warning("link %s: the token for git is not revoked: %s", link.name, exc.message)
        finally:
            self._safe.forget_git_record(link)
        state: RevokeState = "left" if left else "revoked" if names else "none"
        return state, tuple(sorted(left))

    def _has_own(self, link: Link, grant: Grant) -> bool:
        return self._grants.scheme(link).git_secret(link, grant, None) is not None

    def _find_usable(self, link: Link) -> GitToken | None:
        return self._usable(link, self._safe.git_record(link), self._safe.token(link))

    def _usable(self, link: Link, record: GitRecord | None, access: Grant | None) -> GitToken | None:
        token = record.token if record is not None else None
        if token is None or token.permission != link.git_permission or self._ends_by(token, MARGIN):
            return None
        if access is not None and access.user is not None and access.user != token.user:
            return None  # somebody else has danced since
        return token

    def _make(self, link: Link) -> GitToken:
        with self._turn(link):
            token = self._find_usable(link)
            if token is not None:  # another has made it meanwhile
                return token
            record = self._safe.git_record(link)
            tokens = self._open(link)
            old = record.token if record is not None else None
            names = set(record.leftovers if record is not None else ())
            if old is not None and (self._ends_by(old, timedelta()) or old.permission != link.git_permission):
                names.add(old.name)
                old = None
            left = self._clear_away(tokens, tokens.list(), names)
            if old is not None:  # somebody may be in the middle of a clone with it
                left.add(old.name)
            return self._make_kept(link, tokens, record, left)

    def _make_kept(self, link: Link, tokens: "HttpTokens", before: GitRecord | None, left: set[str]) -> GitToken:
        """Make a token; its name is in the store before it is at the provider, so that none is ever lost there."""
        name = f"{_name_prefix()}{secrets.token_hex(4)}"
        begun = GitRecord(None, tuple(sorted({*left, name})))
        if not self._safe.replace_git_record(link, before, begun):
            raise _changed_meanwhile(link)
        days = link.git_days or GIT_DAYS_DEFAULT
        made = tokens.make(name, link.git_permission, days)
        life = timedelta(days=days)
        if made.life_s is not None:
            life = min(life, timedelta(seconds=made.life_s))
        token = GitToken(name, made.secret, tokens.user, link.git_permission, self._now() + life)
        is_kept = False
        try:
            is_kept = self._safe.replace_git_record(link, begun, GitRecord(token, tuple(sorted(left))))
        finally:
            if not is_kept:
                self._remove(tokens, made.id, name)
        if not is_kept:
            raise _changed_meanwhile(link)
        return token

    def _open(self, link: Link) -> "HttpTokens":
        from atl_sign.providers.bitbucket_tokens import HttpTokens
        from atl_sign.providers.who_am_i import learn_user

        credentials = self._grants.load(link)
        session = self._grants.of(link).open_session(credentials)
        known = credentials.grant.user if credentials.grant is not None else None
        user = known or learn_user(session.send, PRODUCTS["bitbucket"])
        if user is None:
            raise ProviderRefusedError("the provider does not say who this is", f"atl-sign check {link.name}", link=link.name)
        return HttpTokens(link, session.send, user)

    def _clear_away(self, tokens: "HttpTokens", listed: "Sequence[ListedToken]", names: set[str]) -> set[str]:
        """Remove those called *names*, and those of this machine that have expired; return the names of those that stay."""
        left = set()
        for token in listed:
            is_expired = token.expires_at is not None and token.expires_at <= self._now()
            if token.name in names or (is_expired and token.name.startswith(_name_prefix())):
                is_gone = self._remove(tokens, token.id, token.name)
                if not is_gone and token.name in names:
                    left.add(token.name)
        return left

    def _remove(self, tokens: "HttpTokens", token_id: str, name: str) -> bool:
        try:
            tokens.remove(token_id)
        except DaemonError as exc:
            _log.warning("the token %s is not removed: %s", name, exc.message)
            return False
        return True

    @contextmanager
    def _turn(self, link: Link) -> Iterator[None]:
        with self._turns_lock:
            turn = self._turns.setdefault(link.name, threading.Lock())
        if not turn.acquire(timeout=TURN_S):
            raise ProviderUnreachableError("the provider is still busy with the call before", "try again", link=link.name)
        try:
            yield
        finally:
            turn.release()

    def _own_token(self, link: Link, grant: Grant, user: str | None) -> GitToken | None:
        """Return the own token of *grant*, if git can use it as it is; None when git wants to be another *user*."""
        found = self._grants.scheme(link).git_secret(link, grant, self._grants.manifests.find_product(link))
        if found is None or not found.users or (user is not None and not any(_is_same(user, name) for name in found.users)):
            return None
        return GitToken(
            found.name or link.name,
            found.secret,
            found.users[0],
            link.git_permission,
            grant.expires_at,
            takes_bearer=found.takes_bearer,
        )

    def _ends_by(self, token: GitToken, margin: timedelta) -> bool:
        return token.expires_at is not None and token.expires_at - margin <= self._now()

    def _now(self) -> datetime:
        return self._grants.clocks.now_utc()


def _least(link: Link) -> timedelta:
    """Return how long a grant's own token must be good for when git gets it: a large push takes its time."""
    return timedelta(minutes=link.own.get("git_minutes") or GIT_MINUTES_DEFAULT)


def _name_prefix() -> str:
    return f"atl-sign git on {short_host_name()} "


def _with(names: tuple[str, ...], name: str | None) -> tuple[str, ...]:
    return names if name is None or name in names else (*names, name)


def _is_same(user: str, other: str) -> bool:
    return user.casefold() == other.casefold()  # Bitbucket's names have no case


def _changed_meanwhile(link: Link) -> DanceNeededError:
    return DanceNeededError(
        f"link {link.name} was logged out or changed in the middle", f"try again, or after a logout: atl-sign dance {link.name}"
    )

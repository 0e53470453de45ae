"""The dance: three legs from a request token over the user's consent to an access token (RFC 5849 §2)."""

import hmac
import secrets
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal
from urllib.parse import parse_qs, urlsplit

from atl_sign.base.clock import now_s
from atl_sign.base.credentials import AccessToken, RequestToken, Secret
from atl_sign.base.errors import (
    BadRequestError,
    DaemonError,
    DanceExpiredError,
    DanceRefusedError,
    InternalError,
    ProviderRefusedError,
    UnknownDanceError,
)
from atl_sign.config.links import Link
from atl_sign.grants.states import Cancelled, DanceState, Expired, Failed, Granted, Refused, Waiting

if TYPE_CHECKING:  # loaded by the first dance, not by the daemon's start
    from atl_sign.grants.loopback import CallbackListener, CallbackPage
    from atl_sign.schemes.oauth1.legs import Provider

DANCE_LIFETIME_S = 600.0  # the provider's request token lives as long (facts section 2)
KEPT_S = 600.0  # how long a finished dance can still be asked about
WAITING_MAX = 32  # each loopback dance holds a port and a thread
SWAP_WAIT_S = 1.0  # how long a second answer to a dance waits for the first; then it is refused
CANCEL_WAIT_S = 5.0  # how long a cancellation waits for a token that is being stored
DENIED = "denied"  # the verifier that stands for the user's No (facts section 1.4)
VERIFIER_CHARS_MAX = 255  # Atlassian's have 6

CallbackKind = Literal["loopback", "oob"]


class Dance:
    """One dance with one link's provider."""

    def __init__(
        self,
        link: Link,
        provider: "Provider",
        callback: CallbackKind,
        *,
        keep: Callable[[AccessToken], None],
        learn_user: Callable[[AccessToken], str | None],
        on_end: Callable[[DanceState], None] = lambda _: None,
        lifetime_s: float = DANCE_LIFETIME_S,
    ) -> None:
        """
        Prepare a dance; `begin` starts it.

        Args:
            link: whom with.
            provider: the link's provider.
            callback: how the verifier comes back: to a listener on 127.0.0.1, or by the user's hand.
            keep: stores the access token; raises when that fails.
            learn_user: returns the name of the user whose token it is, when the provider says; may take as long as a request.
            on_end: told once of the state in which the dance ends.
            lifetime_s: how long the user may take.
        """
        self.id = secrets.token_urlsafe(12)
        self.link = link
        self.callback = callback
        self.expires_at = datetime.now(UTC) + timedelta(seconds=lifetime_s)
        self.authorize_url = ""
        self._provider = provider
        self._keep = keep
        self._learn_user = learn_user
        self._on_end = on_end
        self._is_naming = False  # the token is stored, and the user's name is asked for
        self._ends_at = now_s() + lifetime_s
        self._lock = threading.Lock()  # around the state
        self._swapping = threading.Lock()  # around the last leg: a verifier is good for one swap
        self._keeping = threading.RLock()  # around storing the token: the dance ends before that or after it, not meanwhile
        self._state: DanceState = Waiting()
        self._request_token: RequestToken | None = None
        self._listener: CallbackListener | None = None
        self._timer = threading.Timer(lifetime_s, self._expire)
        self._timer.daemon = True

    def begin(self) -> None:
        """
        Open the listener and fetch the request token.

        Raises:
            BadRequestError: this machine lets us listen nowhere.
            DanceRefusedError: cancelled meanwhile.
            ProviderRefusedError, ProviderUnreachableError: there is no request token.
        """
        try:
            callback_url = self._open_listener() if self.callback == "loopback" else "oob"
            request_token = self._provider.fetch_request_token(callback_url)
        except BaseException:
            self._end(Cancelled())
            raise
        self._raise_if_over()
        self.authorize_url = self._provider.authorize_url(request_token)
        self._request_token = request_token
        self._timer.start()

    def _open_listener(self) -> str:
        from atl_sign.grants.loopback import CallbackListener

        listener = CallbackListener(self._receive)
        with self._lock:
            if isinstance(self._state, Waiting):
                self._listener = listener  # from here on the dance's end closes it
        self._raise_if_over()
        try:
            listener.open()
        except BadRequestError as exc:
            hint = f"type the provider's code instead: atl-sign dance {self.link.name} --oob"
            raise BadRequestError(exc.message, hint) from exc
        return listener.url

    @property
    def state(self) -> DanceState:
        """How far the dance is."""
        if now_s() >= self._ends_at:  # the timer's thread comes late, most of all when the machine slept
            self._expire()
        return self._state

    @property
    def is_settled(self) -> bool:
        """Tell whether the state will not change any more."""
        return not isinstance(self.state, Waiting) and not self._is_naming

    @property
    def ended_s_ago(self) -> float:
        """Seconds since the dance's time was over; negative before."""
        return now_s() - self._ends_at

    def finish(self, verifier: Secret) -> Granted:
        """
        Swap the request token with the *verifier* that the user brought.

        Raises:
            BadRequestError: this cannot be a verifier; the dance waits on.
            DanceRefusedError, DanceExpiredError: the dance is over, or the verifier says that the user refused.
            ProviderRefusedError: the provider does not take the verifier; the dance waits on for another one.
            ProviderUnreachableError: the dance waits on.
            StoreLockedError, StoreUnavailableError: the token came and could not be kept.
        """
        if not self._swapping.acquire(timeout=SWAP_WAIT_S):
            raise BadRequestError("another answer to this dance is being tried", "wait for what comes of it")
        try:
            request_token = self._request_token
            self._raise_if_over()
            if request_token is None:  # the first leg is still under way
                raise BadRequestError("the dance has not begun", "open the address that the dance prints")
            if not _is_verifier(verifier.reveal()):
                raise BadRequestError("this is no code of the provider", "type the code as the provider's page shows it")
            if hmac.compare_digest(verifier.reveal().encode(), DENIED.encode()):
                self._end(Refused())
                self._raise_if_over()
            try:
                token = self._provider.fetch_access_token(request_token, verifier)
            except ProviderRefusedError as exc:
                self._end_if_hopeless(exc)
                self._raise_if_over()
                if exc.problem == "token_rejected":
                    raise self._wrong_code() from exc
                raise
            with self._keeping:
                self._raise_if_over()  # cancelled meanwhile: nobody wants the token any more
                try:
                    self._keep(token)
                except DaemonError as exc:
                    self._end(Failed(exc))
                    raise
                self._is_naming = True
                self._end(Granted(None))
        finally:
            self._swapping.release()
        return self._name(token)

    def _name(self, token: AccessToken) -> Granted:
        """Complete the state with the user's name; nothing that happens meanwhile can take the grant back here."""
        try:
            granted = Granted(self._learn_user(token))
            self._state = granted
        finally:
            self._is_naming = False
        return granted

    def finish_by_url(self, url: Secret) -> Granted:
        """Finish with the whole address that the browser ended on; raises as `finish`, and BadRequestError."""
        self._raise_if_over()
        try:
            query = parse_qs(urlsplit(url.reveal()).query, keep_blank_values=True)
        except ValueError:
            query = {}
        tokens, verifiers = query.get("oauth_token", []), query.get("oauth_verifier", [])
        if len(tokens) != 1 or len(verifiers) != 1:
            raise BadRequestError(
                "this address holds no oauth_token and oauth_verifier", "copy the whole address that the browser ended on"
            )
        if not self._is_ours(tokens[0]):
            raise BadRequestError("this address belongs to another dance", "open the address that this dance printed")
        return self.finish(Secret(verifiers[0]))

    def cancel(self) -> None:
        """End the dance if it still waits; a token that is being stored then has been stored when this returns."""
        is_still = self._keeping.acquire(timeout=CANCEL_WAIT_S)
        try:
            self._end(Cancelled())
        finally:
            if is_still:
                self._keeping.release()

    def _receive(self, token: str, verifier: str) -> "CallbackPage":
        """Finish with what came to the listener; called in its thread."""
        from atl_sign.grants.loopback import CallbackPage, WrongTokenError

        if isinstance(self.state, Waiting) and not self._is_ours(token):
            raise WrongTokenError
        name = self.link.name
        try:
            granted = self.finish(Secret(verifier))
        except DanceRefusedError as exc:
            if isinstance(self.state, Refused):
                return CallbackPage("Access denied", f"You denied access for {name}. Nothing was changed.", is_good=False)
            return CallbackPage("This sign-in is already over", f"Nothing was changed: {exc.message}.", is_good=False)
        except DanceExpiredError:
            return CallbackPage("This sign-in has expired", f"To begin again: atl-sign dance {name}", is_good=False)
        except DaemonError as exc:
            # The browser comes here once, so what would let a typed code wait for another try ends this dance.
            self._end(Failed(exc))
            return CallbackPage("Sign-in failed", f"{exc.message}." + (f"\n{exc.hint}" if exc.hint else ""), is_good=False)
        except Exception:
            # The verifier may be spent and nobody comes here again: without this the dance would wait until its time is over.
            self._end(Failed(InternalError("the dance failed", f"begin again: atl-sign dance {name}")))
            raise
        who = f"as {granted.user} " if granted.user else ""
        return CallbackPage("Access granted", f"atl-sign may now sign requests {who}for {name} ({self.link.url}).", is_good=True)

    def _is_ours(self, token: str) -> bool:
        ours = self._request_token
        return ours is not None and hmac.compare_digest(token.encode(errors="replace"), ours.key.reveal().encode())

    def _end_if_hopeless(self, exc: ProviderRefusedError) -> None:
        if exc.problem == "permission_denied":
            self._end(Refused())
        elif exc.problem in ("token_expired", "token_used", "token_revoked"):
            self._end(Expired())

    def _wrong_code(self) -> ProviderRefusedError:
        """Return what `token_rejected` means in the last leg; everywhere else it means a token that is not known."""
        hint = f"type the code as the provider's page shows it; or begin again: atl-sign dance {self.link.name}"
        message = f"link {self.link.name}: the provider does not take this code (token_rejected)"
        return ProviderRefusedError(message, hint, problem="token_rejected")

    def _raise_if_over(self) -> None:
        state = self.state
        again = f"atl-sign dance {self.link.name}"
        if isinstance(state, Refused):
            raise DanceRefusedError(f"the user refused access on link {self.link.name}", again)
        if isinstance(state, Cancelled):
            raise DanceRefusedError(f"the dance with {self.link.name} was cancelled", again)
        if isinstance(state, Expired):
            raise DanceExpiredError(f"the dance with {self.link.name} took longer than its time", again)
        if isinstance(state, Failed):
            raise state.error
        if isinstance(state, Granted):
            raise DanceRefusedError(f"the dance with {self.link.name} is finished already", f"atl-sign check {self.link.name}")

    def _expire(self) -> None:
        if self._keeping.acquire(blocking=False):  # else the user was in time, and the token is being stored
            try:
                self._end(Expired())
            finally:
                self._keeping.release()

    def _end(self, state: DanceState) -> None:
        with self._lock:
            if not isinstance(self._state, Waiting):
                return
            self._state = state
            listener, self._listener = self._listener, None
            self._request_token = None
        self._timer.cancel()
        self._on_end(state)
        if listener is not None:
            # Not here: this may be the listener's own thread, which still has a page to write.
            threading.Thread(target=listener.close, name="callback-close", daemon=True).start()


def _is_verifier(text: str) -> bool:
    return 0 < len(text) <= VERIFIER_CHARS_MAX and text.isascii() and text.isprintable() and " " not in text


class Dances:
    """The dances that wait or ended a short while ago, by id."""

    def __init__(self, lifetime_s: float = DANCE_LIFETIME_S) -> None:
        """Give each dance *lifetime_s* seconds."""
        self.lifetime_s = lifetime_s
        self._dances: dict[str, Dance] = {}
        self._lock = threading.Lock()

    def begin(
        self,
        link: Link,
        provider: "Provider",
        callback: CallbackKind,
        *,
        keep: Callable[[AccessToken], None],
        learn_user: Callable[[AccessToken], str | None],
        on_end: Callable[[DanceState], None] = lambda _: None,
    ) -> Dance:
        """Begin a dance; raises as `Dance.begin`, and BadRequestError when too many wait already."""
        with self._lock:
            # Asked for its state, a dance whose time was over in a sleep ends, and its listener with it.
            kept = {key: dance for key, dance in self._dances.items() if not dance.is_settled or dance.ended_s_ago < KEPT_S}
            self._dances = kept
            if self.count_waiting() >= WAITING_MAX:
                raise BadRequestError(f"{WAITING_MAX} dances wait for their users", "finish or cancel some of them")
            dance = Dance(link, provider, callback, keep=keep, learn_user=learn_user, on_end=on_end, lifetime_s=self.lifetime_s)
            self._dances[dance.id] = dance
        try:
            dance.begin()
        except BaseException:
            with self._lock:
                del self._dances[dance.id]
            raise
        return dance

    def get(self, dance_id: str) -> Dance:
        """Return the dance; raises UnknownDanceError."""
        dance = self._dances.get(dance_id)
        if dance is None or dance.ended_s_ago >= KEPT_S:
            raise UnknownDanceError(
                "no dance has this id",
                "finished dances are forgotten after a while; atl-sign status lists the links that need one",
            )
        return dance

    def count_waiting(self) -> int:
        """Return how many wait for their users."""
        return sum(isinstance(dance.state, Waiting) for dance in list(self._dances.values()))

    def are_settled(self) -> bool:
        """Tell whether no dance will change any more: none waits, and none is still asking for its user's name."""
        return all(dance.is_settled for dance in list(self._dances.values()))

    def cancel_all(self, name: str | None = None) -> None:
        """End every dance that waits, or those with the link called *name*."""
        for dance in list(self._dances.values()):
            if name is None or dance.link.name == name:
                dance.cancel()

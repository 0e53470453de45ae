"""The dance: from the address where the user consents to a grant in the store."""

import secrets
import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal, Protocol
from urllib.parse import urlsplit

from atl_sign.base.clock import now_s
from atl_sign.base.credentials import Grant, Secret
from atl_sign.base.errors import (
    BadRequestError,
    DaemonError,
    DanceExpiredError,
    DanceRefusedError,
    InternalError,
    ProviderBusyError,
    ProviderUnreachableError,
)
from atl_sign.config.links import Link
from atl_sign.grants.states import Cancelled, DanceState, Expired, Failed, Granted, Refused, Waiting
from atl_sign.schemes.base import Consent, DeviceCode, NoAnswerError, OtherDanceError, PendingError, RedirectPlace

if TYPE_CHECKING:  # loaded by the first dance, not by the daemon's start
    from atl_sign.grants.loopback import CallbackListener, CallbackPage

DANCE_LIFETIME_S = 600.0  # the provider's request token lives as long (facts section 2)
SWAP_WAIT_S = 1.0  # how long a second answer to a dance waits for the first; then it is refused
SLOWER_S = 7.0  # after slow_down: the 5 s of RFC 8628 §3.5, and some more (facts oauth2.md section 8.3)
POLL_S_MAX = 60.0  # between two questions to a provider that does not answer
CANCEL_WAIT_S = 5.0  # how long a cancellation waits for a token that is being stored

CallbackKind = Literal["loopback", "oob", "paste", "device"]


class Danceable(Protocol):
    """One link, whose provider takes part in a dance."""

    link: Link

    def begin(self, callback: str) -> Consent:
        """Begin at the provider; raises as `Scheme.begin`."""

    def redirect_place(self) -> RedirectPlace:
        """Return where the browser is sent after the consent."""

    def read_redirect(self, consent: Consent, query: str) -> Secret:
        """Return the user's answer in *query*; raises as `Scheme.read_redirect`."""

    def redeem(self, consent: Consent, answer: Secret) -> Grant:
        """Return the grant that the user's *answer* stands for; raises as `Scheme.redeem`."""

    def find_user(self) -> str | None:
        """Return the user of the grant that is in the store now."""

    def keep(self, grant: Grant) -> None:
        """Store *grant* in place of the one before; raises as the store does."""

    def learn_user(self, grant: Grant) -> str | None:
        """Return the name of the user of *grant*, which is kept; None when the provider does not say."""


class Dance:
    """One dance with one link's provider."""

    def __init__(
        self,
        live: Danceable,
        callback: CallbackKind,
        *,
        on_end: Callable[[DanceState], None] = lambda _: None,
        lifetime_s: float = DANCE_LIFETIME_S,
    ) -> None:
        """
        Prepare a dance; `begin` starts it.

        Args:
            live: whom with; begins it, redeems the user's answer, and keeps the grant.
            callback: how the answer comes back: to a listener on this machine; by the user's hand (oob: a code, paste: a token);
                device: by asking whether the user has entered a code at another one.
            on_end: called once with the state in which the dance ends.
            lifetime_s: how long the user may take.
        """
        self.id = secrets.token_urlsafe(12)
        self.link = live.link
        self.callback = callback
        self.expires_at = datetime.now(UTC) + timedelta(seconds=lifetime_s)
        self.lifetime_s = lifetime_s
        self.authorize_url = ""
        self.redirect_url: str | None = None  # where the listener is
        self.device: DeviceCode | None = None
        self.settled: Future[None] = Future()  # done when the state will not change any more
        self._live = live
        self._on_end = on_end
        self._is_naming = False  # the token is stored, and the user's name is asked for
        self._ends_at = now_s() + lifetime_s
        self._is_over = threading.Event()
        self._lock = threading.Lock()  # around the state
        self._swapping = threading.Lock()  # around the last leg: a verifier is good for one swap
        self._keeping = threading.RLock()  # around storing the token: the dance ends before that or after it, not meanwhile
        self._state: DanceState = Waiting()
        self._consent: Consent | None = None
        self._listener: CallbackListener | None = None
        self._timer = threading.Timer(lifetime_s, self._expire)
        self._timer.daemon = True

    def begin(self) -> None:
        """
        Open the listener and begin at the provider.

        Raises:
            BadRequestError: this machine lets us listen nowhere.
            DanceRefusedError: cancelled meanwhile.
            ProviderRefusedError, ProviderUnreachableError: the provider does not begin one.
        """
        try:
            callback = "device" if self.callback == "device" else "oob"
            if self.callback == "loopback":
                callback = self.redirect_url = self._open_listener()
            consent = self._live.begin(callback)
        except BaseException:
            self._end(Cancelled())
            raise
        self._raise_if_over()
        self.authorize_url = consent.authorize_url
        self._consent = consent
        if consent.device is not None:
            self._shorten(consent.device.lifetime_s)
            self.device = consent.device
            threading.Thread(target=self._poll, args=(consent, consent.device), name="device-poll", daemon=True).start()
        self._timer.start()

    def _shorten(self, lifetime_s: float) -> None:
        """Let the dance end earlier: the provider's code does."""
        self.lifetime_s = min(self.lifetime_s, lifetime_s)
        self.expires_at = datetime.now(UTC) + timedelta(seconds=self.lifetime_s)
        self._ends_at = now_s() + self.lifetime_s
        self._timer = threading.Timer(self.lifetime_s, self._expire)
        self._timer.daemon = True

    def _poll(self, consent: Consent, device: DeviceCode) -> None:
        """Ask until the user has answered at the other device (RFC 8628 §3.5)."""
        assert consent.key is not None  # noqa: S101 - the device's code
        pause_s = device.interval_s
        while not self._is_over.wait(pause_s):
            try:
                self.finish(consent.key)
            except PendingError as exc:
                pause_s += SLOWER_S if exc.is_slower else 0.0
            except (ProviderUnreachableError, ProviderBusyError) as exc:
                pause_s = max(min(2 * pause_s, POLL_S_MAX), exc.retry_after_s or 0.0)
            except DaemonError as exc:
                self._end_with(exc)
            except Exception:
                self._end(Failed(InternalError("the dance failed", f"begin again: {self._again}")))
                raise

    def _open_listener(self) -> str:
        from atl_sign.grants.loopback import CallbackListener
        from atl_sign.grants.outcome_pages import make_error_page

        failed = InternalError("atl-sign could not finish the sign-in")
        listener = CallbackListener(self._live.redirect_place(), self._receive, make_error_page(self.link, failed))
        with self._lock:
            if isinstance(self._state, Waiting):
                self._listener = listener  # from here on the dance's end closes it
        self._raise_if_over()
        try:
            listener.open()
        except BadRequestError as exc:
            hint = exc.hint or f"type the provider's code instead: {self._again} --oob"
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

    def finish(self, answer: Secret, expires_at: datetime | None = None, *, comes_once: bool = False) -> Granted:
        """
        Redeem the *answer* that the user brought.

        Args:
            answer: the provider's code, or a token.
            expires_at: when that token ends (aware), as the user was shown it; counts when the provider does not say.
            comes_once: it was read from the redirect's address, and no other one comes: the dance waits for nothing more,
                whatever is raised.

        Raises:
            BadRequestError: this cannot be an answer; the dance waits on.
            DanceRefusedError, DanceExpiredError: the dance is over, or the answer says that the user refused.
            ProviderRefusedError: the provider does not take the answer; the dance waits on for another one.
            ProviderUnreachableError: the dance waits on.
            StoreLockedError, StoreUnavailableError: the grant came and could not be kept.
        """
        if not self._swapping.acquire(timeout=SWAP_WAIT_S):
            raise BadRequestError("another answer to this dance is being tried", "wait until that one is answered")
        try:
            consent = self._consent
            self._raise_if_over()
            if consent is None:  # it is still being begun
                raise BadRequestError("the dance has not begun", "open the address that the dance prints")
            if consent.needs_address and not comes_once:
                raise BadRequestError(
                    "only the address of a code shows which sign-in it belongs to",
                    "paste the whole address that the browser ended on",
                )
            try:
                grant = self._live.redeem(consent, answer)
            except DanceRefusedError:
                self._end(Refused())
                self._raise_if_over()
                raise
            except DanceExpiredError:
                self._end(Expired())
                self._raise_if_over()
                raise
            except DaemonError as exc:
                self._raise_if_over()
                if comes_once:  # before anybody else can try it: an authorization code must not be sent twice
                    self._end_with(exc)
                raise
            if grant.expires_at is None and expires_at is not None:
                grant = replace(grant, expires_at=expires_at)
            with self._keeping:
                self._raise_if_over()  # cancelled meanwhile: nobody wants the grant any more
                try:
                    before = self._live.find_user()
                    self._live.keep(grant)
                except DaemonError as exc:
                    self._end(Failed(exc))
                    raise
                self._is_naming = True
                self._end(Granted(None))
        finally:
            self._swapping.release()
        return self._name(grant, before)

    def _name(self, grant: Grant, before: str | None) -> Granted:
        """Complete the state with the user's name; nothing that happens meanwhile can take the grant back here."""
        try:
            user = self._live.learn_user(grant)
            granted = Granted(user, before if user != before else None)
            self._state = granted
        finally:
            self._is_naming = False
            self._settle()
        return granted

    def finish_by_url(self, url: Secret) -> Granted:
        """Finish with the whole address that the browser ended on; raises as `finish`, and BadRequestError."""
        self._raise_if_over()
        try:
            query = urlsplit(url.reveal()).query
        except ValueError:
            query = ""
        try:
            answer = self._read(query)
        except NoAnswerError as exc:
            raise BadRequestError(
                f"this address is not the answer: {exc}", "copy the whole address that the browser ended on"
            ) from None
        except OtherDanceError:
            raise BadRequestError("this address belongs to another dance", "open the address that this dance printed") from None
        except DaemonError as exc:
            self._end_with(exc)
            raise
        return self.finish(answer, comes_once=True)

    def _read(self, query: str) -> Secret:
        """Return the answer in the redirect's *query*; raises as `Scheme.read_redirect`."""
        consent = self._consent
        if consent is None:  # it is still being begun, so nothing was sent out that could be answered
            raise OtherDanceError
        return self._live.read_redirect(consent, query)

    def _end_with(self, error: DaemonError) -> None:
        """End with what the browser brought: it comes once, so what would let a typed code wait for another try ends this."""
        if isinstance(error, DanceRefusedError):
            self._end(Refused())
        elif isinstance(error, DanceExpiredError):
            self._end(Expired())
        else:
            self._end(Failed(error))

    def cancel(self) -> None:
        """End the dance if it still waits; a token that is being stored then has been stored when this returns."""
        is_still = self._keeping.acquire(timeout=CANCEL_WAIT_S)
        try:
            self._end(Cancelled())
        finally:
            if is_still:
                self._keeping.release()

    def _receive(self, query: str) -> "CallbackPage":
        """Finish with what came to the listener; called in its thread, and raises NoAnswerError and OtherDanceError."""
        from atl_sign.grants.outcome_pages import make_error_page, make_grant_page

        try:
            self._raise_if_over()
            granted = self.finish(self._read(query), comes_once=True)
        except (NoAnswerError, OtherDanceError):
            raise
        except DaemonError as exc:
            was_over = isinstance(exc, DanceRefusedError) and not isinstance(self.state, Refused | Waiting)
            self._end_with(exc)
            return make_error_page(self.link, exc, was_over=was_over)
        except Exception:
            # The verifier may be spent and nobody comes here again: without this the dance would wait until its time is over.
            self._end(Failed(InternalError("the dance failed", f"begin again: {self._again}")))
            raise
        return make_grant_page(self.link, granted.user)

    @property
    def _again(self) -> str:
        return f"atl-sign dance {self.link.name}"

    def _raise_if_over(self) -> None:
        state, again = self.state, self._again
        if isinstance(state, Refused):
            raise DanceRefusedError(f"the user refused access on link {self.link.name}", again)
        if isinstance(state, Cancelled):
            raise DanceRefusedError(f"the dance with {self.link.name} was cancelled", again)
        if isinstance(state, Expired):
            raise DanceExpiredError(f"the dance with {self.link.name} has expired", again)
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

    def _settle(self) -> None:
        with suppress(InvalidStateError):  # a dance that was cancelled while its grant was being stored is settled twice
            self.settled.set_result(None)

    def _end(self, state: DanceState) -> None:
        with self._lock:
            if not isinstance(self._state, Waiting):
                return
            self._state = state
            listener, self._listener = self._listener, None
            self._consent = None
        self._is_over.set()
        self._timer.cancel()
        if listener is not None:
            listener.free_port()  # before anybody hears of the end: the next dance may need this very port
        self._on_end(state)
        if not self._is_naming:
            self._settle()
        if listener is not None:
            # Not here: this may be the listener's own thread, which still has a page to write.
            threading.Thread(target=listener.close, name="callback-close", daemon=True).start()

"""The words of the page that a dance ends on, by its outcome."""

from atl_sign.base.errors import DaemonError, DanceExpiredError, DanceRefusedError, StoreLockedError
from atl_sign.config.links import Link
from atl_sign.grants.loopback_page import CallbackPage


def make_grant_page(link: Link, user: str | None) -> CallbackPage:
    """Return the page for a dance that brought a grant of *user*; None when the provider does not name one."""
    who = f" as {user}" if user else ""
    return CallbackPage(f"Signed in to {link.name}", f"atl-sign can now sign requests to {link.url}{who}.", is_good=True)


def make_error_page(link: Link, error: DaemonError, *, was_over: bool = False) -> CallbackPage:
    """
    Return the page for a dance that ended with *error*.

    Args:
        link: whom the dance was with.
        error: why it ended.
        was_over: whether it had ended before this answer came.
    """
    again = f"atl-sign dance {link.name}"
    if was_over:
        message = f"Nothing has changed: {error.message}."
        return CallbackPage("This sign-in is already over", message, is_good=False, command=error.hint or again)
    if isinstance(error, DanceRefusedError):
        message = "You denied access. Nothing has changed.\nIf that was a mistake, sign in again."
        return CallbackPage(f"Access to {link.name} denied", message, is_good=False, command=again)
    if isinstance(error, DanceExpiredError):
        message = "The time to press Allow is over. Nothing has changed."
        return CallbackPage(f"Sign-in to {link.name} has expired", message, is_good=False, command=again)
    title = f"Sign-in to {link.name} failed"
    message = f"{error.message}." + (f"\n{error.hint}" if error.hint else "")
    if isinstance(error, StoreLockedError):
        return CallbackPage(title, f"{message}\nThen sign in again: {again}", is_good=False, command="atl-sign unlock")
    return CallbackPage(title, message, is_good=False, command=again)

"""
Failures of ours: a sentence and a hint; those that leave the socket also have a stable code and an HTTP status.

Programs match on `code`. A person reads `message` (what failed) and `hint` (what to do about it); neither ever holds a secret.
"""

from typing import ClassVar


class AtlSignError(Exception):
    """The base of every failure of ours that a person reads; never raised itself."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        """Say what failed (lower case, no full stop) and, in *hint*, what to do about it."""
        super().__init__(message)
        self.message = message
        self.hint = hint


class DaemonError(AtlSignError):
    """The base of every failure that leaves the socket; never raised itself."""

    code: ClassVar[str]
    status: ClassVar[int]
    retry_after_s: int | None = None  # goes out as Retry-After

    def __init__(self, message: str, hint: str | None = None, *, link: str | None = None) -> None:
        """
        Say what failed and what to do about it.

        Args:
            message: as in `AtlSignError`; it goes on as `reason`.
            hint: as in `AtlSignError`.
            link: the name of the link that this happened with; the message then begins with it.
        """
        super().__init__(message if link is None else f"link {link}: {message}", hint)
        self.reason = message
        self.link = link


class BadRequestError(DaemonError):
    """The request to the daemon cannot be read, or asks for what nobody can sign."""

    code = "bad_request"
    status = 400


class BadFieldsError(BadRequestError):
    """The request is well formed, but a field is missing, unknown or of the wrong kind."""

    status = 422


class BadUrlError(DaemonError):
    """The URL cannot be signed so that the provider computes the same signature."""

    code = "bad_url"
    status = 400


class PathAmbiguousError(DaemonError):
    """The path or query is spelled so that two servers could read it differently, so that no rule can decide on it."""

    code = "path_ambiguous"
    status = 400


class BadRuleError(DaemonError):
    """A rule of what a program may send cannot be read."""

    code = "bad_rule"
    status = 400


class TooLargeError(DaemonError):
    """The request's body, or a form to sign, is over its limit."""

    code = "too_large"
    status = 413


class NotFoundError(DaemonError):
    """No such route."""

    code = "not_found"
    status = 404


class MethodNotAllowedError(DaemonError):
    """The route exists, but not for this method."""

    code = "method_not_allowed"
    status = 405


class UnknownLinkError(DaemonError):
    """No application link has this name, or none covers this URL."""

    code = "unknown_link"
    status = 404


class AmbiguousLinkError(DaemonError):
    """Two application links cover the URL equally well."""

    code = "ambiguous_link"
    status = 409


class LinkExistsError(DaemonError):
    """An application link of this name exists, and the caller asked not to replace it."""

    code = "link_exists"
    status = 409


class AdministratorsLinkError(DaemonError):
    """The link stands in the administrator's file, which is changed by nobody else."""

    code = "administrators_link"
    status = 409


class BadLinkFileError(DaemonError):
    """A file of links that is to be imported has something in it that cannot be used; nothing was changed."""

    code = "bad_link_file"
    status = 422


class DanceNeededError(DaemonError):
    """The link has no access token, or its provider no longer takes the one it has."""

    code = "dance_needed"
    status = 409


class UnknownDanceError(DaemonError):
    """No dance has this id; finished ones are forgotten after a while."""

    code = "unknown_dance"
    status = 404


class DanceRefusedError(DaemonError):
    """The user pressed Deny, or the dance was cancelled, so there is nothing to go on with."""

    code = "dance_refused"
    status = 409


class DanceExpiredError(DaemonError):
    """The request token's 10 minutes are over."""

    code = "dance_expired"
    status = 409


class KeyExistsError(DaemonError):
    """There is a consumer key already, and the caller did not ask to replace it."""

    code = "key_exists"
    status = 409


class KeyMissingError(DaemonError):
    """There is no consumer key yet."""

    code = "key_missing"
    status = 409


class KeyLockedError(DaemonError):
    """The consumer's key is in a token or a vault that wants to be unlocked, or logged in to, first."""

    code = "key_locked"
    status = 423


class KeyUnavailableError(DaemonError):
    """The consumer's key is in a token or a vault that does not sign now."""

    code = "key_unavailable"
    status = 503


class AppMissingError(DaemonError):
    """The link's app, with which it asks for OAuth 2.0 tokens, has no id or no secret yet."""

    code = "app_missing"
    status = 409


class ConfigBrokenError(DaemonError):
    """The part of the configuration file that this answer needs cannot be read."""

    code = "config_broken"
    status = 503


class ConfigUnwritableError(DaemonError):
    """The configuration file cannot be written; what stood there before still stands."""

    code = "config_unwritable"
    status = 503


class StoreLockedError(DaemonError):
    """The keyring is locked, or it waits for the user longer than a request can."""

    code = "store_locked"
    status = 423


class StoreUnavailableError(DaemonError):
    """The keyring cannot be reached, or it failed."""

    code = "store_unavailable"
    status = 503


class KeyringMissingError(StoreUnavailableError):
    """There is no keyring here: no session bus, nothing on it that keeps secrets, or no collection to keep them in."""

    code = "keyring_missing"
    status = 503


class AuditUnavailableError(DaemonError):
    """The audit log cannot be written, and the configuration requires it."""

    code = "audit_unavailable"
    status = 503


class WrongPassphraseError(DaemonError):
    """The passphrase is not the one that the store's file was made with, or the PIN not that of the token."""

    code = "wrong_passphrase"
    status = 403


class TooManyTriesError(DaemonError):
    """
    Another passphrase was tried too short a while ago, or is being tried now.

    Or the token with the consumer's key has had wrong PINs, so that another one could lock it.
    """

    code = "too_many_tries"
    status = 429

    def __init__(self, message: str, retry_after_s: int | None = None, *, hint: str | None = None) -> None:
        """Tell the peer to come again in *retry_after_s* seconds; where waiting does not help, *hint* says what does."""
        super().__init__(message, f"try again in {retry_after_s} s" if retry_after_s is not None else hint)
        self.retry_after_s = retry_after_s


class PassphraseNeededError(StoreLockedError):
    """The store's file opens with its passphrase, which did not come with the request."""

    code = "passphrase_needed"
    status = 423


class StoreMissingError(StoreLockedError):
    """The store's file is not there yet; making it needs a passphrase of the user's choice."""

    code = "store_missing"
    status = 428


class StoreExistsError(DaemonError):
    """The store's file is there already, and was asked to be made."""

    code = "store_exists"
    status = 409


class StoreConflictError(DaemonError):
    """The store holds another item under this name than the one that was to be replaced or moved there."""

    code = "store_conflict"
    status = 409


class StoreNewerError(DaemonError):
    """The store's item was written by a newer atl-sign, or is of a scheme that this one does not know; it stays as it is."""

    code = "store_newer"
    status = 409


class ProviderRefusedError(DaemonError):
    """The provider refused, or did not answer as its protocol says."""

    code = "provider_refused"
    status = 502

    def __init__(
        self,
        message: str,
        hint: str | None = None,
        *,
        link: str | None = None,
        problem: str | None = None,
        is_absent: bool = False,
        ends_grant: bool = False,
    ) -> None:
        """
        Say what the provider refused.

        Args:
            message: as in `AtlSignError`.
            hint: as in `AtlSignError`.
            link: as in `DaemonError`.
            problem: the provider's own word for it, when it gave one.
            is_absent: it answered 404.
            ends_grant: it will give no other token in place of the one that it was shown.
        """
        super().__init__(message, hint, link=link)
        self.problem = problem
        self.is_absent = is_absent
        self.ends_grant = ends_grant


class ProviderUnreachableError(DaemonError):
    """The provider did not answer in time, or not at all."""

    code = "provider_unreachable"
    status = 502
    is_timeout = False  # whether a limit of time ran out
    nothing_sent = False  # whether it is certain that no byte of the request has gone out


class ProviderBusyError(DaemonError):
    """The provider, or a gateway in front of it, asks to try again later."""

    code = "provider_busy"
    status = 503

    def __init__(self, message: str, hint: str, *, link: str, retry_after_s: int | None) -> None:
        """Tell the peer to come again in *retry_after_s* seconds, when the provider named a time."""
        super().__init__(message, hint, link=link)
        self.retry_after_s = retry_after_s


class InternalError(DaemonError):
    """Something failed that nobody foresaw; no detail leaves the daemon."""

    code = "internal"
    status = 500

"""The one failure of this package."""

from __future__ import annotations


class AtlSignError(Exception):
    """
    No signature, and why; nothing was sent to the provider.

    Match on `code`; `message` is for people and may change, and `hint` says what to do.

    Five codes are of this package, all others are the daemon's (docs/errors.md):

    - `no_daemon`: nobody listens on the socket.
    - `daemon_timeout`: connection and answer took longer than the deadline.
    - `bad_answer`: what listens there gave half an answer, no answer, or one that a daemon would not give.
    - `bad_socket`: the socket's path is too long, or it is another user's, or no socket.
    - `bad_request`: the request cannot be signed as it is; the daemon has this code too.
    """

    def __init__(self, code: str, message: str, hint: str | None = None) -> None:
        """Keep the three; all go to the base class, so that the error survives pickling."""
        super().__init__(code, message, hint)
        self.code = code
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        """Return message and hint in one line."""
        return f"{self.message} (hint: {self.hint})" if self.hint else self.message

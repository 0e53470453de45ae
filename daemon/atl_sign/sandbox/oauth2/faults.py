"""Misbehaviour of a server, which a test switches on and off while it runs."""

from dataclasses import dataclass, fields
from typing import Literal, get_args

# The token endpoint answers an HTML page, JSON of another shape, a redirect or an error status instead of working, ends the
# connection, or works and loses its answer on the way.
TokenFault = Literal["html", "shape", "redirect", "408", "429", "500", "503", "hang up", "lost answer"]
TOKEN_FAULTS: tuple[TokenFault, ...] = get_args(TokenFault)


@dataclass(slots=True)
class Faults:
    """The misbehaviour of one server; none at first."""

    token: TokenFault | None = None
    times: int | None = None  # for how many requests `token` lasts; None: until it is changed
    retry_after: str | None = "7"  # comes with 429 and 503
    redirect_to: str = "/elsewhere"
    delay_s: float = 0.0  # the token endpoint answers so much later, and has done its work before
    errors_with_200: bool = False
    omits_expires_in: bool = False
    expires_in: object = None  # instead of the usual number: text, negative, huge
    omits_refresh_token: bool = False
    # The redirect back.
    doubles_state: bool = False
    omits_state: bool = False
    iss: str | None = None  # a forged one
    extra: tuple[tuple[str, str], ...] = ()  # foreign parameters
    is_silent: bool = False  # a page instead of the redirect
    # The rest.
    metadata_issuer: str | None = None  # a lie
    ignores_bearers: bool = False  # every token of this server makes its bearer anonymous
    hides_expiry: bool = False  # Atlassian Cloud: the Confluence gateway answers an expired token with 403 or 404, not 401

    def take(self) -> TokenFault | None:
        """Return the token endpoint's fault for one request, and count it."""
        if self.token is None or self.times == 0:
            return None
        if self.times is not None:
            self.times -= 1
        return self.token

    def clear(self) -> None:
        """Behave again."""
        for each in fields(self):
            setattr(self, each.name, each.default)

"""OAuth problems in the shape of the net.oauth library: status, WWW-Authenticate and a form-encoded body (facts section 3.1)."""

from collections.abc import Mapping
from urllib.parse import quote

from atl_sign.sandbox.wire import Answer

STATUSES: Mapping[str, int] = {
    "timestamp_refused": 400,
    "signature_method_rejected": 400,
    "parameter_absent": 400,
    "parameter_rejected": 400,
    "version_rejected": 400,
    "nonce_used": 401,
    "signature_invalid": 401,
    "consumer_key_unknown": 401,
    "token_rejected": 401,
    "token_expired": 401,
    "token_used": 401,
    "permission_unknown": 401,
    "permission_denied": 401,
}
HEADER_BYTES_MAX = 8_192  # Tomcat's limit for an answer's head; a longer problem is told by the body alone


class OAuthProblemError(Exception):
    """A request that is OAuth and is refused; *problem* is the word of the problem-reporting extension."""

    def __init__(self, problem: str, **fields: str) -> None:
        """Refuse with *problem* and what comes along with it, such as `oauth_acceptable_timestamps`."""
        super().__init__(problem)
        self.problem = problem
        self.fields = fields

    @property
    def status(self) -> int:
        """The HTTP status that net.oauth gives the problem."""
        return STATUSES[self.problem]


def escape(text: str | bytes) -> str:
    """Percent-encode as RFC 5849 §3.6: only letters, digits and "-._~" stay."""
    return quote(text, safe="-._~")


def make_challenge(base_url: str) -> str:
    """Return the WWW-Authenticate value that every 401 carries; the realm is the configured base URL."""
    return f'OAuth realm="{escape(base_url)}"'


def make_problem_answer(error: OAuthProblemError, base_url: str) -> Answer:
    """Return the answer that tells *error*."""
    fields = {"oauth_problem": error.problem, **error.fields}
    body = "&".join(f"{escape(name)}={escape(value)}" for name, value in fields.items())
    challenge = make_challenge(base_url) + "".join(f', {escape(name)}="{escape(value)}"' for name, value in fields.items())
    if len(challenge) > HEADER_BYTES_MAX:
        challenge = f'{make_challenge(base_url)}, oauth_problem="{error.problem}"'
    return Answer(
        error.status,
        body.encode("ascii"),
        (("WWW-Authenticate", challenge), ("Content-Type", "application/x-www-form-urlencoded;charset=UTF-8")),
    )

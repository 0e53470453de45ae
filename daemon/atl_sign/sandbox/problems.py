"""OAuth problems in the shape of the net.oauth library: status, WWW-Authenticate and a form-encoded body (facts section 3.1)."""

from collections.abc import Mapping
from html import escape as escape_html
from typing import Literal, get_args
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
# How a refusal arrives: as net.oauth sends it, or as it looks after something on the way had its hands on it.
RefusalForm = Literal["both", "newline", "header", "body", "page"]
REFUSAL_FORMS: tuple[RefusalForm, ...] = get_args(RefusalForm)


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


def make_problem_answer(error: OAuthProblemError, base_url: str, form: RefusalForm = "both") -> Answer:
    """
    Return the answer that reports *error*.

    Args:
        error: the refusal.
        base_url: the configured one, for the realm.
        form: "both" for header and body, as net.oauth does it; "newline" with a line feed after the body; "header" without
            a body; "body" with only the realm in the header and CRLF after the body; "page" with an HTML page for a body.
    """
    fields = {"oauth_problem": error.problem, **error.fields}
    body = "&".join(f"{escape(name)}={escape(value)}" for name, value in fields.items())
    challenge = make_challenge(base_url) + "".join(f', {escape(name)}="{escape(value)}"' for name, value in fields.items())
    media_type = "application/x-www-form-urlencoded;charset=UTF-8"
    if form == "newline":
        body += "\n"
    elif form == "header":
        body = ""
    elif form == "body":
        body, challenge = body + "\r\n", make_challenge(base_url)
    elif form == "page":
        body, media_type = f"<!doctype html><title>{error.status}</title><p>{escape_html(body)}</p>", "text/html;charset=UTF-8"
    return Answer(error.status, body.encode("ascii"), (("WWW-Authenticate", challenge), ("Content-Type", media_type)))

"""Answers of a token endpoint that no honest one gives, and odd ones that give tokens all the same."""

import json
from dataclasses import dataclass

from tests.strange_server import ACCESS, HTML, JSON, PAGE, REFRESH, TOKENS, Script, as_json, refusal, reset, tokens
from tests.unit.raw_server import reply

NO_TOKENS = "did not answer with tokens"
BUSY = "gives no token at the moment"
DEAD = "its refresh token is no longer good"


@dataclass(frozen=True, slots=True)
class Failure:
    """An answer without tokens, and what becomes of it."""

    answer: bytes | Script
    code: str  # of the error
    words: str  # in its message or hint
    is_dead: bool = False  # whether a refresh that is answered so needs a dance


@dataclass(frozen=True, slots=True)
class Oddity:
    """An answer with tokens."""

    answer: bytes
    is_end_known: bool = True  # whether it tells the end of the access token


def cut_short(data: bytes) -> Script:
    """Send the most of an answer, and hang up."""
    return lambda connection, asked: connection.sendall(data[:-10])


DEEP = "[" * 5_000 + "]" * 5_000
FAILURES = {
    "html 200": Failure(reply(PAGE, 200, HTML), "provider_busy", BUSY),
    "html 200 as json": Failure(reply(PAGE, 200, JSON), "provider_busy", BUSY),
    "html 502": Failure(reply(PAGE, 502, HTML), "provider_unreachable", "a gateway in front of it answered"),
    "html 401": Failure(reply(PAGE, 401, HTML), "provider_refused", "a proxy or firewall in front of the product"),
    "array": Failure(as_json([TOKENS]), "provider_refused", NO_TOKENS),
    "number": Failure(as_json(5), "provider_refused", NO_TOKENS),
    "nested": Failure(as_json({"data": TOKENS}), "provider_refused", NO_TOKENS),
    "deep": Failure(reply(DEEP, 200, JSON), "provider_refused", NO_TOKENS),
    "empty": Failure(reply("", 200, JSON), "provider_refused", NO_TOKENS),
    "form": Failure(reply(f"access_token={ACCESS}&token_type=bearer"), "provider_refused", NO_TOKENS),
    "no access token": Failure(tokens(access_token=...), "provider_refused", NO_TOKENS),
    "access token is a number": Failure(tokens(access_token=5), "provider_refused", NO_TOKENS),
    "access token is a list": Failure(tokens(access_token=[ACCESS]), "provider_refused", NO_TOKENS),
    "access token with a newline": Failure(tokens(access_token=f"{ACCESS}\r\nX-Evil: 1"), "provider_refused", NO_TOKENS),
    "refresh token with a newline": Failure(tokens(refresh_token=f"{REFRESH}\n"), "provider_refused", NO_TOKENS),
    "token type mac": Failure(tokens(token_type="mac"), "provider_refused", NO_TOKENS),
    "200 with an error": Failure(refusal("invalid_grant", 200), "provider_refused", "(invalid_grant)", is_dead=True),
    "tokens and an error": Failure(tokens(error="invalid_grant"), "provider_refused", "(invalid_grant)", is_dead=True),
    "400 invalid_grant": Failure(refusal("invalid_grant"), "provider_refused", "(invalid_grant)", is_dead=True),
    "400 invalid_request": Failure(refusal("invalid_request"), "provider_refused", "(invalid_request)"),
    "400 an unknown error": Failure(refusal("out_of_paper"), "provider_refused", "(out_of_paper)"),
    "400 an error to shout": Failure(refusal("<b>\u001b[31m"), "provider_refused", NO_TOKENS),
    "400 an error that is none": Failure(as_json({"error": {"code": 5}}, 400), "provider_refused", NO_TOKENS),
    "401 invalid_client": Failure(refusal("invalid_client", 401), "provider_refused", "atl-sign link secret app"),
    "401 of Cloud": Failure(refusal("access_denied", 401), "provider_refused", "atl-sign link secret app"),
    "403": Failure(as_json({"message": "Forbidden"}, 403), "provider_refused", NO_TOKENS),
    "408": Failure(reply("", 408), "provider_busy", "gives no token at the moment (status 408)"),
    "429": Failure(as_json({"message": "slow"}, 429, **{"Retry-After": "7"}), "provider_busy", "try again in 7 s"),
    "500": Failure(
        as_json({"errors": ["x"], "fieldErrors": {}}, 500), "provider_busy", "gives no token at the moment (status 500)"
    ),
    "503": Failure(reply(PAGE, 503, {**HTML, "Retry-After": "9"}), "provider_busy", "try again in 9 s"),
    "temporarily_unavailable": Failure(refusal("temporarily_unavailable"), "provider_busy", BUSY),
    # Words of the device flow (RFC 8628 §3.5), which nobody has begun.
    "authorization_pending": Failure(refusal("authorization_pending"), "provider_refused", "(authorization_pending)"),
    "slow_down": Failure(refusal("slow_down"), "provider_refused", "(slow_down)"),
    "reset": Failure(reset, "provider_unreachable", "the connection broke"),
    "half an answer": Failure(cut_short(tokens()), "provider_unreachable", "the connection broke"),
    "no http": Failure(b"\x16\x03\x01 canary\r\n\r\n", "provider_unreachable", "does not speak HTTP"),
    "5 MB": Failure(tokens(padding="x" * 5_000_000), "provider_unreachable", "larger than any real one"),
    "5 MB of page": Failure(reply(PAGE + "x" * 5_000_000, 200, HTML), "provider_unreachable", "larger than any real one"),
}
ODDITIES = {
    "byte order mark": Oddity(reply(b"\xef\xbb\xbf" + json.dumps(TOKENS).encode(), 200, JSON)),
    "utf-16": Oddity(reply(json.dumps(TOKENS).encode("utf-16"), 200, {"Content-Type": "application/json; charset=utf-16"})),
    "wrong charset": Oddity(reply(json.dumps(TOKENS), 200, {"Content-Type": "application/json; charset=shift_jis"})),
    "unknown charset": Oddity(reply(json.dumps(TOKENS), 200, {"Content-Type": "application/json; charset=x-nobody-knows"})),
    "as text": Oddity(reply(json.dumps(TOKENS))),
    "as a page": Oddity(reply(json.dumps(TOKENS), 200, {"Content-Type": "text/html"})),
    # RFC 8259 §4: what is done with a name that is there twice is anybody's guess; most take the last one.
    "duplicate keys": Oddity(reply(json.dumps(TOKENS).replace("{", '{"access_token": "first", ', 1), 200, JSON)),
    "status 400": Oddity(as_json(TOKENS, 400)),  # the body decides (facts oauth2.md section 11)
    "status 201": Oddity(as_json(TOKENS, 201)),
    "BEARER": Oddity(tokens(token_type="BEARER")),  # RFC 6749 §5.1: in any case
    "no token type": Oddity(tokens(token_type=...)),
    "error is null": Oddity(tokens(error=None)),
    "expires_in as text": Oddity(tokens(expires_in="3600")),
    "expires_in is a fraction": Oddity(tokens(expires_in=3600.5)),
    "expires_in is huge": Oddity(tokens(expires_in=10**12)),
    "expires_in is more than any number": Oddity(tokens(expires_in=10**400)),
    "expires_in is infinite": Oddity(tokens(expires_in=float("inf")), is_end_known=False),
    "expires_in is NaN": Oddity(tokens(expires_in=float("nan")), is_end_known=False),
    "expires_in is negative": Oddity(tokens(expires_in=-3600), is_end_known=False),
    "expires_in is 0": Oddity(tokens(expires_in=0), is_end_known=False),
    "expires_in is a word": Oddity(tokens(expires_in="soon"), is_end_known=False),
    "expires_in is a list": Oddity(tokens(expires_in=[3600]), is_end_known=False),
    "no expires_in": Oddity(tokens(expires_in=...), is_end_known=False),
    "no refresh token": Oddity(tokens(refresh_token=...)),
    "refresh token is null": Oddity(tokens(refresh_token=None)),
    "scope is a list": Oddity(tokens(scope=["read"])),
    "scope is a number": Oddity(tokens(scope=5)),
}

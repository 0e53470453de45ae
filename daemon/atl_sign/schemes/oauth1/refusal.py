"""A provider's refusal of a signed request, as an error of ours (facts section 3.1)."""

import secrets
from collections.abc import Iterable

from atl_sign.base.credentials import Consumer, Secret
from atl_sign.base.errors import ProviderRefusedError
from atl_sign.base.request import Request
from atl_sign.base.urls import parse_url
from atl_sign.config.links import Link
from atl_sign.providers.answer import Answer
from atl_sign.providers.challenge import has_oauth_challenge
from atl_sign.providers.clocks import Clocks
from atl_sign.providers.exchange import fetch
from atl_sign.schemes.base import Refusal, Sent
from atl_sign.schemes.oauth1.problems import ENTER_KEY, KNOWN_PROBLEMS, explain_problem, parse_clock_offset, parse_problem
from atl_sign.schemes.oauth1.signature import base_string_of, sign, signature_of

REQUEST_TOKEN_PATH = "/plugins/servlet/oauth/request-token"  # noqa: S105 - an address
_KEY_BITS = (1024, 2048, 3072, 4096, 8192)  # what people make; ours has one of the middle three


def explain_refusal(link: Link, consumer: Consumer, sent: Sent, clocks: Clocks, hidden: Iterable[Secret]) -> Refusal | None:
    """
    Return what the answer refuses; None when it holds no `oauth_problem`.

    Args:
        link: whose provider it is.
        consumer: who signed.
        sent: the request, its header and the answer.
        clocks: the providers' clocks.
        hidden: what went out and must not come back in an error's words, whatever the provider repeats.
    """
    answer = sent.answer
    fields = _parse_problem(answer)
    if not fields:
        if answer.status == 500 and has_oauth_challenge(answer.headers.get("WWW-Authenticate", "")):
            return Refusal(_explain_throw(link, consumer, sent, clocks))
        return None
    problem = fields["oauth_problem"]
    offset_s = parse_clock_offset(fields, clocks.now())
    # Known words stay: a user can type "denied" as the code, and permission_denied is not a secret by that.
    shown = {name: text if text in KNOWN_PROBLEMS else _hide(text, hidden) for name, text in fields.items()}
    base_string = _hide(base_string_of(sent.request, sent.authorization.reveal()), hidden)
    problem = shown["oauth_problem"]
    message, hint = explain_problem(problem, shown, link, base_string)
    error = ProviderRefusedError(message, hint, link=link.name, problem=problem)
    return Refusal(error, may_pass=offset_s is not None or problem == "nonce_used", clock_offset_s=offset_s)


def _explain_throw(link: Link, consumer: Consumer, sent: Sent, clocks: Clocks) -> ProviderRefusedError:
    """
    Return the error for a 500 with an OAuth challenge and no problem: the provider threw while it checked the signature.

    It does so when its public key is of another length than the signature. A random signature as long as that key is merely
    invalid, so that trying each length proves it; when none is, something else is at fault there.
    """
    ours = 8 * len(signature_of(sent.authorization.reveal()))
    theirs = next((bits for bits in _KEY_BITS if bits != ours and _takes_signatures_of(link, consumer, clocks, bits)), None)
    if theirs is None:
        return ProviderRefusedError(
            "the provider failed while it checked the signature (status 500, no oauth_problem)",
            "the provider's log says why",
            link=link.name,
        )
    return ProviderRefusedError(
        "the provider has another public key for this consumer: "
        f"it has {theirs} bits, this machine's has {ours} (signature_invalid)",
        ENTER_KEY,
        link=link.name,
        problem="signature_invalid",
    )


def _takes_signatures_of(link: Link, consumer: Consumer, clocks: Clocks, bits: int) -> bool:
    """Tell whether the provider finds a random signature of *bits* invalid, rather than failing over it."""
    request = Request("POST", link.as_signed(parse_url(f"{link.url}{REQUEST_TOKEN_PATH}")))
    nobody = Consumer(consumer.key, _NoKey(bits))
    header = sign(request, nobody, None, nonce=secrets.token_hex(16), timestamp=clocks.moment(link))
    answer = fetch(link, REQUEST_TOKEN_PATH, {"Authorization": header}, clocks.now, method="POST")
    return _parse_problem(answer).get("oauth_problem") == "signature_invalid"


class _NoKey:
    """Stands for a key of *bits* whose signatures are random: nobody's."""

    is_instant = True

    def __init__(self, bits: int) -> None:
        self._bits = bits

    def sign_sha1(self, message: bytes) -> bytes:
        """Return something as long as a signature."""
        del message
        return secrets.token_bytes(self._bits // 8)


def _parse_problem(answer: Answer) -> dict[str, str]:
    """Return what came with an `oauth_problem`, from the header or the body (facts section 3.1); empty when there is none."""
    if answer.status < 400:
        return {}
    return parse_problem(answer.headers.get("WWW-Authenticate", ""), "" if answer.is_html else answer.text)


def _hide(text: str, hidden: Iterable[Secret]) -> str:
    for secret in hidden:
        if len(secret.reveal()) > 3:  # shorter ones hide words, and nothing else
            text = text.replace(secret.reveal(), str(secret))
    return text

"""The signed who-am-I: does this link work, as whom, and what looks wrong (facts section 7)."""

from collections.abc import Callable
from dataclasses import dataclass

from atl_sign.base.errors import DaemonError, ProviderRefusedError
from atl_sign.config.links import Link
from atl_sign.providers.answer import Answer
from atl_sign.providers.clocks import OFFSET_MAX_S, Clocks
from atl_sign.providers.manifest import Manifest
from atl_sign.providers.products import PRODUCTS, Product, is_user_name
from atl_sign.providers.unexpected import explain_bystander, unexpected_answer

# Sends an authorized request: method in upper case, path below the base URL or an address where the grant is good, and what goes
# out as JSON or None.
Send = Callable[[str, str, object], Answer]

CLOCK_WARNING_S = 60.0
CLOCK_LIMIT_S = 300.0  # further off the provider refuses


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The provider's answer."""

    link: Link
    user: str
    product: str
    version: str
    base_url: str  # the configured one
    clock_offset_s: float | None  # the provider's clock less ours, in seconds; None when its answer has no Date
    warnings: tuple[str, ...]


def check_link(link: Link, send: Send, clocks: Clocks, manifest: Manifest, anonymous: DaemonError | None = None) -> CheckResult:
    """
    Ask who the user is, with an authorized request.

    Args:
        link: whose provider is asked.
        send: sends the request; raises DanceNeededError when the provider does not take the grant any more.
        clocks: learn the provider's clock from the answer.
        manifest: what the product says of itself.
        anonymous: the error for an answer to an anonymous request, if the scheme knows the reason for one.

    Raises:
        DanceNeededError: the provider does not take the token any more.
        ProviderRefusedError: another refusal, an anonymous answer, a login page, a redirect.
        ProviderUnreachableError: no answer in time.
    """
    product = manifest.product
    if product is None:
        raise ProviderRefusedError(
            f"the product there calls itself {manifest.type_id}", f"known are {', '.join(PRODUCTS)}", link=link.name
        )
    answer = send("GET", product.who_am_i, None)
    user = read_user(product, answer)
    if user is None:
        raise _nobody(link, answer, anonymous)
    warnings = []
    offset = answer.clock_offset_s
    if offset is not None and abs(offset) > CLOCK_WARNING_S:
        warnings.append(
            f"the provider's clock is {abs(offset):.0f} s {'ahead' if offset > 0 else 'behind'}: "
            f"from {CLOCK_LIMIT_S:.0f} s on it refuses"
        )
        # It has just taken our time, so a Date that is further from that comes from something before it with a clock of its own.
        if abs(offset - clocks.offset_s(link)) <= CLOCK_LIMIT_S and abs(offset) <= OFFSET_MAX_S:
            clocks.learn(link, offset)
    seen = link.signing_url or link.url
    if not manifest.is_at(seen):
        warnings.append(f"the product's configured base URL is {manifest.url}, the link has {seen}")
    return CheckResult(link, user, product.type_id, manifest.version, manifest.url, offset, tuple(warnings))


def learn_user(send: Send, product: Product | None) -> str | None:
    """Return the user that *send* asks as, or None when the provider does not say; raises nothing."""
    if product is None:
        return None
    try:
        return read_user(product, send("GET", product.who_am_i, None))
    except DaemonError:
        return None


def read_user(product: Product, answer: Answer) -> str | None:
    """Return the user that *answer*, to who-am-I of *product*, names; None for nobody."""
    if answer.status != 200 or answer.is_html:
        return None
    user = product.parse_user(answer.text) or answer.user
    return user if user is not None and is_user_name(user) else None


def _nobody(link: Link, answer: Answer, anonymous: DaemonError | None) -> DaemonError:
    bystander = explain_bystander(link, answer)
    if bystander is not None:
        return bystander
    if answer.status in (200, 401, 403) and not answer.is_html and anonymous is not None:
        return anonymous
    if answer.status in (401, 403):
        return ProviderRefusedError(
            f"the provider does not let this user in (status {answer.status}, no oauth_problem)",
            "the user may be deactivated, or a proxy takes the Authorization header away",
            link=link.name,
        )
    if answer.status == 200 and not answer.is_html:
        return ProviderRefusedError(
            "the provider treated the request as anonymous, as if it were not signed",
            "a proxy in front may take the Authorization header away; ask the administrator",
            link=link.name,
        )
    return unexpected_answer(link, answer, "the product's who-am-I is not there")

"""The refusals that hold for every link and every peer."""

import re
from collections.abc import Sequence

from atl_sign.base.errors import BadRequestError, TooLargeError
from atl_sign.base.request import Request

FORM_BYTES_MAX = 1 << 20  # half of what Tomcat reads by default (maxPostSize)
# Tomcat's maxParameterCount from 10.1.8, 9.0.74 and 8.5.88 on, where it was 10,000 before: it drops what comes after, so that the
# provider's signature is another. Measured with Tomcat 9.0.70 and 10.1.60.
PARAMETERS_READ_EVERYWHERE = 1_000

_METHOD = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")  # a token (RFC 9110 §9.1)


def check_method(method: str) -> None:
    """Raise BadRequestError when *method* is not an HTTP method: a token of up to 64 characters."""
    if _METHOD.fullmatch(method) is None:
        raise BadRequestError("the method is not an HTTP method", "a method is a word like GET or POST")


def check_request(request: Request) -> None:
    """
    Raise BadRequestError when the provider would compute another signature than ours whatever we sign.

    A servlet container reads a form body only of POST, so the parameters of any other method's form would be signed here and
    not there (facts atlassian-auth.md section 3).
    """
    if request.form is not None and request.method != "POST":
        raise BadRequestError(
            f"a form body with {request.method} cannot be signed: the provider reads only POST forms",
            "send the body as JSON, or put the parameters into the query",
        )


def check_form_length(form: str | Sequence[tuple[str, str]]) -> None:
    """Raise TooLargeError when *form*, as it will be sent or as decoded pairs, is over 1 MiB; pairs count as `name=value&`."""
    if isinstance(form, str):
        is_long = len(form) > FORM_BYTES_MAX or len(form.encode("utf-8", "surrogatepass")) > FORM_BYTES_MAX
    else:
        is_long = sum(len(part.encode("utf-8", "surrogatepass")) + 1 for pair in form for part in pair) - 1 > FORM_BYTES_MAX
    if is_long:
        raise TooLargeError(f"the form is over {FORM_BYTES_MAX} bytes", "send it as multipart or JSON, which are not signed")


def warn_of(url: str, form: Sequence[object] | None) -> str | None:
    """
    Say what some providers may make of a request that can be signed; None when there is nothing to say.

    Args:
        url: the URL as it will be sent.
        form: one item for each parameter of the form, or None.
    """
    query = url.partition("#")[0].partition("?")[2]
    if query.count("&") + len(form or ()) < PARAMETERS_READ_EVERYWHERE:
        return None
    count = sum(1 for part in query.split("&") if part) + len(form or ())
    if count <= PARAMETERS_READ_EVERYWHERE:
        return None
    return (
        f"the request has {count} parameters; many servers read only the first {PARAMETERS_READ_EVERYWHERE} and then refuse the "
        "signature (signature_invalid): send several requests, or JSON"
    )

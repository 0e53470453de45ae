"""What may be signed at all: the refusals that hold for every link and every peer."""

import re

from atl_sign.errors import BadRequestError
from atl_sign.signing import UnsignedRequest

_METHOD = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")  # a token (RFC 9110 §9.1)


def check_method(method: str) -> None:
    """Raise BadRequestError when *method* is not an HTTP method: a token of up to 64 characters."""
    if _METHOD.fullmatch(method) is None:
        raise BadRequestError("the method is not an HTTP method", "a method is a word like GET or POST")


def check_request(request: UnsignedRequest) -> None:
    """
    Raise BadRequestError when the provider would compute another signature than ours whatever we sign.

    A servlet container reads a form body of POST alone, so the parameters of any other method's form would be signed here and
    not there (facts atlassian-auth.md section 3).
    """
    if request.form is not None and request.method != "POST":
        raise BadRequestError(
            f"a form body with {request.method} cannot be signed: the provider reads forms of POST alone",
            "send the body as JSON, or put the parameters into the query",
        )

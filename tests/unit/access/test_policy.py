"""Policy: what nobody can sign is refused by name."""

import pytest

from atl_sign.access.policy import check_method, check_request
from atl_sign.base.errors import BadRequestError
from atl_sign.base.request import Request
from atl_sign.base.urls import Pairs, parse_url

URL = parse_url("https://bamboo.example.com/rest/api/latest/queue/PRJ-PLAN")


@pytest.mark.parametrize("method", ["GET", "post", "M-SEARCH", "X", "!#$%&'*+-.^_`|~09", "A" * 64])
def test_a_token_is_a_method(method: str) -> None:
    """RFC 9110 §5.6.2: every character of a token, in any case."""
    check_method(method)


@pytest.mark.parametrize(
    "method",
    [
        "",
        " ",
        "GET ",
        "GET\n",
        "GET\r\nHost: evil.example",
        "GE T",
        "GET/",
        "G:ET",
        'G"ET',
        "G(ET)",
        "GÉT",
        "\uff27ET",
        "\x00",
        "A" * 65,
    ],
)
def test_what_is_no_token_is_no_method(method: str) -> None:
    """Delimiters, blanks, letters beyond ASCII, nothing, too much."""
    with pytest.raises(BadRequestError) as caught:
        check_method(method)

    assert caught.value.hint == "a method is a word like GET or POST"


@pytest.mark.parametrize(
    ("method", "form"),
    [("POST", (("a", "1"),)), ("POST", ()), ("PUT", None), ("GET", None), ("POST", None)],
)
def test_a_form_with_post_and_no_form_with_any_method_can_be_signed(method: str, form: Pairs | None) -> None:
    """A body that is no form takes no part in the signature."""
    check_request(Request(method, URL, form))


@pytest.mark.parametrize("method", ["PUT", "post", "put", "PATCH", "DELETE", "GET", "POSTX"])
def test_a_form_with_another_method_is_refused(method: str) -> None:
    """A servlet container reads the form of POST alone, so its signature would be another one."""
    with pytest.raises(BadRequestError, match=rf"a form body with {method} cannot be signed") as caught:
        check_request(Request(method, URL, (("a", "1"),)))

    assert caught.value.hint == "send the body as JSON, or put the parameters into the query"

"""The person who approves, in front of pages that lead elsewhere."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from atl_sign.sandbox import ApproveError
from atl_sign.sandbox.listener import Listener
from atl_sign.sandbox.person import Person
from atl_sign.sandbox.wire import Answer, Request, make_redirect, make_text

CONSENT = '<h1>Allow?</h1><form action="/decide"><input type="hidden" name="oauth_token" value="t"><input name="x"></form>'


@contextmanager
def serving(answer: Callable[[Request], Answer]) -> Iterator[str]:
    """Serve *answer* on a loopback port; gives the address."""
    listener = Listener(("127.0.0.1", 0), answer, lambda: "Thu, 01 Jan 1970 00:00:00 GMT")
    thread = threading.Thread(target=listener.serve)
    thread.start()
    yield f"http://127.0.0.1:{listener.server_address[1]}/"
    listener.end()
    thread.join()
    listener.close()


def test_endless_redirects_are_given_up() -> None:
    """After a few."""
    with serving(lambda request: make_redirect("/again")) as url, pytest.raises(ApproveError, match="too many redirects"):
        Person("alice", "alice").decide(url, deny=False)


def test_refused_decision_is_told_by_its_heading() -> None:
    """Whoever is logged in already gets the page at once; the form's answer is an error page."""

    def answer(request: Request) -> Answer:
        return make_text(CONSENT) if request.method == "GET" else make_text("<h1>Too late</h1>", 401)

    with serving(answer) as url, pytest.raises(ApproveError, match="Too late"):
        Person("alice", "alice").decide(url, deny=True)


def test_page_without_a_form_is_told_by_its_heading() -> None:
    """Nothing to press there."""
    with (
        serving(lambda request: make_text("<h1>Closed for repairs</h1>")) as url,
        pytest.raises(ApproveError, match="Closed for repairs"),
    ):
        Person("alice", "alice").decide(url, deny=False)

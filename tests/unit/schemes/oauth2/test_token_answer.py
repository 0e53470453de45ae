"""Answers of token endpoints as the providers give them (facts oauth2.md, the section in each id), and as nobody should."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atl_sign.providers.answer import Answer
from atl_sign.schemes.oauth2.token_answer import LIFETIME_S_MAX, Asked, Failure, Tokens, read_token_answer

JSON = {"Content-Type": "application/json"}
# RFC 6749 §5.1, §4.1.
EXAMPLE = {
    "access_token": "2YotnFZFEjr1zCsicMWpAA",
    "token_type": "example",
    "expires_in": 3600,
    "refresh_token": "tGzv3JOkF0XG5Qx2TlKWIA",
    "example_parameter": "example_value",
}
LATE = ("invalid_request",)  # Data Center's word for a code that came too late


def read(fields: Any, status: int = 200, asked: Asked = "refresh", late: tuple[str, ...] = ()) -> Tokens | Failure:
    text = fields if isinstance(fields, str) else json.dumps(fields)
    return read_token_answer(Answer(status, JSON, text, None), asked, late)


def tokens(fields: Any, **more: Any) -> Tokens:
    found = read(fields, **more)
    assert isinstance(found, Tokens), found
    return found


def kind(fields: Any, status: int = 200, asked: Asked = "refresh", late: tuple[str, ...] = ()) -> str:
    found = read(fields, status, asked, late)
    assert isinstance(found, Failure), found
    return found.kind


def test_the_example_of_the_standard_is_read() -> None:
    """With the type that a bearer token has; the one in the example is of no scheme that there is."""
    found = tokens({**EXAMPLE, "token_type": "Bearer"})

    assert found.access.reveal() == "2YotnFZFEjr1zCsicMWpAA"
    assert found.refresh is not None
    assert found.refresh.reveal() == "tGzv3JOkF0XG5Qx2TlKWIA"
    assert (found.lifetime_s, found.scopes) == (3600.0, None)
    assert "2Yot" not in repr(found)
    assert "tGzv" not in repr(found)
    assert kind(EXAMPLE) == "request"


@pytest.mark.parametrize(
    ("fields", "lifetime_s", "scopes", "has_refresh"),
    [
        pytest.param(
            {"access_token": "eyJ.a-b_c", "refresh_token": "r", "token_type": "bearer", "expires_in": 3600, "scope": "READ"},
            *(3600.0, {"READ"}, True),
            id="2-data-center",
        ),
        pytest.param(
            {
                "access_token": "a",
                "refresh_token": "r",
                "expires_in": 7200,
                "state": "authorization_code",
                "scopes": "account wiki",
            },
            *(7200.0, {"account", "wiki"}, True),
            id="4-bitbucket-cloud-before-2026",
        ),
        pytest.param(
            {"access_token": "gho_1", "scope": "repo,gist", "token_type": "bearer"},
            None,
            {"repo", "gist"},
            False,
            id="8.1-github",
        ),
        pytest.param(
            {"access_token": "ghu_1", "expires_in": 28800, "refresh_token": "ghr_1", "scope": "", "token_type": "bearer"},
            *(28800.0, set(), True),
            id="8.2-github-app",
        ),
        pytest.param(
            {
                "access_token": "a",
                "token_type": "bearer",
                "expires_in": 7200,
                "refresh_token": "r",
                "created_at": 1,
                "scope": "api",
            },
            *(7200.0, {"api"}, True),
            id="9-gitlab",
        ),
    ],
)
def test_each_providers_tokens_are_read(
    fields: dict[str, Any], lifetime_s: float | None, scopes: set[str], has_refresh: bool
) -> None:
    found = tokens(fields)

    assert (found.lifetime_s, found.refresh is not None) == (lifetime_s, has_refresh)
    assert found.scopes == (None if scopes is None else frozenset(scopes))


@pytest.mark.parametrize("status", [200, 201, 302, 400, 401])
def test_the_body_decides(status: int) -> None:
    """Tokens are tokens, and an error is one, whatever the status; a status that may pass wins over tokens that nobody sends."""
    assert isinstance(read({"access_token": "a"}, status), Tokens)
    assert kind({"access_token": "a", "error": "invalid_grant"}, status) == "dead"
    assert kind({"access_token": "a"}, 503) == "passing"


@pytest.mark.parametrize(
    ("status", "word", "asked", "expected"),
    [
        pytest.param(400, "invalid_grant", "refresh", "dead", id="2-data-center"),
        pytest.param(403, "invalid_grant", "refresh", "dead", id="3-cloud"),
        pytest.param(403, "unauthorized_client", "refresh", "dead", id="3-cloud-refresh"),
        pytest.param(403, "unauthorized_client", "code", "client", id="3-cloud-code"),
        pytest.param(401, "unauthorized_client", "refresh", "client", id="4-bitbucket-client"),
        pytest.param(401, "access_denied", "refresh", "client", id="3-cloud-secret"),
        pytest.param(200, "access_denied", "device", "denied", id="8.3-denied"),
        pytest.param(200, "bad_refresh_token", "refresh", "dead", id="8.2-github"),
        pytest.param(200, "incorrect_client_credentials", "refresh", "client", id="8.1-github-secret"),
        pytest.param(200, "bad_verification_code", "code", "expired", id="8.1-github-code"),
        pytest.param(401, "invalid_client", "refresh", "client", id="9-gitlab-secret"),
        pytest.param(200, "authorization_pending", "device", "pending", id="8.3-pending"),
        pytest.param(200, "slow_down", "device", "slow_down", id="8.3-slow"),
        pytest.param(200, "expired_token", "device", "expired", id="8.3-expired"),
        pytest.param(400, "invalid_scope", "code", "request", id="11-scope"),
        pytest.param(400, "unsupported_grant_type", "code", "request", id="11-grant-type"),
        pytest.param(400, "temporarily_unavailable", "refresh", "passing", id="11-passing"),
        pytest.param(500, "server_error", "refresh", "passing", id="11-server-error"),
        pytest.param(429, "some_word", "refresh", "passing", id="11-too-many"),
        pytest.param(503, "some_word", "refresh", "passing", id="11-unavailable"),
        pytest.param(400, "some_word", "refresh", "request", id="11-unknown"),
    ],
)
def test_an_error_has_a_kind(status: int, word: str, asked: Asked, expected: str) -> None:
    assert read({"error": word, "error_description": "x"}, status, asked) == Failure(expected, word)  # type: ignore[arg-type]


@pytest.mark.parametrize("word", ["authorization_pending", "slow_down"])
@pytest.mark.parametrize("asked", ["code", "refresh"])
def test_words_of_the_device_flow_mean_nothing_elsewhere(word: str, asked: Asked) -> None:
    """RFC 8628 §3.5 has them for a device's question; nobody waits for a user when a code or a refresh is answered so."""
    assert kind({"error": word}, 400, asked) == "request"
    assert kind({"error": word}, 503, asked) == "passing"
    assert kind({"error": word}, 400, "device") in ("pending", "slow_down")


def test_a_late_code_has_words_of_its_own_at_some_providers() -> None:
    """Data Center says invalid_request of a code that is ten seconds old; of a refresh, that is a fault of ours."""
    assert kind({"error": "invalid_request"}, 400, "code", LATE) == "expired"
    assert kind({"error": "invalid_request"}, 400, "code") == "request"
    assert kind({"error": "invalid_request"}, 400, "refresh", LATE) == "request"


def test_bitbuckets_old_server_has_a_description_for_a_dead_token() -> None:
    assert kind({"error": "invalid_request", "error_description": "Invalid refresh_token"}, 400) == "dead"
    assert kind({"error": "invalid_request", "error_description": "Invalid refresh_token"}, 400, "code") == "request"


@pytest.mark.parametrize(
    ("status", "text", "expected"),
    [
        (200, "<!DOCTYPE html><title>Log in</title>", "passing"),
        (500, "The @FormParam is not utilized when the content type is JSON", "passing"),
        (502, "", "passing"),
        (408, "", "passing"),
        (400, '{"errors":[{"context":null,"message":"Base URL must be https"}],"fieldErrors":{}}', "request"),
        (200, "access_token=gho_1&scope=repo&token_type=bearer", "request"),
        (415, "", "request"),
        (200, "[]", "request"),
        (200, "null", "request"),
        (200, "{}", "request"),
        (200, '{"access_token": null}', "request"),
        (200, '{"access_token": ""}', "request"),
        (200, '{"access_token": ["a"]}', "request"),
        (200, '{"access_token": "a\\r\\nX-Evil: 1"}', "request"),
        (200, '{"access_token": "a b"}', "request"),
        (200, '{"access_token": "\\u00e9"}', "request"),
        (200, '{"access_token": "a", "token_type": "mac"}', "request"),
        (200, '{"access_token": "a", "token_type": 5}', "request"),
        (200, '{"access_token": "a", "refresh_token": 5}', "request"),
        (200, '{"access_token": "a", "refresh_token": ""}', "request"),
        (200, '{"access_token": "a", "refresh_token": "b\\nc"}', "request"),
        (400, '{"error": 5}', "request"),
        (400, '{"error": "Bad Thing Happened <b>"}', "request"),
        (503, '{"error": {"code": 1}}', "passing"),
        (200, "[" * 100_000, "request"),
    ],
)
def test_what_nobody_should_answer_has_no_tokens(status: int, text: str, expected: str) -> None:
    assert kind(text, status) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3600, 3600.0), (3600.5, 3600.5), ("3600", 3600.0), (1, 1.0), (10**12, LIFETIME_S_MAX), ("9" * 20, LIFETIME_S_MAX),
        (0, None), (-1, None), ("-1", None), ("x", None), ("", None), ("9" * 5000, None), (None, None), (True, None), ([], None),
        ("٣٦٠٠", None), (float("inf"), None), (float("nan"), None),
    ],
)  # fmt: skip
def test_a_lifetime_is_a_time_that_lies_ahead(value: object, expected: float | None) -> None:
    """None, as if it were missing: a token that has just been given is good for some time."""
    assert tokens({"access_token": "a", "expires_in": value}).lifetime_s == expected


def test_a_lifetime_may_be_greater_than_any_float() -> None:
    """JSON has no limit for a whole number."""
    assert tokens('{"access_token": "a", "expires_in": 1' + "0" * 400 + "}").lifetime_s == LIFETIME_S_MAX
    assert tokens('{"access_token": "a", "expires_in": -1' + "0" * 400 + "}").lifetime_s is None


def test_a_token_may_be_long() -> None:
    """Atlassian's have over 2,500 characters (section 4)."""
    assert len(tokens({"access_token": "x" * 6_000}).access.reveal()) == 6_000


@given(st.text(), st.sampled_from([200, 400, 401, 403, 429, 500]), st.sampled_from(["code", "refresh", "device"]))
def test_no_answer_makes_it_fail(text: str, status: int, asked: Asked) -> None:
    assert isinstance(read(text, status, asked), Tokens | Failure)


@given(st.dictionaries(st.sampled_from(["access_token", "refresh_token", "expires_in", "error", "scope", "token_type"]), st.none()
    | st.booleans() | st.floats() | st.integers() | st.text() | st.lists(st.text())))  # fmt: skip
def test_no_fields_make_it_fail(fields: dict[str, Any]) -> None:
    found = read(fields)
    assert isinstance(found, Failure) or (isinstance(fields["access_token"], str) and "error" not in fields) or (
        fields["error"] is None
    )  # fmt: skip

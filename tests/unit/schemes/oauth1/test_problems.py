"""Refusals in words (facts section 3.1)."""

from urllib.parse import quote

import pytest

from atl_sign.schemes.oauth1.problems import explain_problem, parse_clock_offset, parse_problem
from tests.unit.provider_lab import make_link

LINK = make_link("https://h/jira", "tools", timeout_s=30.0)


def base_string(method: str = "GET", uri: str = "https://h/jira/x", parameters: str = "a=1&oauth_token=t") -> str:
    return "&".join(quote(part, safe="-._~") for part in (method, uri, parameters))


@pytest.mark.parametrize(
    ("problem", "words", "hint"),
    [
        ("timestamp_refused", "clocks", "NTP"),
        ("nonce_used", "seen this signed request before", "try again"),
        ("signature_method_rejected", "RSA-SHA1", "atl-sign link setup tools"),
        ("consumer_key_unknown", "no consumer of this key", "atl-sign link setup tools"),
        ("consumer_key_refused", "consumer now", "administrator"),
        ("token_rejected", "does not know this token", "atl-sign dance tools"),
        ("token_expired", "time is over", "atl-sign dance tools"),
        ("permission_unknown", "not decided", "press Allow"),
        ("permission_denied", "does not permit", "press Allow"),
        ("version_rejected", "OAuth 1.0", "administrator"),
    ],
)
def test_each_problem_has_a_cause_and_a_remedy(problem: str, words: str, hint: str) -> None:
    """The provider's own word stands beside ours; the hint names the link."""
    said = explain_problem(problem, {"oauth_problem": problem}, LINK)

    assert words in said[0]
    assert said[0].endswith(f"({problem})")
    assert hint in said[1]
    assert "NAME" not in said[1]


def test_a_word_of_the_providers_own_is_shown_as_it_is() -> None:
    """A problem that nobody foresaw: said without a guess, short, and on one line."""
    message, hint = explain_problem("odd\x1b[2J_problem" + "x" * 500, {}, LINK)

    assert message.startswith("the provider refused the request (odd\\u001b[2J_problem")
    assert len(message) < 300
    assert hint == "see the provider's log"


def test_parameters_are_named_and_their_values_are_not() -> None:
    """A repeated parameter comes back with its value, and that can be the token."""
    fields = {"oauth_parameters_rejected": "oauth_token=canary-1&oauth_token=canary-2&oauth%5Fcallback"}

    message, _ = explain_problem("parameter_rejected", fields, LINK)

    assert message == "the provider does not take a part of the request: oauth_token, oauth_callback (parameter_rejected)"
    assert "oauth_verifier" in explain_problem("parameter_absent", {"oauth_parameters_absent": "oauth_verifier"}, LINK)[0]


@pytest.mark.parametrize(
    ("theirs", "words", "remedy"),
    [
        (base_string(uri="http://h/jira/x"), "another scheme", "--signing-url http://h/jira --replace"),
        (base_string(uri="https://backend:8080/jira/x"), "another host or port", "--signing-url https://backend:8080/jira --"),
        (base_string(uri="https://h:8443/jira/x"), "another host or port", "--signing-url https://h:8443/jira --"),
        (base_string(uri="https://h/x"), "another path", "atl-sign link add tools https://h/jira --signing-url https://h --"),
        (base_string(uri="https://h/$(id)/x"), "another path", "--signing-url 'https://h/$(id)' --"),
        (base_string(uri="https://h/jira/y"), "another path", "set the link's signing_url"),
        (base_string(uri="https://[broken/x"), "another address", "set the link's signing_url"),
    ],
)
def test_another_address_names_the_part_and_both_addresses(theirs: str, words: str, remedy: str) -> None:
    """What a reverse proxy hides; the remedy is signing_url, as a command where its value can be told."""
    message, hint = explain_problem("signature_invalid", {"oauth_signature_base_string": theirs}, LINK, base_string())

    assert words in message
    assert "signed was https://h/jira/x" in message
    assert remedy in hint


def test_another_method_names_both_methods() -> None:
    """Something turned GET into HEAD, say."""
    fields = {"oauth_signature_base_string": base_string("HEAD")}

    message, hint = explain_problem("signature_invalid", fields, LINK, base_string("GET"))

    assert message == "the provider got the method HEAD, signed was GET (signature_invalid)"
    assert hint == "a proxy in front changes the method"


@pytest.mark.parametrize(
    ("theirs", "names"),
    [
        ("a=2&oauth_token=t", "a"),
        ("a=1&extra=canary&oauth_token=t", "extra"),
        ("oauth_token=t", "a"),
        ("a=1&a=1&oauth_token=t", "a"),
        ("b=1&oauth_token=canary", "a, b, oauth_token"),
        ("oauth_token=t&a=1", "their order"),
        ("=1", "their order"),
    ],
)
def test_another_parameter_is_named_without_its_value(theirs: str, names: str) -> None:
    """Changed, added, lost, doubled, in another order, or not parameters at all."""
    fields = {"oauth_signature_base_string": base_string(parameters=theirs)}

    message, _ = explain_problem("signature_invalid", fields, LINK, base_string())

    assert message == f"the provider read other parameters than were signed: {names} (signature_invalid)"


def test_equal_base_strings_mean_another_key() -> None:
    """Then nothing but the key pair is left."""
    fields = {"oauth_signature_base_string": base_string()}

    message, hint = explain_problem("signature_invalid", fields, LINK, base_string())

    assert "another public key" in message
    assert "atl-sign key" in hint


@pytest.mark.parametrize("theirs", [None, "", "GET&only-one", "nonsense"])
def test_without_a_base_string_nothing_is_claimed(theirs: str | None) -> None:
    """Both likely causes are told."""
    fields = {} if theirs is None else {"oauth_signature_base_string": theirs}

    message, hint = explain_problem("signature_invalid", fields, LINK, base_string())

    assert message == "the provider computed another signature (signature_invalid)"
    assert "public key" in hint
    assert "signing_url" in hint
    assert "doctor" not in hint  # who asks with a base string is the doctor
    peers = explain_problem("signature_invalid", {"oauth_signature_base_string": base_string()}, LINK, None)
    assert peers == (message, f"{hint}: atl-sign doctor tools tells which")


def test_the_providers_time_is_the_middle_of_what_it_accepts() -> None:
    """Facts section 3: `oauth_acceptable_timestamps=<min>-<max>`, in a refused timestamp alone."""
    fields = {"oauth_problem": "timestamp_refused", "oauth_acceptable_timestamps": "1000-1600"}

    assert parse_clock_offset(fields, 1200.0) == 100.0
    assert parse_clock_offset({**fields, "oauth_problem": "nonce_used"}, 1200.0) is None


def test_a_time_far_away_is_not_believed() -> None:
    """A day at most: headers that become good next year are for somebody else."""
    fields = {"oauth_problem": "timestamp_refused", "oauth_acceptable_timestamps": "1000000-1000600"}

    assert parse_clock_offset(fields, 1000300 - 86_400) == 86_400
    assert parse_clock_offset(fields, 1000300 + 86_400) == -86_400
    assert parse_clock_offset(fields, 1000300 - 86_401) is None
    assert parse_clock_offset(fields, 1000300 + 86_401) is None


@pytest.mark.parametrize("text", ["", "1000", "1000-", "-1000", "a-b", "1000-b", "1000-1600-1", "\u0661-\u0662", "1-" + "9" * 12])
def test_another_shape_gives_no_time(text: str) -> None:
    """Nothing is learned from what cannot be read."""
    assert parse_clock_offset({"oauth_problem": "timestamp_refused", "oauth_acceptable_timestamps": text}, 1000.0) is None
    assert parse_clock_offset({"oauth_problem": "timestamp_refused"}, 1000.0) is None


WINDOW = "1699999700-1700000300"


@pytest.mark.parametrize(
    ("header", "body"),
    [
        (f'OAuth realm="x", oauth_problem="timestamp_refused", oauth_acceptable_timestamps="{WINDOW}"', "oauth_problem=odd+word"),
        ('OAuth realm="x", oauth_problem="timestamp_refused"', f"oauth_problem=odd+word&oauth_acceptable_timestamps={WINDOW}\n"),
        (
            'OAuth oauth_problem="timestamp_refused", oauth_acceptable_timestamps="soon"',
            f"oauth_problem=nonce_used&oauth_acceptable_timestamps={WINDOW}",
        ),
        ('OAuth oauth_problem="two words"', f"oauth_problem=timestamp_refused&oauth_acceptable_timestamps={WINDOW}"),
        ("", f"\ufeffoauth_problem=timestamp_refused&oauth_acceptable_timestamps={WINDOW}\r\n"),
        (f'OAuth oauth_problem="timestamp_refused%0A", oauth_acceptable_timestamps="%20{WINDOW}"', ""),
        (f'OAuth realm="x", OAuth oauth_problem="timestamp_refused", oauth_acceptable_timestamps="{WINDOW}"', ""),
    ],
)
def test_each_parameter_is_taken_from_where_it_can_be_read(header: str, body: str) -> None:
    """Header and body say the same, and either may be cut, padded or replaced on its way."""
    fields = parse_problem(header, body)

    assert fields["oauth_problem"] == "timestamp_refused"
    assert parse_clock_offset(fields, 1_700_000_100.0) == -100.0


@pytest.mark.parametrize(
    ("header", "body"),
    [('OAuth realm="x"', ""), ('OAuth oauth_problem=""', "oauth_problem=\n"), ("Basic realm=x", "a=oauth_problem=x")],
)
def test_nothing_readable_is_no_problem(header: str, body: str) -> None:
    """The twin: an empty word, another scheme."""
    assert parse_problem(header, body) == {}


def test_a_word_that_neither_copy_spells_is_unreadable() -> None:
    """It could be our own header, sent back."""
    assert parse_problem('OAuth oauth_problem="two words"', "oauth_problem=three+more+words")["oauth_problem"] == "unreadable"

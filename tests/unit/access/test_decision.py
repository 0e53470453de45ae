"""The decision: the table of attacks on a matcher of paths, and properties that hold for every request."""

from urllib.parse import quote

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from atl_sign.access.decision import _BUILT_IN, By, Rules, Ruling, decide
from atl_sign.access.presets import NAMES
from atl_sign.access.presets.loading import load_preset, parse_rules
from atl_sign.access.readings import read_request
from atl_sign.access.rules import METHODS
from atl_sign.base.errors import BadRuleError, BadUrlError, PathAmbiguousError
from atl_sign.base.urls import Pairs, Url

FUZZ = settings(max_examples=300, deadline=None, derandomize=True, database=None)
EVERYTHING = ("* /**",)


def rule_on(
    request: str, allow: tuple[str, ...] = EVERYTHING, deny: tuple[str, ...] = (), form: Pairs | None = None, base_path: str = ""
) -> Ruling:
    """Decide on *request*, method and path with its query."""
    method, target = request.split(" ", 1)
    path, has_query, query = target.partition("?")
    url = Url("https", "jira.example.com", 443, path, query if has_query else None)
    return decide(Rules(parse_rules(allow), parse_rules(deny)), method, read_request(url, base_path, form))


# Row of the attack table, what is tried, the request, the allowing rules, the denying rules.
SPELLINGS = [
    (1, "dot-dot", "GET /rest/api/2/x/../../../secure/admin"),
    (1, "encoded-dots", "GET /rest/%2e%2e/secure/admin"),
    (1, "half-encoded-dots", "GET /rest/.%2e/secure/admin"),
    (1, "dots-encoded-twice", "GET /rest/%252e%252e/secure/admin"),
    (2, "dots-with-parameter", "GET /rest/..;/secure/admin"),
    (2, "session-id", "GET /rest/api/2/issue;jsessionid=1"),
    (2, "matrix-parameters", "GET /rest;x/api/2;y/issue"),
    (2, "encoded-semicolon", "GET /rest/api/2/issue%3Bx"),
    (3, "double-slashes", "GET //rest//api"),
    (3, "dot-segment", "GET /rest/./api"),
    (4, "encoded-slash", "GET /rest%2Fapi"),
    (4, "encoded-slashes-and-dots", "GET /rest/api%2F..%2F..%2Fsecure"),
    (4, "encoded-backslash", "GET /rest%5Capi"),
    (4, "backslash", "GET /rest\\api"),
    (4, "slash-encoded-twice", "GET /rest%252Fapi"),
    (4, "encoded-percent", "GET /rest/%25"),
    (30, "terminal-escape", "GET /rest/%1B%5B2J"),
    (35, "path-is-a-url", "GET /https://evil.example/"),
    (35, "path-is-a-host", "GET //evil.example/"),
]
READ = ("read",)
ISSUES = ("GET,PUT /rest/api/*/issue/WEB-*",)
REFUSED: list[tuple[int, str, str, tuple[str, ...], tuple[str, ...], By]] = [
    (5, "deny-trailing-slash", "POST /rest/api/2/issue/A-1/transitions/", EVERYTHING, ("jira:transition",), "deny"),
    (5, "deny-json", "POST /rest/api/2/issue/A-1/transitions.json", EVERYTHING, ("jira:transition",), "deny"),
    (5, "deny-xml-slash", "POST /rest/api/2/issue/A-1/transitions.xml/", EVERYTHING, ("jira:transition",), "deny"),
    (
        5,
        "deny-merge-slash",
        "POST /rest/api/1.0/projects/P/repos/r/pull-requests/1/merge/",
        EVERYTHING,
        ("bitbucket:merge",),
        "deny",
    ),
    (5, "deny-cache-prefix", "POST /s/1a2b/_/rest/api/2/issue/A-1/transitions", EVERYTHING, ("jira:transition",), "deny"),
    (11, "cache-prefix", "POST /s/1a2b/c/_/rest/pat/latest/tokens", EVERYTHING, (), "built_in"),
    (5, "allow-only-with-json", "POST /rest/x/a.json", ("POST /rest/x/a.json",), (), "none"),
    (5, "allow-only-with-slash", "POST /x/a/", ("POST /x/a/",), (), "none"),
    (6, "latest", "POST /rest/api/latest/issue/A-1/transitions", EVERYTHING, ("jira:transition",), "deny"),
    (6, "alpha", "POST /rest/api/2.0.alpha1/issue/A-1/transitions", EVERYTHING, ("jira:transition",), "deny"),
    (7, "method-override", "POST /rest/api/2/issue?_method=DELETE", EVERYTHING, (), "built_in"),
    (7, "method-override-encoded", "POST /rest/api/2/issue?%5Fmethod=DELETE", EVERYTHING, (), "built_in"),
    (7, "method-override-semicolon", "POST /rest/api/2/issue?a=b;_method=DELETE", EVERYTHING, (), "built_in"),
    (7, "method-override-literal-rule", "POST /a?_method=DELETE", ("POST /a ?_method=DELETE",), (), "built_in"),
    (7, "os_username", "GET /rest/api/2/myself?os_username=bob", EVERYTHING, (), "built_in"),
    (7, "os_password", "GET /rest/api/2/myself?os_password=bob", EVERYTHING, (), "built_in"),
    (7, "os_authType", "GET /rest/api/2/myself?os_authType=basic", EVERYTHING, (), "built_in"),
    (7, "user_id", "GET /rest/api/2/myself?user_id=bob", EVERYTHING, (), "built_in"),
    (7, "xoauth_requestor_id", "GET /rest/api/2/myself?xoauth_requestor_id=bob", EVERYTHING, (), "built_in"),
    (7, "oauth_token", "GET /rest/api/2/myself?oauth_token=x", EVERYTHING, (), "built_in"),
    (9, "json-rpc", "POST /rpc/json-rpc/confluenceservice-v2/removePage", EVERYTHING, (), "none"),
    (9, "xml-rpc", "POST /rpc/xmlrpc", EVERYTHING, (), "none"),
    (9, "soap-below-context", "POST /wiki/rpc/soap-axis/confluenceservice-v2", EVERYTHING, (), "none"),
    (9, "rpc-in-capitals", "POST /RPC/xmlrpc", EVERYTHING, (), "none"),
    (10, "action", "GET /pages/movepage.action?pageId=1", READ, (), "none"),
    (10, "jspa", "GET /secure/DeleteIssue!default.jspa?id=1", READ, (), "none"),
    (10, "stop-plan", "GET /build/admin/stopPlan.action", READ, (), "none"),
    (10, "remove-attachment", "GET /json/removeattachment.action", READ, (), "none"),
    (14, "id-for-key", "GET /rest/api/2/issue/10100", ISSUES, (), "none"),
    (14, "search-reads-every-project", "GET /rest/api/2/search?jql=project=OPS", ISSUES, (), "none"),
    (14, "comment-by-id", "GET /rest/api/2/comment/10000", ISSUES, (), "none"),
    (14, "deny-in-other-case", "GET /browse/web-1", EVERYTHING, ("GET /browse/WEB-*",), "deny"),
    (15, "script-loader", "POST /rest/webResources/1.0/resources", READ, (), "none"),
    (15, "post-beside-search", "POST /rest/api/2/search/jql", READ, (), "none"),
    (16, "bulk", "POST /rest/api/2/issue/bulk", ("jira:edit",), (), "none"),
    (16, "deployment", "POST /rest/api/latest/queue/deployment?environmentId=1&versionId=2", ("bamboo:build",), (), "none"),
    (16, "other-environment", "POST /q?environmentId=2", ("POST /q ?environmentId=1",), (), "none"),
    (17, "graphql", "POST /gateway/api/graphql", EVERYTHING, (), "built_in"),
    (17, "graphql-literal-rule", "POST /graphql", ("POST /graphql",), (), "built_in"),
    *(
        (11, f"below-context{context}{path}", f"POST {context}{path}", EVERYTHING, (), "built_in")
        for context in ("/jira", "/tools/jira", "/s/x/_/jira", "/jira/s/x/_", "/tools/jira/s/x/_")
        for path in ("/rest/pat/latest/tokens", "/rest/api/2/user/password.json", "/REST/keys/1.0/projects/P/ssh/")
    ),
    (5, "deny-with-slash", "GET /rest/api/2/user", EVERYTHING, ("* /rest/api/2/user/",), "deny"),
    (5, "deny-with-extension", "GET /rest/api/2/user", EVERYTHING, ("* /rest/api/2/user.JSON",), "deny"),
    (5, "deny-with-both", "GET /rest/api/2/user/", EVERYTHING, ("* /rest/api/2/user.xml/",), "deny"),
    (5, "deny-with-star-and-extension", "GET /rest/api/2/user", EVERYTHING, ("* /rest/api/2/*.json",), "deny"),
    (17, "graphql-below-context", "POST /confluence/graphql", EVERYTHING, (), "built_in"),
    (17, "graphql-below-context-with-extension", "POST /jira/rest/graphql.json", EVERYTHING, (), "built_in"),
    (9, "json-rpc-below-context-and-prefix", "POST /jira/s/x/_/rpc/json-rpc", EVERYTHING, (), "none"),
    (21, "redirect-from-rest-to-secure", "GET /secure/Dashboard.jspa", ("GET /rest/**",), (), "none"),
    (32, "trace", "TRACE /rest/api/2/myself", EVERYTHING, (), "built_in"),
    (32, "connect", "CONNECT /rest/api/2/myself", EVERYTHING, (), "built_in"),
    (32, "lower-case-method", "get /rest/api/2/myself", EVERYTHING, (), "built_in"),
    (34, "nothing-configured", "GET /rest/api/2/myself", (), (), "none"),
    (34, "only-a-deny", "GET /rest/api/2/myself", (), ("DELETE /**",), "none"),
    (34, "unmatched", "POST /rest/api/2/issue", READ, (), "none"),
    (36, "repeated-name", "POST /q?environmentId=1&environmentId=2", ("POST /q ?environmentId=1",), (), "none"),
    (36, "repeated-name-denied", "POST /q?environmentId=1&environmentId=2", EVERYTHING, ("POST /q ?environmentId=2",), "deny"),
]
# What `* /**` does not cover, and a rule that names the path does.
DENIED_BUILT_IN = [
    (11, "GET /rest/pat/latest/tokens"),
    (11, "POST /rest/pat/latest/tokens"),
    (11, "PUT /rest/access-tokens/1.0/users/ann"),
    (11, "PUT /rest/api/latest/access-token"),
    (11, "DELETE /rest/api/latest/access-token/1"),
    (11, "POST /rest/oauth2/latest/token"),
    (11, "POST /plugins/servlet/oauth/request-token"),
    (11, "GET /plugins/servlet/access-tokens/manage"),
    (11, "GET /plugins/personalaccesstokens/usertokens.action"),
    (11, "POST /rest/auth/1/session"),
    (11, "PUT /rest/api/2/user/password"),
    (11, "PUT /rest/api/2/myself/password"),
    (11, "PUT /rest/api/1.0/users/credentials"),
    (11, "POST /rest/api/user/current/password"),
    (11, "POST /rest/ssh/1.0/keys"),
    (11, "POST /rest/gpg/1.0/keys"),
    (11, "POST /rest/keys/1.0/projects/P/ssh"),
    (11, "POST /bitbucket/rest/keys/1.0/projects/P/ssh"),  # a link whose base URL lacks the context path
    *(
        (11, f"POST {context}{path}")  # a link whose base URL lacks the context path
        for context in ("/jira", "/tools/jira")
        for path in ("/rest/pat/latest/tokens", "/rest/api/2/user/password", "/REST/keys/1.0/projects/P/ssh")
    ),
    (12, "POST /bitbucket/admin/users"),
    (12, "POST /bamboo/bamboo/admin/administer.action"),
    (12, "POST /rest/plugins/1.0"),
    (12, "POST /rest/scriptrunner/latest/custom/x"),
    (12, "GET /rest/applinks/3.0/applicationlink"),
    (12, "PUT /rest/applinks-oauth/1.0/applicationlink/1/authentication/consumer"),
    (12, "POST /rest/webhooks/1.0/webhook"),
    (12, "POST /rest/api/1.0/projects/P/webhooks"),
    (12, "POST /rest/api/1.0/projects/P/repos/r/webhooks"),
    (12, "POST /rest/api/admin/user"),
    (12, "POST /rest/api/1.0/admin/groups"),
    (12, "POST /rest/a/hook-scripts"),
    (12, "POST /rest/api/1.0/hook-scripts"),
    (12, "PUT /rest/api/1.0/projects/P/hook-scripts/1"),
    (12, "PUT /rest/api/1.0/projects/P/repos/r/hook-scripts/1"),
    (12, "GET /admin/users"),
    (12, "GET /secure/admin/ViewApplicationProperties.jspa"),
    (12, "GET /bamboo/admin/administer.action"),
    (13, "GET /plugins/servlet/applinks/proxy?appId=1&path=/rest/api/2/issue"),
    (13, "POST /plugins/servlet/applinks/proxy"),
    (13, "GET /plugins/servlet/gadgets/makeRequest?url=http://10.0.0.1/"),
    (13, "GET /jira/plugins/servlet/gadgets/makerequest?url=http://10.0.0.1/"),
]


@pytest.mark.parametrize("request_", [pytest.param(each[2], id=f"row{each[0]}-{each[1]}") for each in SPELLINGS])
def test_an_ambiguous_spelling_is_refused_whatever_the_rules_say(request_: str) -> None:
    with pytest.raises(PathAmbiguousError):
        rule_on(request_)


@pytest.mark.parametrize(
    ("request_", "allow", "deny", "by"), [pytest.param(*each[2:], id=f"row{each[0]}-{each[1]}") for each in REFUSED]
)
def test_an_attack_is_refused(request_: str, allow: tuple[str, ...], deny: tuple[str, ...], by: By) -> None:
    """By the list that decides, with a reason."""
    ruling = rule_on(request_, allow, deny)

    assert (ruling.is_allowed, ruling.by) == (False, by)
    assert ruling.reason


@pytest.mark.parametrize(
    ("request_", "allow"),
    [
        pytest.param(*each[1:], id=f"row{each[0]}")
        for each in (
            (1, "GET /rest/api/2/x..y/.z", EVERYTHING),
            (4, "GET /rest/api/1.0/projects/P/repos/r/browse?at=refs%2Fheads%2Fmain", READ),
            (
                5,
                "POST /rest/api/2/issue/A-1/comment.json",
                ("POST /rest/api/*/issue/*/comment", "POST /rest/api/*/issue/*/comment.json"),
            ),
            (5, "GET /rest/api/latest/plan.json", READ),
            (6, "POST /rest/api/latest/issue/A-1/comment", ("jira:comment",)),
            (7, "POST /rest/api/2/issue?method=x&userid=1&oauth=1", EVERYTHING),
            (9, "POST /rpc/xmlrpc", ("POST /rpc/xmlrpc",)),
            (9, "POST /rpc/json-rpc/confluenceservice-v2/getPage", ("POST /rpc/json-rpc/**",)),
            (9, "POST /wiki/rpc/xmlrpc", ("POST /wiki/rpc/**",)),
            (10, "GET /rest/api/content/1?expand=body", READ),
            (12, "GET /projects/RPC/repos/admin/raw/admin/rest/pat/x", ("download",)),
            (14, "PUT /rest/api/2/issue/WEB-1", ISSUES),
            (15, "POST /rest/api/2/search", READ),
            (16, "POST /rest/api/latest/queue/PRJ-PLAN", ("bamboo:build",)),
            (16, "POST /q?environmentId=1&versionId=2", ("POST /q ?environmentId=1",)),
            (17, "GET /rest/api/1.0/projects/P/repos/graphql/browse/graphql", READ),
            (32, "OPTIONS /rest/api/2/myself", EVERYTHING),
            (36, "POST /q?environmentId=1&environmentId=1", ("POST /q ?environmentId=1",)),
        )
    ],
)
def test_what_looks_like_the_attack_and_is_not_is_allowed(request_: str, allow: tuple[str, ...]) -> None:
    """The twins."""
    ruling = rule_on(request_, allow)

    assert (ruling.is_allowed, ruling.by) == (True, "allow")
    assert ruling.rule is not None


@pytest.mark.parametrize(
    "request_", [pytest.param(each[1], id=f"row{each[0]}-{each[1].replace(' ', '-')}") for each in DENIED_BUILT_IN]
)
def test_a_built_in_denial_is_lifted_only_by_the_path_without_wildcards(request_: str) -> None:
    """Not by `**`, not by a single star, not by another spelling; a rule of the user's may still deny it."""
    method, target = request_.split(" ")
    path = target.partition("?")[0]
    *before, last = path.split("/")

    for allow in (EVERYTHING, (f"{method} {path}/**",), (f"{method} {'/'.join(before)}/{last[:-1]}*",)):
        ruling = rule_on(request_, allow)
        assert (ruling.is_allowed, ruling.by) == (False, "built_in")
        assert ruling.rule in _BUILT_IN.rules
    for spelling in (f"{path}/", path.upper()):
        assert not rule_on(f"{method} {spelling}", (*EVERYTHING, f"{method} {path}")).is_allowed
    assert rule_on(request_, (f"{method} {path}",)).is_allowed
    assert rule_on(request_, (f"{method} {path}",), (f"{method} {path}",)).by == "deny"
    assert not rule_on(f"PATCH {target}", (f"{method} {path}",)).is_allowed


def test_every_built_in_denial_has_an_attack() -> None:
    hit = {rule_on(request).rule for _, request in DENIED_BUILT_IN} | {rule_on("GET /bamboo/admin/x").rule}

    assert hit == set(_BUILT_IN.rules)


def test_a_parameter_that_no_rule_allows_is_named() -> None:
    """Whatever the case of its letters; what only begins like one is another."""
    assert rule_on("POST /a?OS_AuthType=x").reason == "no rule can allow the parameter os_authtype"
    assert rule_on("POST /a?oauth_%1B=x").reason == r"no rule can allow the parameter oauth_\u001b"
    assert rule_on("POST /a?os_authTypes=x&x_method=y&oauth=z").is_allowed


def test_form_fields_count_as_parameters() -> None:
    """A servlet does not tell them from the query."""
    assert rule_on("POST /a", form=(("_method", "DELETE"),)).by == "built_in"
    assert rule_on("POST /a", ("POST /a ?b=1",), form=(("b", "1"),)).is_allowed
    assert not rule_on("POST /a?b=1", ("POST /a ?b=1",), form=(("b", "2"),)).is_allowed


def test_deny_comes_before_allow_and_the_reading_that_decided_is_named() -> None:
    """So that a person sees how a server may take the request."""
    denied = rule_on("POST /rest/x/merge.json", EVERYTHING, ("POST /rest/*/merge",))
    uncovered = rule_on("POST /rest/x/merge.json", ("POST /rest/x/*.json",))
    allowed = rule_on("POST /rest/x/merge.json")

    assert (str(denied.reading), denied.reason, denied.rule and denied.rule.text) == (
        "/rest/x/merge",
        "a rule denies it",
        "POST /rest/*/merge",
    )
    assert (str(uncovered.reading), uncovered.reason, uncovered.rule) == (
        "/rest/x/merge",
        "no rule allows it as some servers read it",
        None,
    )
    assert (str(allowed.reading), allowed.reason) == ("/rest/x/merge.json", "a rule allows it")


def test_the_context_path_is_no_part_of_a_rule() -> None:
    """The link has it."""
    assert rule_on("GET /jira/rest/api/2/myself", READ, base_path="/jira").is_allowed
    assert rule_on("GET /jira/rest/pat/latest/tokens", READ, base_path="/jira").by == "built_in"


def test_confirm_is_reserved() -> None:
    """It may stand between deny and allow one day."""
    with pytest.raises(BadRuleError, match="confirm is reserved"):
        rule_on("GET /a", ("confirm GET /a",))


# --- properties ---

NAMES_OF_SEGMENTS = st.sampled_from(
    ["rest", "api", "2", "latest", "issue", "WEB-1", "pat", "x", "~ann", "a.json", "a b", "ä", "%", "1"]
)
PATHS = st.lists(NAMES_OF_SEGMENTS, min_size=1, max_size=5)
NASTY = st.sampled_from(
    [
        "..",
        ".",
        "",
        ";x",
        "%2e%2e",
        "%2F",
        "%5C",
        "%25",
        "%3B",
        "%00",
        "\\",
        "ä",
        "%C0%AF",
        "%FF",
        "%",
        "%2",
        "%61",
        " ",
        "\t",
        "\x7f",
        "#",
        "?",
    ]
)


def written(segments: list[str]) -> str:
    return "".join(f"/{quote(segment, safe='~')}" for segment in segments)


def is_allowed(request: str, allow: tuple[str, ...], deny: tuple[str, ...] = ()) -> bool:
    """Whether it is allowed; an ambiguous spelling is not."""
    try:
        return rule_on(request, allow, deny).is_allowed
    except PathAmbiguousError:
        return False


@FUZZ
@given(segments=PATHS, nasty=NASTY, place=st.integers(0, 5), glue=st.booleans())
def test_no_nasty_segment_passes_any_rule(segments: list[str], nasty: str, place: int, glue: bool) -> None:
    """As a segment of its own or as part of one, wherever it stands; an empty one at the end is a slash."""
    parts = [quote(each, safe="~") for each in segments if each != "%"] or ["a"]
    place = min(place, len(parts))
    whole = [*parts[:place], nasty, *parts[place:]]
    if glue and nasty not in ("", ".", "..") and place < len(parts):
        whole = [*parts[:place], nasty + parts[place], *parts[place + 1 :]]
    path = "".join(f"/{part}" for part in whole)
    assume(not (nasty == "" and place == len(parts)))
    url = Url("https", "jira.example.com", 443, path)

    try:
        readings = read_request(url, "", None)
    except PathAmbiguousError:
        return
    # A broken escape may be made whole by what follows; that must not be a character that is refused.
    assert nasty in ("%", "%2")
    assert glue
    assert not any(char in segment for reading in readings for segment in reading.segments for char in "/\\%;?#")


@FUZZ
@given(segments=PATHS)
@example(["rest", "api", "2", "a.json"])
def test_a_literal_rule_allows_its_path_and_no_other_case(segments: list[str]) -> None:
    """Its own spelling of it; what differs in the case of a letter, in a slash or an extension is another path."""
    assume("%" not in segments)
    path = written(segments)
    own = (f"GET {path}",)
    reached = is_allowed(f"GET {path}", own)

    assert reached is (segments[0] != "rest" or segments[-1] != "a.json")
    swapped = written([segment.swapcase() for segment in segments])
    for other in (swapped, f"{path}/", f"/{path}", f"{path}.json", f"{path}x", f"{path}/x", f"/x{path}"):
        if other != path:
            assert not is_allowed(f"GET {other}", own)


@FUZZ
@given(segments=PATHS, data=st.data())
def test_encoding_a_plain_character_never_widens(segments: list[str], data: st.DataObject) -> None:
    """The encoded spelling is refused, or is the same segment to the matcher."""
    assume("%" not in segments)
    path = written(segments)
    places = [place for place, char in enumerate(path) if char.isalnum() or char in "-._~/"]
    place = data.draw(st.sampled_from(places))
    assume("%" not in path[max(0, place - 2) : place + 1])
    encoded = f"{path[:place]}%{ord(path[place]):02X}{path[place + 1 :]}"

    if path[place] == "~":
        assert is_allowed(f"GET {encoded}", (f"GET {path}",)) is is_allowed(f"GET {path}", (f"GET {path}",))
    else:
        assert not is_allowed(f"GET {encoded}", (*EVERYTHING, f"GET {path}"))


@FUZZ
@given(segments=PATHS, ending=st.sampled_from(["", "/", ".json", ".xml/", ".HTML"]), swap=st.booleans(), latest=st.booleans())
def test_no_spelling_escapes_a_denial(segments: list[str], ending: str, swap: bool, latest: bool) -> None:
    """A slash, an extension below /rest/, another version, another case."""
    assume("%" not in segments)
    rest = ["rest", "api", "2", *segments]
    path = written(rest)
    denied = written(["rest", "api", "*", *segments]).replace("%2A", "*")
    sent = written(["rest", "api", "latest" if latest else "2", *segments]) + ending
    sent = sent.swapcase() if swap else sent

    assert is_allowed(f"POST {path}", (f"POST {denied}",)) is not segments[-1].endswith(".json")
    assert not is_allowed(f"POST {sent}", (*EVERYTHING, f"POST {sent}"), (f"POST {denied}",))


@FUZZ
@given(
    segments=PATHS, method=st.sampled_from([*sorted(METHODS), "TRACE", "get", "PROPFIND"]), names=st.sets(st.sampled_from(NAMES))
)
def test_fewer_allowing_rules_and_more_denying_ones_never_allow_more(segments: list[str], method: str, names: set[str]) -> None:
    """The lists are monotonous, so that cutting a right down is safe."""
    assume("%" not in segments)
    request = f"{method} {written(segments)}"
    allow = tuple(sorted(names))

    for less in (allow[1:], ()):
        assert is_allowed(request, less) <= is_allowed(request, allow)
    for more in ((f"{method} /**",), ("read",)):
        if method in METHODS:
            assert is_allowed(request, allow, more) <= is_allowed(request, allow)
    assert is_allowed(request, allow) <= is_allowed(request, EVERYTHING)


@FUZZ
@given(query=st.text(alphabet="abx=&;%25+_", max_size=20), value=st.sampled_from(["1", "", "a b"]))
def test_a_demanded_parameter_is_never_met_by_another(query: str, value: str) -> None:
    """Whatever else the query has: if the rule holds, each value of the name is the rule's, split either way."""
    url = Url("https", "jira.example.com", 443, "/q", query)
    try:
        readings = read_request(url, "", None)
    except (BadUrlError, PathAmbiguousError):
        assume(False)
    values = [reading.parameters.get("x", ()) for reading in readings]

    ruling = rule_on(f"POST /q?{query}", (f"POST /q ?x={quote(value)}",))

    assert ruling.is_allowed is all(each and set(each) == {value} for each in values)


def test_presets_lift_nothing() -> None:
    """None of them names a path that is denied built-in."""
    for _, request in DENIED_BUILT_IN:
        assert not rule_on(request, NAMES).is_allowed


def test_presets_never_scope_by_an_issue_s_key() -> None:
    """Row 14: an issue has an id and old keys, too, so that a rule by key promises more than it holds."""
    for name in NAMES:
        for rule in load_preset(name).rules:
            segments = rule.pattern.segments
            after = [segments[place + 1] for place, glob in enumerate(segments[:-1]) if glob == ("issue",)]
            assert all(glob == ("", "") for glob in after)

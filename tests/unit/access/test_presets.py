"""Presets: each line of each file allows what it is for, and not what stands beside it."""

from pathlib import Path

import pytest

import atl_sign.access.presets
from atl_sign.access.decision import Rules, decide
from atl_sign.access.presets import NAMES
from atl_sign.access.presets.loading import RULES_MAX, load_preset, parse_rules
from atl_sign.access.readings import read_request
from atl_sign.base.errors import BadRuleError
from atl_sign.base.urls import parse_url

PULL = "/rest/api/1.0/projects/WEB/repos/site/pull-requests"
# By preset: its rule, a request that it allows, and one beside it that the whole preset refuses.
ROWS = {
    "read": [
        ("GET /rest/**", "GET /rest/api/2/issue/WEB-1?expand=names", "POST /rest/api/2/issue"),
        ("POST /rest/api/*/search", "POST /rest/api/2/search", "POST /rest/api/2/filter"),
        ("POST /rest/search/*/search", "POST /rest/search/latest/search", "POST /rest/search/latest/projects"),
        (
            "POST /rest/api/contentbody/convert/*",
            "POST /rest/api/contentbody/convert/view",
            "PUT /rest/api/contentbody/convert/view",
        ),
        ("GET /secure/attachment/*/*", "GET /secure/attachment/10000/a%20b.png", "GET /secure/attachment/10000"),
        ("GET /secure/thumbnail/*/*", "HEAD /secure/thumbnail/10000/_thumb_1.png", "DELETE /secure/thumbnail/10000/_thumb_1.png"),
        ("GET /download/attachments/**", "GET /download/attachments/98305/a.pdf?version=1", "GET /download/export/pdf/1"),
        ("GET /download/thumbnails/**", "GET /download/thumbnails/98305/a.png", "GET /download/temp/a.png"),
        (
            "GET /projects/*/repos/*/raw/**",
            "GET /projects/WEB/repos/site/raw/src/a.c?at=main",
            "GET /projects/WEB/repos/site/settings",
        ),
        ("GET /users/*/repos/*/raw/**", "GET /users/ann/repos/site/raw/a.c", "GET /users/ann/repos/site/edit/a.c"),
        ("GET /browse/*/artifact/**", "GET /browse/WEB-BUILD-7/artifact/JOB1/Log/a.txt", "GET /browse/WEB-BUILD-7/stop"),
        ("GET /artifact/**", "GET /artifact/WEB-BUILD/shared/build-7/Log/a.txt", "GET /build/viewBuildLog.action"),
    ],
    "download": [
        ("GET /secure/attachment/*/*", "GET /secure/attachment/10000/a.png", "GET /secure/attachmentzip/10000.zip"),
        ("GET /secure/thumbnail/*/*", "GET /secure/thumbnail/10000/_thumb_1.png", "GET /secure/useravatar"),
        ("GET /download/attachments/**", "GET /download/attachments/98305/a.pdf", "POST /download/attachments/98305/a.pdf"),
        ("GET /download/thumbnails/**", "GET /download/thumbnails/98305/a.png", "GET /download"),
        ("GET /projects/*/repos/*/raw/**", "GET /projects/WEB/repos/site/raw/a.c", "GET /projects/WEB/repos/site/browse/a.c"),
        ("GET /users/*/repos/*/raw/**", "GET /users/ann/repos/site/raw/a.c", "GET /users/ann/repos/site"),
        (
            "GET /rest/api/*/projects/*/repos/*/raw/**",
            "GET /rest/api/latest/projects/WEB/repos/site/raw/a.c",
            "GET /rest/api/latest/projects/WEB/repos/site/browse/a.c",
        ),
        (
            "GET /rest/api/*/projects/*/repos/*/archive",
            "GET /rest/api/latest/projects/WEB/repos/site/archive?format=zip",
            "GET /rest/api/latest/projects/WEB/repos/site/commits",
        ),
        ("GET /browse/*/artifact/**", "GET /browse/WEB-BUILD-7/artifact/JOB1/Log/a.txt", "GET /browse/WEB-BUILD-7"),
        ("GET /artifact/**", "GET /artifact/WEB-BUILD/shared/build-7/Log/a.txt", "GET /rest/api/latest/result/WEB-BUILD-7"),
    ],
    "jira:comment": [
        ("POST /rest/api/*/issue/*/comment", "POST /rest/api/2/issue/WEB-1/comment", "PUT /rest/api/2/issue/WEB-1/comment/10000"),
    ],
    "jira:edit": [
        ("POST /rest/api/*/issue", "POST /rest/api/2/issue", "POST /rest/api/2/issue/bulk"),
        ("PUT /rest/api/*/issue/*", "PUT /rest/api/2/issue/WEB-1?notifyUsers=false", "DELETE /rest/api/2/issue/WEB-1"),
        ("PUT /rest/api/*/issue/*/assignee", "PUT /rest/api/2/issue/WEB-1/assignee", "PUT /rest/api/2/issue/WEB-1/properties/a"),
        (
            "POST /rest/api/*/issue/*/attachments",
            "POST /rest/api/2/issue/WEB-1/attachments",
            "POST /rest/api/2/issue/WEB-1/transitions",
        ),
        ("POST /rest/api/*/issue/*/worklog", "POST /rest/api/2/issue/WEB-1/worklog", "POST /rest/api/2/issue/WEB-1/watchers"),
        ("POST /rest/api/*/issueLink", "POST /rest/api/2/issueLink", "POST /rest/api/2/issueLinkType"),
    ],
    "jira:transition": [
        (
            "POST /rest/api/*/issue/*/transitions",
            "POST /rest/api/latest/issue/WEB-1/transitions",
            "POST /rest/api/latest/issue/WEB-1/comment",
        ),
    ],
    "bitbucket:review": [
        ("POST /rest/api/*/projects/*/repos/*/pull-requests/*/comments", f"POST {PULL}/1/comments", f"POST {PULL}"),
        (
            "PUT /rest/api/*/projects/*/repos/*/pull-requests/*/comments/*",
            f"PUT {PULL}/1/comments/7",
            f"DELETE {PULL}/1/comments/7",
        ),
        (
            "POST /rest/api/*/projects/*/repos/*/pull-requests/*/blocker-comments",
            f"POST {PULL}/1/blocker-comments",
            f"PUT {PULL}/1",
        ),
        (
            "PUT /rest/api/*/projects/*/repos/*/pull-requests/*/blocker-comments/*",
            f"PUT {PULL}/1/blocker-comments/7",
            f"DELETE {PULL}/1/blocker-comments/7",
        ),
        (
            "PUT /rest/api/*/projects/*/repos/*/pull-requests/*/participants/*",
            f"PUT {PULL}/1/participants/ann",
            f"POST {PULL}/1/participants",
        ),
        (
            "POST,DELETE /rest/api/*/projects/*/repos/*/pull-requests/*/approve",
            f"DELETE {PULL}/1/approve",
            f"POST {PULL}/1/decline",
        ),
    ],
    "bitbucket:merge": [
        ("POST /rest/api/*/projects/*/repos/*/pull-requests/*/merge", f"POST {PULL}/1/merge?version=3", f"POST {PULL}/1/decline"),
    ],
    "bitbucket:build-status": [
        (
            "POST /rest/build-status/*/commits/*",
            "POST /rest/build-status/1.0/commits/0a1b",
            "POST /rest/build-status/1.0/commits",
        ),
        (
            "POST /rest/api/*/projects/*/repos/*/commits/*/builds",
            "POST /rest/api/latest/projects/WEB/repos/site/commits/0a1b/builds",
            "POST /rest/api/latest/projects/WEB/repos/site/commits/0a1b/comments",
        ),
    ],
    "confluence:edit": [
        ("POST /rest/api/content", "POST /rest/api/content", "POST /rest/api/space"),
        ("PUT /rest/api/content/*", "PUT /rest/api/content/98305", "DELETE /rest/api/content/98305"),
        ("POST /rest/api/content/*/label", "POST /rest/api/content/98305/label", "PUT /rest/api/content/98305/restriction"),
        (
            "POST /rest/api/content/*/child/attachment",
            "POST /rest/api/content/98305/child/attachment",
            "POST /rest/api/content/98305/pagehierarchy/copy",
        ),
        (
            "PUT /rest/api/content/*/child/attachment/*",
            "PUT /rest/api/content/98305/child/attachment/att1",
            "DELETE /rest/api/content/98305/child/attachment/att1",
        ),
        (
            "POST /rest/api/content/*/child/attachment/*/data",
            "POST /rest/api/content/98305/child/attachment/att1/data",
            "POST /rest/api/content/98305/child/attachment/att1/move",
        ),
    ],
    "bamboo:build": [
        ("POST /rest/api/*/queue/*-*", "POST /rest/api/latest/queue/WEB-BUILD", "POST /rest/api/latest/queue/deployment"),
    ],
}
CASES = [pytest.param(name, *row, id=f"{name} {row[0]}") for name, rows in ROWS.items() for row in rows]


def is_allowed(rules: Rules, request: str) -> bool:
    method, target = request.split(" ")
    return decide(rules, method, read_request(parse_url(f"https://h.example/base{target}"), "/base", None)).is_allowed


def test_every_line_of_every_preset_has_its_row() -> None:
    """And each file is a preset."""
    folder = Path(atl_sign.access.presets.__file__).parent
    files = {str(path.relative_to(folder).with_suffix("")).replace("/", ":") for path in folder.rglob("*.rules")}

    assert files == set(NAMES)
    assert {name: [rule.text for rule in load_preset(name).rules] for name in NAMES} == {
        name: [row[0] for row in rows] for name, rows in ROWS.items()
    }


@pytest.mark.parametrize(("name", "line", "allowed", "near_miss"), CASES)
def test_a_line_allows_what_it_is_for(name: str, line: str, allowed: str, near_miss: str) -> None:
    """By this line itself; the whole preset refuses what stands beside it."""
    (rule,) = (rule for rule in load_preset(name).rules if rule.text == line)

    assert is_allowed(Rules((rule,)), allowed)
    assert not is_allowed(Rules(load_preset(name).rules), near_miss)


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_has_a_summary_and_its_name_in_each_rule(name: str) -> None:
    preset = load_preset(name)

    assert preset.summary
    assert not preset.summary.startswith("#")
    assert {rule.preset for rule in preset.rules} == {name}


def test_read_has_every_download() -> None:
    """What is below /rest/ it has anyway."""
    reads = {rule.text for rule in load_preset("read").rules}

    assert {rule.text for rule in load_preset("download").rules if "/rest/" not in rule.text} <= reads


def test_presets_and_rules_stand_side_by_side() -> None:
    """In their order; empty lines do not count."""
    rules = parse_rules(["jira:comment", "", "  ", " PUT /a ", "jira:transition"])

    assert [(rule.text, rule.preset) for rule in rules] == [
        ("POST /rest/api/*/issue/*/comment", "jira:comment"),
        ("PUT /a", None),
        ("POST /rest/api/*/issue/*/transitions", "jira:transition"),
    ]


def test_the_number_of_rules_is_limited() -> None:
    """Each is compared with each request."""
    assert len(parse_rules(["GET /a"] * RULES_MAX)) == RULES_MAX
    with pytest.raises(BadRuleError, match="more than 200 rules"):
        parse_rules(["GET /a"] * (RULES_MAX + 1))


@pytest.mark.parametrize("line", ["Read", "jira:commen", "jira", "../read", "confirm"])
def test_an_unknown_word_is_refused(line: str) -> None:
    with pytest.raises(BadRuleError):
        parse_rules([line])

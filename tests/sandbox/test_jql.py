"""The part of JQL that the sandbox understands."""

import pytest

from atl_sign.sandbox.jira_data import Issue, JiraData, SearchableIssue
from atl_sign.sandbox.jql import JqlError, parse_jql


def select(jql: str, user: str | None = "alice") -> list[str]:
    data = JiraData()
    issues = [SearchableIssue(issue, data.projects[issue.project]) for issue in data.issues]
    return [found("key")[0].upper() for found in parse_jql(jql, user).select(issues)]


@pytest.mark.parametrize(
    ("jql", "expected"),
    [
        ("", "WEB-1 WEB-2 WEB-3 WEB-4 OPS-1 OPS-2"),
        ("project = OPS", "OPS-1 OPS-2"),
        ('project="web shop" AND status != Done', "WEB-1 WEB-2 WEB-3"),
        ("assignee = currentUser() and project in (WEB, 'Operations')", "WEB-1 WEB-4 OPS-1"),
        ("key not in (WEB-1,WEB-2,WEB-3) and reporter = bob", "WEB-4 OPS-2"),
        ('text ~ "50%"', "OPS-2"),
        ("summary !~ delivery and type = Bug", "WEB-3 OPS-2"),
        ("assignee is EMPTY", "WEB-3"),
        ("assignee is not null and labels = checkout", "WEB-1"),
        ("assignee = empty", "WEB-3"),
        ('summary ~ "A & B"', "WEB-4"),
        (r'summary ~ "\"no\"" ', ""),
        ("project = WEB order by status asc, key DESC", "WEB-4 WEB-2 WEB-3 WEB-1"),
        ("ORDER BY priority", "WEB-4 WEB-2 WEB-3 WEB-1 OPS-2 OPS-1"),
        ("resolution = Unresolved AND assignee = currentUser() ORDER BY priority desc, key", "OPS-1 WEB-1"),
        ("resolution is not EMPTY", "WEB-4"),
        ("ORDER BY created", "WEB-4 WEB-1 OPS-2 WEB-3 WEB-2 OPS-1"),
        ("project = WEB ORDER BY created DESC", "WEB-2 WEB-3 WEB-1 WEB-4"),
        ("order by updated desc", "OPS-2 WEB-1 WEB-3 OPS-1 WEB-4 WEB-2"),
        ('ORDER BY "createdDate" ASC, issuekey', "WEB-4 WEB-1 OPS-2 WEB-3 WEB-2 OPS-1"),
        ("project = OPS ORDER BY duedate, resolutiondate desc, updatedDate ASC", "OPS-1 OPS-2"),
        ("ORDER BY assignee, id", "OPS-1 WEB-1 WEB-4 OPS-2 WEB-2 WEB-3"),
        ("project = WEB ORDER BY description, labels, Summary", "WEB-1 WEB-3 WEB-4 WEB-2"),
        ('status = "order"', ""),
    ],
)
def test_query_finds(jql: str, expected: str) -> None:
    """Keywords in any case, quoted text never a keyword."""
    assert select(jql) == expected.split()


def test_keys_are_sorted_by_their_numbers() -> None:
    """WEB-10 comes after WEB-9, not after WEB-1."""
    issues = [SearchableIssue(Issue(n, "WEB", n, "x", "Bug", "Open", "Low", "bob"), "Web shop") for n in (10, 9, 1)]

    found = parse_jql("ORDER BY key", None).select(issues)

    assert [issue("key") for issue in found] == [("web-1",), ("web-9",), ("web-10",)]


def test_current_user_of_nobody_is_empty() -> None:
    """It matches what is assigned to nobody."""
    assert select("assignee = currentUser()", None) == ["WEB-3"]


@pytest.mark.parametrize(
    "jql",
    [
        "nonsense",
        "colour = red",
        "project",
        "project =",
        "project = =",
        "project > WEB",
        "project = WEB OR project = OPS",
        "project = WEB AND",
        "project = WEB status = Done",
        "project in WEB",
        "project in (WEB",
        "project in (WEB;",
        "project not WEB",
        "assignee = everybody()",
        "assignee = currentUser(",
        "assignee is alice",
        "assignee is",
        "ORDER key",
        "ORDER BY colour",
        "ORDER BY",
        "ORDER BY key key",
        "ORDER BY created sideways",
        "created = 5",
        'summary ~ "unfinished',
    ],
)
def test_other_query_is_an_error(jql: str) -> None:
    """It is never taken for something else."""
    with pytest.raises(JqlError):
        select(jql)

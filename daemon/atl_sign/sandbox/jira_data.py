"""The initial data of the sandbox's Jira, and how an issue is compared in a search."""

from dataclasses import dataclass, field
from typing import Any

TYPES = ("Bug", "Story", "Task")
PRIORITIES = ("Highest", "High", "Medium", "Low")
# Of an issue, with the names that JQL knows each by.
FIELDS = {
    "summary": ("Summary", "summary"),
    "issuetype": ("Issue Type", "issuetype", "type"),
    "project": ("Project", "project"),
    "status": ("Status", "status"),
    "priority": ("Priority", "priority"),
    "reporter": ("Reporter", "reporter"),
    "assignee": ("Assignee", "assignee"),
    "labels": ("Labels", "labels"),
    "description": ("Description", "description"),
    "created": ("Created", "created", "createdDate"),
    "updated": ("Updated", "updated", "updatedDate"),
    "resolution": ("Resolution", "resolution"),
    "attachment": ("Attachment", "attachments"),
}


@dataclass(slots=True)
class Issue:
    """One issue."""

    id: int
    project: str
    number: int
    summary: str
    issue_type: str
    status: str
    priority: str
    reporter: str
    assignee: str | None = None
    labels: tuple[str, ...] = ()
    description: str | None = None
    created: str = "2026-11-02T09:15:00.000+0000"
    updated: str = ""  # the latest change; "" before the first one
    attachments: list[dict[str, Any]] = field(default_factory=list)
    comments: list[dict[str, Any]] = field(default_factory=list)

    @property
    def resolution(self) -> str | None:
        """How it was resolved; None before that."""
        return "Done" if self.status == "Done" else None

    @property
    def key(self) -> str:
        """The key that people use."""
        return f"{self.project}-{self.number}"


def _day(number: int) -> str:
    return f"2026-11-{number:02}T09:15:00.000+0000"


@dataclass(slots=True)
class JiraData:
    """Projects and issues. Everybody who is logged in sees all of them, nobody else sees any."""

    projects: dict[str, str] = field(default_factory=lambda: {"WEB": "Web shop", "OPS": "Operations"})
    issues: list[Issue] = field(
        default_factory=lambda: [
            Issue(
                10001,
                "WEB",
                1,
                "Checkout forgets the delivery address",
                "Bug",
                "Open",
                "High",
                "bob",
                "alice",
                ("checkout",),
                created=_day(2),
                updated=_day(20),
            ),
            Issue(10002, "WEB", 2, "Show prices with tax", "Story", "In Progress", "Medium", "alice", "bob", created=_day(5)),
            Issue(
                10003,
                "WEB",
                3,
                "Search finds nothing for “café”",
                "Bug",
                "Open",
                "Medium",
                "alice",
                None,
                ("search", "utf-8"),
                created=_day(4),
                updated=_day(19),
            ),
            Issue(
                10004,
                "WEB",
                4,
                "Rename the A & B test pages",
                "Task",
                "Done",
                "Low",
                "bob",
                "alice",
                created=_day(1),
                updated=_day(10),
            ),
            Issue(
                10005,
                "OPS",
                1,
                "Renew the certificate of the build server",
                "Task",
                "Open",
                "Highest",
                "admin",
                "alice",
                created=_day(12),
            ),
            Issue(
                10006,
                "OPS",
                2,
                "Back-up of 50% of the agents fails",
                "Bug",
                "In Progress",
                "High",
                "bob",
                "bob",
                created=_day(3),
                updated=_day(21),
            ),
        ]
    )


class SearchableIssue:
    """An issue as JQL compares it."""

    def __init__(self, issue: Issue, project_name: str) -> None:
        """Compare *issue*, whose project is called *project_name*."""
        self._issue = issue
        self._values = {
            "project": (issue.project, project_name),
            "key": (issue.key,),
            "status": (issue.status,),
            "issuetype": (issue.issue_type,),
            "assignee": (issue.assignee or "",),
            "reporter": (issue.reporter,),
            "priority": (issue.priority,),
            "resolution": (issue.resolution or "",),
            "summary": (issue.summary,),
            "labels": issue.labels or ("",),
        }

    def __call__(self, name: str) -> tuple[str, ...]:
        """Return what the field *name* may be compared with, in lower case."""
        return tuple(value.lower() for value in self._values[name])

    def sort_key(self, name: str) -> tuple[Any, ...]:
        """Return what the field *name* is sorted by: keys by number, priorities by rank with the highest last, dates by time."""
        issue = self._issue
        if name == "key":
            return (issue.project, issue.number)
        if name == "priority":
            return (-PRIORITIES.index(issue.priority),)
        if name in ("created", "updated"):
            return (issue.created if name == "created" else issue.updated or issue.created,)
        if name == "description":
            return (issue.description is None, (issue.description or "").lower())
        if name in ("duedate", "resolved"):  # no issue here has one
            return ()
        values = self(name)
        return (values in ((), ("",)), values)

"""Jira of a Cloud site: who am I, projects and issues."""

from typing import Any, cast

from atl_sign.sandbox.call import Call, RefusalError
from atl_sign.sandbox.cloud.gate import account_id, make_scoped_routes, require_user
from atl_sign.sandbox.cloud.site_data import SiteData
from atl_sign.sandbox.jira_data import Issue
from atl_sign.sandbox.state import User
from atl_sign.sandbox.wire import Answer, make_json

READ, WRITE = ("read:jira-work",), ("write:jira-work",)


def show_myself(call: Call) -> Answer:
    """Answer the user; 401 to nobody."""
    return make_json({**_user(call, require_user(call)), "locale": "en_GB", "timeZone": "Etc/UTC"})


def show_server_info(call: Call) -> Answer:
    """Answer that this is Atlassian Cloud, to anybody."""
    return make_json(
        {
            "baseUrl": call.site.base_url,
            "version": "1001.0.0-SNAPSHOT",
            "versionNumbers": [1001, 0, 0],
            "deploymentType": "Cloud",
            "buildNumber": 100_290,
            "serverTitle": "Jira",
        }
    )


def list_projects(call: Call) -> Answer:
    """Answer the projects; none to nobody."""
    projects = _data(call).jira.projects if call.user is not None else {}
    return make_json([_project(call, key, name) for key, name in projects.items()])


def show_project(call: Call) -> Answer:
    """Answer one project; none exists for nobody."""
    name = _data(call).jira.projects.get(call.groups["key"])
    if call.user is None or name is None:
        raise RefusalError(404, f"No project could be found with key '{call.groups['key']}'.")
    return make_json(_project(call, call.groups["key"], name))


def show_issue(call: Call) -> Answer:
    """Answer one issue; its links are those of the site, also at the gateway."""
    for issue in _data(call).jira.issues if call.user is not None else ():
        if call.groups["key"].upper() == issue.key or call.groups["key"] == str(issue.id):
            fields = {"summary": issue.summary, "status": {"name": issue.status}, "issuetype": {"name": issue.issue_type}}
            return make_json({**_issue(call, issue), "fields": fields})
    raise RefusalError(404, "Issue does not exist or you do not have permission to see it.")


def create_issue(call: Call) -> Answer:
    """Create an issue from `{"fields": {"project": {"key"}, "issuetype": {"name"}, "summary"}}`."""
    user, data = require_user(call), _data(call).jira
    fields = call.read_json().get("fields")
    fields = fields if isinstance(fields, dict) else {}
    project, issue_type, summary = fields.get("project"), fields.get("issuetype"), fields.get("summary")
    key = project.get("key") if isinstance(project, dict) else None
    kind = issue_type.get("name") if isinstance(issue_type, dict) else None
    if key not in data.projects or not isinstance(kind, str) or not isinstance(summary, str) or not summary.strip():
        raise RefusalError(400, "project, issuetype and summary are required.")
    number = max((issue.number for issue in data.issues if issue.project == key), default=0) + 1
    issue = Issue(max(issue.id for issue in data.issues) + 1, str(key), number, summary, kind, "Open", "Medium", user.name)
    data.issues.append(issue)
    return make_json(_issue(call, issue), 201)


def _data(call: Call) -> SiteData:
    return cast(SiteData, call.site.data)


def _user(call: Call, user: User) -> dict[str, Any]:
    known = account_id(call, user)
    return {
        "self": call.link_to(f"/rest/api/3/user?accountId={known}"),
        "accountId": known,
        "accountType": "atlassian",
        "emailAddress": user.email,
        "displayName": user.full_name,
        "active": user.is_active,
    }


def _project(call: Call, key: str, name: str) -> dict[str, Any]:
    return {"self": call.link_to(f"/rest/api/3/project/{key}"), "key": key, "name": name, "projectTypeKey": "software"}


def _issue(call: Call, issue: Issue) -> dict[str, Any]:
    return {"id": str(issue.id), "key": issue.key, "self": call.link_to(f"/rest/api/3/issue/{issue.id}")}


JIRA_ROUTES = make_scoped_routes(
    ("GET", "/rest/api/{version}/myself", show_myself, ("read:jira-user",)),
    ("GET", "/rest/api/{version}/serverInfo", show_server_info, READ),
    ("GET", "/rest/api/{version}/project", list_projects, READ),
    ("GET", "/rest/api/{version}/project/{key}", show_project, READ),
    ("POST", "/rest/api/{version}/issue", create_issue, WRITE),
    ("GET", "/rest/api/{version}/issue/{key}", show_issue, READ),
)

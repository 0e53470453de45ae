"""Jira: who am I, search, reading and creating issues, attachments."""

from datetime import UTC, datetime
from typing import Any, cast

from atl_sign.sandbox.call import Call, Product, RefusalError, cut_page, make_routes, show_running
from atl_sign.sandbox.jira_data import FIELDS, PRIORITIES, TYPES, Issue, JiraData, SearchableIssue
from atl_sign.sandbox.jql import JqlError, Query, parse_jql
from atl_sign.sandbox.multipart import read_uploads
from atl_sign.sandbox.oauth2.data_center import JIRA_OAUTH2
from atl_sign.sandbox.pats import make_pat_kind
from atl_sign.sandbox.state import User
from atl_sign.sandbox.wire import Answer, make_json


def show_myself(call: Call) -> Answer:
    """Answer the user; 401 to nobody."""
    return make_json(_user(call, call.require_user()))


def show_server_info(call: Call) -> Answer:
    """Answer version and configured base URL to anybody."""
    product = call.site.product
    return make_json(
        {
            "baseUrl": call.site.base_url,
            "version": product.version,
            "versionNumbers": [int(number) for number in product.version.split(".")],
            "deploymentType": "Server",
            "buildNumber": int(product.build_number),
            "serverTime": _now(call),
            "serverTitle": "Jira sandbox",
        }
    )


def list_projects(call: Call) -> Answer:
    """Answer the projects; none to nobody."""
    projects = _data(call).projects if call.user is not None else {}
    return make_json([_project(call, key, name) for key, name in projects.items()])


def show_project(call: Call) -> Answer:
    """Answer one project by key or id; none exists for nobody."""
    key = _find_project(call, call.groups["key"])
    if call.user is None or key is None:
        raise RefusalError(404, f"No project could be found with key '{call.groups['key']}'.")
    return make_json(_project(call, key, _data(call).projects[key]))


def list_fields(_: Call) -> Answer:
    """Answer the fields of an issue; the same to anybody, since none is a custom one."""
    return make_json(
        [
            {"id": field, "name": name, "custom": False, "navigable": True, "searchable": True, "clauseNames": list(clauses)}
            for field, (name, *clauses) in FIELDS.items()
        ]
    )


def search(call: Call) -> Answer:
    """Search by `jql` of the query."""
    start, limit = call.read_page("startAt", "maxResults", 50)
    return _search(call, call.request.parameter("jql") or "", start, limit)


def search_by_json(call: Call) -> Answer:
    """Search by `jql` of a JSON body."""
    fields = call.read_json()
    start, limit = fields.get("startAt", 0), fields.get("maxResults", 50)
    if type(start) is not int or type(limit) is not int or min(start, limit) < 0 or not isinstance(fields.get("jql", ""), str):
        raise RefusalError(400, "jql must be a text, startAt and maxResults numbers.")
    return _search(call, fields.get("jql", ""), start, min(limit, 1_000))


def create_issue(call: Call) -> Answer:
    """Create an issue from `{"fields": {...}}`."""
    user = call.require_user()
    fields = call.read_json().get("fields")
    if not isinstance(fields, dict):
        raise RefusalError(400, "The object fields is missing.")
    issue_type, priority = _inner(fields, "issuetype", "name"), _inner(fields, "priority", "name")
    project = _find_project(call, _inner(fields, "project", "key") or _inner(fields, "project", "id"))
    errors = {}
    if project is None:
        errors["project"] = "valid project is required"
    if issue_type not in TYPES:
        errors["issuetype"] = "valid issue type is required"
    if priority not in (None, *PRIORITIES):
        errors["priority"] = f"Priority name '{priority}' is not valid"
    if not isinstance(fields.get("summary"), str) or not fields["summary"].strip():
        errors["summary"] = "You must specify a summary of the issue."
    for name in fields.keys() - {"project", "issuetype", "priority", "summary", "description", "labels"}:
        errors[name] = f"Field '{name}' cannot be set. It is not on the appropriate screen, or unknown."
    if errors:
        return make_json({"errorMessages": [], "errors": errors}, 400)
    data = _data(call)
    number = max((issue.number for issue in data.issues if issue.project == project), default=0) + 1
    labels = tuple(str(label) for label in fields.get("labels") or ())
    issue = Issue(
        max(issue.id for issue in data.issues) + 1,
        str(project),
        number,
        fields["summary"],
        str(issue_type),
        "Open",
        priority or "Medium",
        user.name,
        labels=labels,
        description=fields.get("description"),
        created=_now(call),
    )
    data.issues.append(issue)
    return make_json({"id": str(issue.id), "key": issue.key, "self": call.link_to(f"/rest/api/2/issue/{issue.id}")}, 201)


def show_issue(call: Call) -> Answer:
    """Answer one issue by key or id."""
    return make_json(_issue(call, _find_issue(call)))


def attach(call: Call) -> Answer:
    """Attach files; the XSRF filter wants `X-Atlassian-Token: no-check`."""
    user = call.require_user()
    issue = _find_issue(call)
    added = [
        {
            "self": call.link_to(f"/rest/api/2/attachment/{issue.id}{number}"),
            "id": f"{issue.id}{number}",
            "filename": upload.name,
            "author": _user(call, user),
            "size": len(upload.content),
            "mimeType": upload.media_type,
        }
        for number, upload in enumerate(read_uploads(call), len(issue.attachments))
    ]
    issue.attachments += added
    issue.updated = _now(call)
    return make_json(added)


def list_comments(call: Call) -> Answer:
    """Answer the comments on one issue, the oldest first."""
    comments = _find_issue(call).comments
    return make_json({"startAt": 0, "maxResults": 1_048_576, "total": len(comments), "comments": comments})


def add_comment(call: Call) -> Answer:
    """Add a comment to an issue."""
    author = _user(call, call.require_user())
    issue = _find_issue(call)
    body = call.read_json().get("body")
    if not isinstance(body, str) or not body.strip():
        raise RefusalError(400, "Comment body can not be empty!")
    comment_id = str(issue.id * 100 + len(issue.comments))
    now = _now(call)
    people = {"author": author, "updateAuthor": author}
    link = call.link_to(f"/rest/api/2/issue/{issue.id}/comment/{comment_id}")
    issue.comments.append({"self": link, "id": comment_id, **people, "body": body, "created": now, "updated": now})
    issue.updated = now
    return make_json(issue.comments[-1], 201)


def make_error(status: int, message: str) -> Answer:
    """Return a refusal in Jira's shape."""
    return make_json({"errorMessages": [message], "errors": {}}, status)


def _search(call: Call, jql: str, start: int, limit: int) -> Answer:
    data = _data(call)
    try:
        query = parse_jql(jql, call.user.name if call.user is not None else None)
        _check_projects(call, query)
    except JqlError as exc:
        return make_error(400, str(exc))
    visible = data.issues if call.user is not None else []
    by_searchable = {SearchableIssue(issue, data.projects[issue.project]): issue for issue in visible}
    found = [by_searchable[cast(SearchableIssue, searchable)] for searchable in query.select(by_searchable)]
    issues = [_issue(call, issue) for issue in cut_page(found, start, limit)]
    return make_json({"expand": "names,schema", "startAt": start, "maxResults": limit, "total": len(found), "issues": issues})


def _check_projects(call: Call, query: Query) -> None:
    """To nobody no project exists: Jira says so when a query names one, and otherwise finds nothing."""
    projects = _data(call).projects if call.user is not None else {}
    known = {text.lower() for pair in projects.items() for text in pair} | {""}
    for value in sorted(query.values_of("project") - known):
        raise JqlError(f"The value '{value.upper()}' does not exist for the field 'project'.")


def _now(call: Call) -> str:
    return datetime.fromtimestamp(call.state.clock(), UTC).strftime("%Y-%m-%dT%H:%M:%S.000+0000")


def _data(call: Call) -> JiraData:
    return cast(JiraData, call.site.data)


def _inner(fields: dict[str, Any], name: str, inner: str) -> str | None:
    value = fields.get(name)
    found = value.get(inner) if isinstance(value, dict) else None
    return found if isinstance(found, str) else None


def _find_project(call: Call, wanted: str | None) -> str | None:
    """Return the key of the project that has *wanted* as its key or id."""
    return next((key for key in _data(call).projects if wanted in (key, _project_id(call, key))), None)


def _project_id(call: Call, key: str) -> str:
    return str(10_000 + list(_data(call).projects).index(key))


def _find_issue(call: Call) -> Issue:
    wanted = call.groups["key"]
    issues = _data(call).issues if call.user is not None else []
    for issue in issues:
        if wanted.upper() == issue.key or wanted == str(issue.id):
            return issue
    raise RefusalError(404, "Issue Does Not Exist")


def _user(call: Call, user: User) -> dict[str, Any]:
    return {
        "self": call.link_to(f"/rest/api/2/user?username={user.name}"),
        "key": f"JIRAUSER{10_000 + list(call.state.users).index(user.name)}",
        "name": user.name,
        "emailAddress": user.email,
        "displayName": user.full_name,
        "active": user.is_active,
        "timeZone": "Etc/UTC",
        "locale": "en_UK",
    }


def _project(call: Call, key: str, name: str) -> dict[str, Any]:
    link = call.link_to(f"/rest/api/2/project/{key}")
    return {"self": link, "id": _project_id(call, key), "key": key, "name": name, "projectTypeKey": "software"}


def _issue(call: Call, issue: Issue) -> dict[str, Any]:
    users = call.state.users
    return {
        "id": str(issue.id),
        "key": issue.key,
        "self": call.link_to(f"/rest/api/2/issue/{issue.id}"),
        "fields": {
            "summary": issue.summary,
            "issuetype": {"name": issue.issue_type},
            "project": _project(call, issue.project, _data(call).projects[issue.project]),
            "status": {"name": issue.status},
            "priority": {"name": issue.priority},
            "reporter": _user(call, users[issue.reporter]),
            "assignee": _user(call, users[issue.assignee]) if issue.assignee is not None else None,
            "labels": list(issue.labels),
            "description": issue.description,
            "created": issue.created,
            "updated": issue.updated or issue.created,
            "resolution": {"name": issue.resolution} if issue.resolution is not None else None,
            "attachment": issue.attachments,
        },
    }


JIRA = Product(
    type_id="jira",
    title="Jira",
    version="9.12.15",
    build_number="9120015",
    login_path="/login.jsp",
    routes=make_routes(
        ("GET", "/status", show_running),
        ("GET", "/rest/api/{version}/myself", show_myself),
        ("GET", "/rest/api/{version}/serverInfo", show_server_info),
        ("GET", "/rest/api/{version}/project", list_projects),
        ("GET", "/rest/api/{version}/project/{key}", show_project),
        ("GET", "/rest/api/{version}/field", list_fields),
        ("GET", "/rest/api/{version}/search", search),
        ("POST", "/rest/api/{version}/search", search_by_json),
        ("POST", "/rest/api/{version}/issue", create_issue),
        ("GET", "/rest/api/{version}/issue/{key}", show_issue),
        ("POST", "/rest/api/{version}/issue/{key}/attachments", attach),
        ("GET", "/rest/api/{version}/issue/{key}/comment", list_comments),
        ("POST", "/rest/api/{version}/issue/{key}/comment", add_comment),
    ),
    make_data=JiraData,
    make_error=make_error,
    tokens=make_pat_kind((8, 14), "/secure/ViewPersonalAccessTokens.jspa"),
    anonymous_name="anonymous",
    tells_user=True,
    oauth2=JIRA_OAUTH2,
)

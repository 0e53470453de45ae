"""Bitbucket: projects, repositories and files."""

from typing import Any, cast

from atl_sign.sandbox.bitbucket_data import BitbucketData, Project, Repository
from atl_sign.sandbox.bitbucket_tokens import BITBUCKET_TOKENS, make_slug
from atl_sign.sandbox.call import Call, Product, RefusalError, cut_page, make_routes, show_running
from atl_sign.sandbox.oauth2.data_center import BITBUCKET_OAUTH2
from atl_sign.sandbox.state import User
from atl_sign.sandbox.wire import Answer, make_json, make_text


def show_application_properties(call: Call) -> Answer:
    """Answer the version to anybody."""
    product = call.site.product
    return make_json(
        {
            "version": product.version,
            "buildNumber": product.build_number,
            "buildDate": "1731283200000",
            "displayName": "Bitbucket",
        }
    )


def list_users(call: Call) -> Answer:
    """Answer the users whose name, full name or address holds the filter."""
    call.require_user()
    wanted = (call.request.parameter("filter") or "").lower()
    users = [user for user in call.state.users.values() if wanted in f"{user.name} {user.full_name} {user.email}".lower()]
    return _page(call, [_user(call, user) for user in users])


def show_user(call: Call) -> Answer:
    """Answer a user by slug."""
    call.require_user()
    for user in call.state.users.values():
        if make_slug(user.name) == call.groups["slug"].lower() and user.is_active:
            return make_json(_user(call, user))
    raise RefusalError(404, f"No user exists with slug {call.groups['slug']}")


def list_projects(call: Call) -> Answer:
    """Answer the projects that the caller sees, without users' own."""
    projects = [project for project in _data(call).projects if _is_visible(call, project) and not project.key.startswith("~")]
    return _page(call, [_project(call, project) for project in projects])


def show_project(call: Call) -> Answer:
    """Answer one project."""
    return make_json(_project(call, _find_project(call)))


def list_repositories(call: Call) -> Answer:
    """Answer a project's repositories."""
    project = _find_project(call)
    return _page(call, [_repository(call, project, repository) for repository in project.repositories])


def show_repository(call: Call) -> Answer:
    """Answer one repository."""
    return make_json(_repository(call, *_find_repository(call)))


def list_branches(call: Call) -> Answer:
    """Answer a repository's branches."""
    _, repository = _find_repository(call)
    branches = [
        {"id": f"refs/heads/{name}", "displayId": name, "type": "BRANCH", "isDefault": name == "main"}
        for name in repository.branches
    ]
    return _page(call, branches)


def browse(call: Call) -> Answer:
    """Answer a file's lines or a folder's children, `at` a branch."""
    files, path = _find_files(call), call.groups.get("path", "").strip("/")
    if path in files:
        lines = files[path].splitlines()
        return make_json({"lines": [{"text": line} for line in lines], "start": 0, "size": len(lines), "isLastPage": True})
    prefix = f"{path}/" if path else ""
    inside = [name.removeprefix(prefix) for name in files if name.startswith(prefix)]
    if not inside:
        raise RefusalError(
            404, f'The path "{path}" does not exist at revision "{call.request.parameter("at") or "refs/heads/main"}".'
        )
    kinds = {name.partition("/")[0]: "DIRECTORY" if "/" in name else "FILE" for name in inside}
    children = [{"path": {"name": name, "toString": name}, "type": kind} for name, kind in kinds.items()]
    return make_json(
        {"path": {"toString": path}, "children": {"size": len(children), "values": children, "start": 0, "isLastPage": True}}
    )


def show_raw(call: Call) -> Answer:
    """Answer a file as it is."""
    files, path = _find_files(call), call.groups["path"]
    if path not in files:
        raise RefusalError(404, f'The path "{path}" does not exist.')
    return make_text(files[path])


def make_error(status: int, message: str) -> Answer:
    """Return a refusal in Bitbucket's shape."""
    return make_json({"errors": [{"context": None, "message": message, "exceptionName": None}]}, status)


def _data(call: Call) -> BitbucketData:
    return cast(BitbucketData, call.site.data)


def _is_visible(call: Call, item: Project | Repository) -> bool:
    return item.is_public or (call.user is not None and call.has_scope("REPO_READ"))


def _find_project(call: Call) -> Project:
    for project in _data(call).projects:
        if project.key == call.groups["project"].upper() and _is_visible(call, project):
            return project
    if call.user is None:  # to nobody Bitbucket does not say what exists
        raise RefusalError(401, "You are not permitted to access this resource")
    if not call.has_scope("REPO_READ"):
        raise RefusalError(403, "You are not permitted to access this resource")
    raise RefusalError(404, f"Project {call.groups['project']} does not exist.")


def _find_repository(call: Call) -> tuple[Project, Repository]:
    project = _find_project(call)
    for repository in project.repositories:
        if repository.slug == call.groups["slug"].lower():
            return project, repository
    raise RefusalError(404, f"Repository {project.key}/{call.groups['slug']} does not exist.")


def _find_files(call: Call) -> dict[str, str]:
    _, repository = _find_repository(call)
    at = (call.request.parameter("at") or "main").removeprefix("refs/heads/")
    if at not in repository.branches:
        raise RefusalError(404, f'Commit "{at}" does not exist in repository "{repository.slug}".')
    return repository.branches[at]


def _page(call: Call, items: list[Any]) -> Answer:
    start, limit = call.read_page("start", "limit")
    values = cut_page(items, start, limit)
    is_last = start + limit >= len(items)
    following = {} if is_last else {"nextPageStart": start + limit}
    return make_json({"size": len(values), "limit": limit, "isLastPage": is_last, "values": values, "start": start, **following})


def _user(call: Call, user: User) -> dict[str, Any]:
    return {
        "name": user.name,
        "emailAddress": user.email,
        "active": user.is_active,
        "displayName": user.full_name,
        "id": list(call.state.users).index(user.name) + 1,
        "slug": make_slug(user.name),
        "type": "NORMAL",
    }


def _project(call: Call, project: Project) -> dict[str, Any]:
    kind = "PERSONAL" if project.key.startswith("~") else "NORMAL"
    links = {"self": [{"href": call.link_to(f"/projects/{project.key}")}]}
    return {"key": project.key, "id": project.id, "name": project.name, "public": project.is_public, "type": kind, "links": links}


def _repository(call: Call, project: Project, repository: Repository) -> dict[str, Any]:
    clone = call.link_to(f"/scm/{project.key.lower()}/{repository.slug}.git")
    return {
        "slug": repository.slug,
        "id": repository.id,
        "name": repository.slug,
        "scmId": "git",
        "state": "AVAILABLE",
        "forkable": True,
        "project": _project(call, project),
        "public": repository.is_public,
        "links": {
            "clone": [{"href": clone, "name": "http"}],
            "self": [{"href": call.link_to(f"/projects/{project.key}/repos/{repository.slug}/browse")}],
        },
    }


BITBUCKET = Product(
    type_id="bitbucket",
    title="Bitbucket",
    version="8.19.9",
    build_number="8019009",
    login_path="/login",
    routes=make_routes(
        ("GET", "/status", show_running),
        ("GET", "/rest/api/{version}/application-properties", show_application_properties),
        ("GET", "/rest/api/{version}/users", list_users),
        ("GET", "/rest/api/{version}/users/{slug}", show_user),
        ("GET", "/rest/api/{version}/projects", list_projects),
        ("GET", "/rest/api/{version}/projects/{project}", show_project),
        ("GET", "/rest/api/{version}/projects/{project}/repos", list_repositories),
        ("GET", "/rest/api/{version}/projects/{project}/repos/{slug}", show_repository),
        ("GET", "/rest/api/{version}/projects/{project}/repos/{slug}/branches", list_branches),
        ("GET", "/rest/api/{version}/projects/{project}/repos/{slug}/browse", browse),
        ("GET", "/rest/api/{version}/projects/{project}/repos/{slug}/browse/{path*}", browse),
        ("GET", "/rest/api/{version}/projects/{project}/repos/{slug}/raw/{path*}", show_raw),
    ),
    make_data=BitbucketData,
    make_error=make_error,
    tokens=BITBUCKET_TOKENS,
    tells_user=True,
    oauth2=BITBUCKET_OAUTH2,
)

"""Bitbucket Cloud: its REST interface at api.bitbucket.org, and git at bitbucket.org (facts oauth2 section 5)."""

from typing import Any, cast

from atl_sign.sandbox.bitbucket_data import BitbucketData, Project, Repository
from atl_sign.sandbox.call import Call, RefusalError, find_route
from atl_sign.sandbox.cloud.bitbucket_access import (
    READ,
    REFUSED,
    SCOPE_MISSING,
    identify,
    identify_git,
    lacks_git_scope,
    refuse_scope,
    unauthorized,
    user_name,
)
from atl_sign.sandbox.cloud.gate import account_id, make_scoped_routes
from atl_sign.sandbox.git_backend import GitRefusalError, Repositories, find_target, make_environment
from atl_sign.sandbox.wire import Answer, make_json, make_text


def make_workspace() -> BitbucketData:
    """Return what Bitbucket Cloud begins with: a workspace with a private repository and a public one."""
    shop = Repository(1, "shop", {"main": {"README.md": "# Web shop\n"}})
    docs = Repository(2, "docs", {"main": {"index.md": "Welcome.\n"}}, is_public=True)
    return BitbucketData([Project("ACME", 1, "Acme", [shop, docs])])


def answer_api(call: Call) -> Answer:
    """Answer at api.bitbucket.org: to a consumer's token, a scoped API token beside its owner's e-mail, and anonymous readers."""
    refusal = identify(call)
    if refusal is not None:
        return refusal
    route = find_route(call, API_ROUTES)
    return refuse_scope(call, route) or route.handler(call)


def admit(call: Call, repositories: Repositories) -> dict[str, str]:
    """
    Find the repository that git asks for, and return the environment for `git http-backend`; sets the call's user and verdict.

    Raises:
        GitRefusalError: it is not there, or not for this caller.
    """
    target = find_target(call)
    identify_git(call)
    found = _find(call, target.owner, target.slug)
    if call.user is None and (found is None or target.is_write or not found[1].is_public):
        raise unauthorized()
    if found is None:
        raise GitRefusalError(make_text("Repository not found\n", 404))
    if lacks_git_scope(call, is_write=target.is_write, is_public=found[1].is_public):
        call.verdict = "scope missing"
        raise GitRefusalError(make_text(f"{SCOPE_MISSING}\n", 403))
    folder = repositories.prepare(*found)
    return make_environment(call, target, folder, f"scm/{found[0].key.lower()}/{found[1].slug}.git")


def show_user(call: Call) -> Answer:
    """Answer the user; 401 to nobody."""
    if call.user is None:
        raise RefusalError(401, REFUSED)
    user = call.user
    return make_json(
        {
            "type": "user",
            "username": user_name(user),
            "nickname": user_name(user),
            "display_name": user.full_name,
            "account_id": account_id(call, user),
            "uuid": f"{{{account_id(call, user).partition(':')[2]}}}",
            "account_status": "active",
        }
    )


def list_repositories(call: Call) -> Answer:
    """Answer a workspace's repositories that the caller sees."""
    values = [
        _describe(call, project, repository)
        for project in _data(call).projects
        for repository in project.repositories
        if project.key.lower() == call.groups["workspace"].lower() and (call.user is not None or repository.is_public)
    ]
    return make_json({"pagelen": 10, "size": len(values), "page": 1, "values": values})


def show_repository(call: Call) -> Answer:
    """Answer one repository; to nobody none that is private."""
    found = _find(call, call.groups["workspace"], call.groups["slug"])
    if found is None or (call.user is None and not found[1].is_public):
        raise RefusalError(404, "Repository not found")
    return make_json(_describe(call, *found))


def _data(call: Call) -> BitbucketData:
    return cast(BitbucketData, call.site.data)


def _find(call: Call, workspace: str, slug: str) -> tuple[Project, Repository] | None:
    for project in _data(call).projects:
        for repository in project.repositories:
            if (project.key, repository.slug) == (workspace.upper(), slug.lower()):
                return project, repository
    return None


def _describe(call: Call, project: Project, repository: Repository) -> dict[str, Any]:
    name = f"{project.key.lower()}/{repository.slug}"
    clone = [{"name": "https", "href": call.link_to(f"/{name}.git")}]
    return {
        "type": "repository",
        "full_name": name,
        "slug": repository.slug,
        "is_private": not repository.is_public,
        "links": {"clone": clone, "html": {"href": call.link_to(f"/{name}")}},
    }


API_ROUTES = make_scoped_routes(
    ("GET", "/2.0/user", show_user, ("read:user:bitbucket",)),
    ("GET", "/2.0/repositories/{workspace}", list_repositories, (READ,)),
    ("GET", "/2.0/repositories/{workspace}/{slug}", show_repository, (READ,)),
)

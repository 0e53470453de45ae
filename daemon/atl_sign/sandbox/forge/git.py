"""git over HTTP at the forges: an access token as the password, beside any name."""

from typing import cast

from atl_sign.sandbox.bitbucket_data import BitbucketData, Project, Repository
from atl_sign.sandbox.call import Call
from atl_sign.sandbox.cloud.gate import read_basic
from atl_sign.sandbox.forge.kind import GitRule
from atl_sign.sandbox.git_backend import GitRefusalError, Repositories, find_target, make_environment
from atl_sign.sandbox.oauth2.bearers import take_grant
from atl_sign.sandbox.wire import make_text


def find_repository(call: Call, owner: str, slug: str) -> tuple[Project, Repository] | None:
    """Return the repository *slug* of *owner*, or None."""
    for project in cast(BitbucketData, call.site.data).projects:
        for repository in project.repositories:
            if (project.key, repository.slug) == (owner.upper(), slug.lower()):
                return project, repository
    return None


def admit(call: Call, repositories: Repositories, rule: GitRule) -> dict[str, str]:
    """
    Find the repository that git asks for, and return the environment for `git http-backend`; sets the call's user and verdict.

    Raises:
        GitRefusalError: it is not there, or not for this caller.
    """
    target = find_target(call)
    basic = read_basic(call)
    if basic is not None and not (basic[0] and take_grant(call, basic[1])):
        raise _unauthorized(rule)
    found = find_repository(call, target.owner, target.slug)
    if call.user is None and (found is None or target.is_write or not found[1].is_public):
        raise _unauthorized(rule)
    if found is None:
        raise GitRefusalError(make_text("Repository not found.\n", 404))
    needed = rule.write_scopes if target.is_write else () if found[1].is_public else rule.read_scopes
    if needed and _has_scopes(call) and not any(call.has_scope(scope) for scope in needed):
        call.verdict = "scope missing"
        raise GitRefusalError(make_text("Repository not found.\n", 403 if found[1].is_public else rule.missing_status))
    folder = repositories.prepare(*found)
    return make_environment(call, target, folder, f"scm/{found[0].key.lower()}/{found[1].slug}.git")


def _has_scopes(call: Call) -> bool:
    server = call.site.oauth2
    return call.grant is not None and server is not None and server.flavour.kinds[call.grant.grant.app.kind].has_scopes


def _unauthorized(rule: GitRule) -> GitRefusalError:
    return GitRefusalError(make_text("Authentication failed\n", 401).with_headers(("WWW-Authenticate", rule.challenge)))

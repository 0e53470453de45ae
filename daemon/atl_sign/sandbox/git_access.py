"""The rights of git at Bitbucket below /scm, by the schemes that Bitbucket takes there (facts 11.1)."""

from base64 import b64decode
from collections.abc import Mapping
from typing import cast

from atl_sign.sandbox.access import is_ignored_when_wrong, take_grant, take_token
from atl_sign.sandbox.bitbucket_data import BitbucketData, Project, Repository
from atl_sign.sandbox.call import Call
from atl_sign.sandbox.git_backend import GitRefusalError, Repositories, find_target, make_environment
from atl_sign.sandbox.wire import make_text

CHALLENGE = 'Basic realm="Atlassian Bitbucket"'  # clients match on these words
_CAN_READ = frozenset({"REPO_READ", "REPO_WRITE", "REPO_ADMIN", "PROJECT_READ", "PROJECT_WRITE", "PROJECT_ADMIN"})
_CAN_WRITE = _CAN_READ - {"REPO_READ", "PROJECT_READ"}


def is_for_git(path: str) -> bool:
    """Tell whether *path*, decoded and below the context path, is a repository's."""
    return path.startswith("/scm/")


def admit(call: Call, repositories: Repositories) -> Mapping[str, str]:
    """
    Find the repository, and see whether the caller may do what is asked; sets the call's user and verdict.

    Returns:
        The environment for `git http-backend`.

    Raises:
        GitRefusalError: it is not there, or not for this caller.
    """
    target = find_target(call, "/scm")
    _identify(call)
    found = _find_repository(call, target.owner, target.slug)
    if call.user is None and (found is None or target.is_write or not found[1].is_public):
        raise _unauthorized(call)  # to nobody Bitbucket does not say what exists
    if found is None:
        raise GitRefusalError(make_text("Repository not found\nThe requested repository does not exist.\n", 404))
    if not call.has_scope("REPO_WRITE" if target.is_write else "REPO_READ" if not found[1].is_public else "PUBLIC_REPOS"):
        call.verdict = "scope missing"
        raise GitRefusalError(make_text("Insufficient permissions\nThe access token lacks a scope.\n", 403))
    if call.token is not None and not (_CAN_WRITE if target.is_write else _CAN_READ).intersection(call.token.permissions):
        raise GitRefusalError(
            make_text(f"Insufficient permissions\nThe access token lacks REPO_{'WRITE' if target.is_write else 'READ'}.\n", 403)
        )
    project, repository = found
    folder = repositories.prepare(project, repository)
    return make_environment(call, target, folder, f"scm/{project.key.lower()}/{repository.slug}.git")


def _identify(call: Call) -> None:
    """
    Set the call's user and token.

    An OAuth 2.0 token works as a bearer, and as a password beside any name; a dead bearer counts as none.
    Neither a session nor an OAuth 1.0a signature counts here: a caller with nothing else is anonymous.

    Raises:
        GitRefusalError: a password or token that is wrong.
    """
    scheme, _, credentials = (call.request.header("authorization") or "").partition(" ")
    has_tokens = call.site.product.has_tokens
    if scheme == "Bearer" and (has_tokens or call.site.oauth2 is not None):
        secret = credentials.strip()
        if take_grant(call, secret) or (has_tokens and take_token(call, secret)):
            return
        if not is_ignored_when_wrong(call, secret):
            raise _unauthorized(call, "wrong token")
        call.verdict = "wrong token"
        return
    if scheme.lower() != "basic":
        if scheme.lower() == "oauth":
            call.verdict = "signature ignored"
        return
    try:
        name, _, password = b64decode(credentials, validate=True).decode().partition(":")
    except ValueError:
        raise _unauthorized(call, "wrong password") from None
    if take_grant(call, password):
        return
    if has_tokens and take_token(call, password) and call.user is not None and call.user.name == name:
        call.verdict = "basic token"  # a personal token needs its owner's name beside it
        return
    call.token = None
    call.user, call.verdict = call.state.check_password(name, password), "basic"
    if call.user is None:
        raise _unauthorized(call, "wrong password")


def _unauthorized(call: Call, verdict: str | None = None) -> GitRefusalError:
    if verdict is not None:
        call.verdict = verdict
    return GitRefusalError(make_text("Authentication failed\n", 401).with_headers(("WWW-Authenticate", CHALLENGE)))


def _find_repository(call: Call, key: str, slug: str) -> tuple[Project, Repository] | None:
    for project in _data(call).projects:
        for repository in project.repositories:
            if (project.key, repository.slug) == (key.upper(), slug.lower()):
                return project, repository
    return None


def _data(call: Call) -> BitbucketData:
    return cast(BitbucketData, call.site.data)

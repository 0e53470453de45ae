"""Git's protocol for credential helpers, in and out (facts section 11.2)."""

from typing import Annotated

from fastapi import FastAPI, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from atl_sign.agent.build import Agent
from atl_sign.agent.git_request import parse_git_request
from atl_sign.api.answers import answer_text
from atl_sign.api.fields import caller_of, read_body
from atl_sign.base.credentials import GitToken
from atl_sign.config.links import NAME_PATTERN

CAPABILITIES = ("version 0", "capability authtype")

_DESCRIPTION = (
    "The operation is get, erase, store or capability. "
    "Body and answer are text/plain, lines of name=value as in git-credential(1). "
    "The answer is empty when another helper is to be asked, for `store`, and for an operation that is not known."
)


def add_git_credential(app: FastAPI, agent: Agent) -> None:
    """Serve git's credential helper on *app*."""

    @app.post(
        "/git-credential/{operation}",
        summary="Git's credential protocol",
        description=_DESCRIPTION,
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
        openapi_extra={"requestBody": {"required": False, "content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    async def answer_git(
        request: Request, operation: str, link: Annotated[str | None, Query(pattern=f"^{NAME_PATTERN}$")] = None
    ) -> Response:
        if operation == "capability":
            return answer_text(CAPABILITIES)
        asked = parse_git_request(await read_body(request), link)
        if operation == "get":
            token = await agent.git.get(caller_of(request), asked)
            return answer_text([] if token is None else format_token(token, can_authtype=asked.can_authtype))
        if operation == "erase" and asked.credential is not None:
            await run_in_threadpool(agent.git.erase, caller_of(request), asked, asked.credential)
        # A credential that git wants stored came from here, or is for another helper.
        return answer_text([])


def format_token(token: GitToken, *, can_authtype: bool) -> list[str]:
    """
    Return *token* as lines for git.

    Args:
        token: a bearer as well, or only a password.
        can_authtype: whether git takes a header's scheme and credential, which it will not keep.
    """
    secret = token.secret.reveal()
    if can_authtype and token.takes_bearer:
        lines = ["capability[]=authtype", "authtype=Bearer", f"credential={secret}", "ephemeral=1"]
    else:
        lines = [f"username={token.user}", f"password={secret}"]
    return lines if token.expires_at is None else [*lines, f"password_expiry_utc={int(token.expires_at.timestamp())}"]

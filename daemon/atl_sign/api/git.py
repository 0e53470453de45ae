"""Git's protocol for credential helpers, in and out (facts section 11.2)."""

import asyncio
import time
from typing import Annotated

from fastapi import FastAPI, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from atl_sign.agent.agent import Agent
from atl_sign.agent.git_request import GitRequest, parse_git_request
from atl_sign.api.answers import answer_text
from atl_sign.api.fields import read_body
from atl_sign.base.credentials import GitToken
from atl_sign.base.errors import ProviderUnreachableError
from atl_sign.config.links import NAME_PATTERN
from atl_sign.custody.vault import NotInMemoryError

WAIT_S_MAX = 60.0
CAPABILITIES = ("version 0", "capability authtype")

_DESCRIPTION = (
    "The operation is get, erase, store or capability. "
    "Body and answer are text/plain, lines of name=value as in git-credential(1). "
    "The answer is empty when another helper is to be asked, for `store`, and for an operation that is not known."
)


def add_git_credential(app: FastAPI, agent: Agent) -> None:
    """Serve git's credential helper on *app*."""
    flights = _Flights(agent)

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
            with agent.recording("git-credential", request.state.peer, link) as decision:
                decision.host = asked.url.origin.partition("://")[2] if asked.url is not None else None
                token = await flights.get(asked)
                if token is None:
                    decision.outcome = "not_ours"
            return answer_text([] if token is None else format_token(token, can_authtype=asked.can_authtype))
        if operation == "erase" and asked.credential is not None:
            with agent.recording("git-credential", request.state.peer, link):
                await run_in_threadpool(agent.erase_git_token, asked, asked.credential)
        # What git wants stored is what it was given here, or is for another helper.
        return answer_text([])


def format_token(token: GitToken, *, can_authtype: bool) -> list[str]:
    """Return *token* as lines for git; with *can_authtype* as the header's scheme and credential, which git will not keep."""
    secret = token.secret.reveal()
    if can_authtype:
        lines = ["capability[]=authtype", "authtype=Bearer", f"credential={secret}", "ephemeral=1"]
    else:
        lines = [f"username={token.user}", f"password={secret}"]
    return [*lines, f"password_expiry_utc={int(token.expires_at.timestamp())}"]


class _Flights:
    """Tokens on their way: whoever asks for what another waits for already waits for the same, and holds no thread."""

    def __init__(self, agent: Agent) -> None:
        """Begin with none."""
        self._agent = agent
        self._flights: dict[tuple[object, ...], tuple[GitRequest, asyncio.Task[GitToken | None]]] = {}

    async def get(self, asked: GitRequest) -> GitToken | None:
        """Return as `Agent.get_git_token`; raises that too, and ProviderUnreachableError when it takes too long."""
        key = (asked.url.origin if asked.url is not None else None, asked.link)
        deadline = time.monotonic() + WAIT_S_MAX
        while True:
            try:
                return self._agent.get_git_token(asked, from_memory=True)
            except NotInMemoryError:
                flight, task = self._flights.get(key) or self._begin(key, asked)
            await asyncio.wait([task], timeout=max(0.0, deadline - time.monotonic()))
            if not task.done():
                raise ProviderUnreachableError("the provider takes long to make a token for git", "try again in a minute")
            if flight == asked:
                return task.result()
            # It was for another path or user on the same host. Now memory knows more; what failed, may fail for this one too.

    def _begin(self, key: tuple[object, ...], asked: GitRequest) -> tuple[GitRequest, asyncio.Task[GitToken | None]]:
        task = asyncio.create_task(run_in_threadpool(self._agent.get_git_token, asked))
        self._flights[key] = asked, task

        def end(task: asyncio.Task[GitToken | None]) -> None:
            del self._flights[key]
            if not task.cancelled():
                task.exception()  # looked at: who waited for it may have gone

        task.add_done_callback(end)
        return asked, task

"""The HTTP contract: one route a call, one shape for every failure, JSON or the text that a shell would print."""

import atl_sign.api.deferred  # noqa: F401, I001  # before FastAPI

from functools import cache
from typing import Any

from fastapi import FastAPI
from fastapi.responses import JSONResponse

from atl_sign import __version__
from atl_sign.agent.build import Agent
from atl_sign.api import schemas
from atl_sign.api.answers import add_error_handlers
from atl_sign.api.checks import add_checks
from atl_sign.api.dances import add_dances
from atl_sign.api.git import add_git_credential
from atl_sign.api.key import add_key
from atl_sign.api.leases import add_leases
from atl_sign.api.link_files import add_link_files
from atl_sign.api.links import add_links
from atl_sign.api.own_proxy import add_proxy
from atl_sign.api.policy import add_policy
from atl_sign.api.refusals import add_refusals
from atl_sign.api.registration import add_registration
from atl_sign.api.sign import add_sign
from atl_sign.api.status import add_status_calls
from atl_sign.api.store import add_store_calls
from atl_sign.api.tokens import add_tokens

# FastAPI would set up OpenTelemetry by itself (facts platform.md).
_NO_TELEMETRY = {"tracing": False, "metrics": False, "logs": False, "operation_spans": False, "auto_configure": False}


def make_app(agent: Agent, *, is_described: bool = False) -> FastAPI:
    """
    Return the application that serves *agent*.

    Args:
        agent: what the routes call.
        is_described: whether each route has all that the OpenAPI document says of it. That takes longer to make than the whole
            rest, so the daemon serves one without, which makes one with it when the document is asked for.
    """
    app = new_app(agent, is_described=is_described)
    # In this order they stand in the OpenAPI document.
    nouns = (
        add_sign,
        add_dances,
        add_links,
        add_link_files,
        add_registration,
        add_checks,
        add_tokens,
        add_key,
        add_git_credential,
        add_policy,
        add_leases,
        add_refusals,
        add_proxy,
        add_status_calls,
        add_store_calls,
    )
    for add in nouns:
        add(app, agent)
    if not is_described:
        _add_description(app, agent)
    return app


def new_app(agent: Agent, *, is_described: bool) -> FastAPI:
    """Return an application for *agent* without a call, which reports every failure in the one shape."""
    app = FastAPI(
        title="atl-sign",
        version=__version__,
        description="Signs requests to Atlassian products for the user's own programs.",
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json" if is_described else None,
        redirect_slashes=False,
        telemetry=_NO_TELEMETRY,  # type: ignore[arg-type]  # its TypedDict is not exported
        responses={"default": {"model": schemas.ErrorAnswer, "description": "Every error"}} if is_described else None,
    )
    app.state.agent = agent
    app.state.is_described = is_described
    add_error_handlers(app)
    return app


def _add_description(app: FastAPI, agent: Agent) -> None:
    @cache
    def describe() -> dict[str, Any]:
        return make_app(agent, is_described=True).openapi()

    @app.get("/openapi.json", include_in_schema=False)
    def show_description() -> JSONResponse:  # in a thread: it takes longer than a request may have to wait
        return JSONResponse(describe())

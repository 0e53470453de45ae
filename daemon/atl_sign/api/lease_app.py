"""The application for the holders of leases: signatures, a refusal explained, and the lease itself."""

from fastapi import FastAPI

from atl_sign.agent.build import Agent
from atl_sign.api.app import new_app
from atl_sign.api.checks import add_problem
from atl_sign.api.leases import add_own_lease
from atl_sign.api.sign import add_sign


def make_lease_app(agent: Agent) -> FastAPI:
    """Return the application that serves *agent* to callers with a lease."""
    app = new_app(agent, is_described=False)
    add_sign(app, agent)
    add_problem(app, agent)
    add_own_lease(app, agent)
    return app

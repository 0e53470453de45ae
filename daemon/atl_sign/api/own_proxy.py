"""`GET /proxy`: where the proxy is."""

from fastapi import FastAPI, Request, Response
from pydantic import BaseModel, Field

from atl_sign.agent.build import Agent
from atl_sign.api.answers import answer_with, documented
from atl_sign.api.fields import caller_of
from atl_sign.base.errors import BadRequestError
from atl_sign.base.folders import explain_failure


class ProxyAnswer(BaseModel):
    """Where the proxy is."""

    socket: str = Field(description="the path of its Unix socket")
    ca_file: str = Field(
        description="the system's CA certificates and the proxy's own in one file; another one whenever links change, and with "
        "each start of the daemon"
    )
    port: int | None = Field(
        description="with `port=true`: a port of 127.0.0.1 for SOCKS5, for programs that know no SOCKS on Unix sockets; only "
        "programs of this user are served there"
    )


def add_proxy(app: FastAPI, agent: Agent) -> None:
    """Serve the proxy's place on *app*."""

    @app.get("/proxy", **documented(app, "Show where the proxy is", ProxyAnswer))
    async def show_proxy(request: Request, port: bool = False) -> Response:
        try:
            place = await agent.proxy.show(caller_of(request), wants_port=port)
        except OSError as exc:
            raise BadRequestError(
                f"the proxy's CA file or port cannot be made: {explain_failure(exc)}", "atl-sign doctor"
            ) from exc
        return answer_with(request, ProxyAnswer(socket=place.socket, ca_file=place.ca_file, port=place.port))

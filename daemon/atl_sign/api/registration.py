"""The calls that make an application link at its product."""

from typing import Annotated

from fastapi import Depends, FastAPI, Request, Response
from pydantic import BaseModel, Field, SecretStr

from atl_sign.agent.build import Agent
from atl_sign.api import schemas
from atl_sign.api.answers import answer_with, documented
from atl_sign.api.fields import caller_of, fields_of
from atl_sign.base.credentials import Secret


class RegistrationFields(schemas.Fields):
    """The administrator who makes the application link."""

    user: str = Field(min_length=1, max_length=255, description="an administrator's user name at the product")
    password: SecretStr = Field(
        min_length=1, max_length=4096, description="that user's password; sent to the product for these calls only, and not kept"
    )


class RegistrationAnswer(BaseModel):
    """The application link that the product has now."""

    link: str
    consumer_key: str
    application: str = Field(description="the name of the application link there")
    is_new: bool = Field(description="false: the product had it already")


class ScriptAnswer(BaseModel):
    """A shell script for an administrator."""

    script: str


def add_registration(app: FastAPI, agent: Agent) -> None:
    """Serve registrations on *app*."""

    @app.post(
        "/links/{name}/registration",
        **documented(app, "Make the application link at the product", RegistrationAnswer, body=RegistrationFields),
    )
    def register(
        request: Request, name: str, fields: Annotated[RegistrationFields, Depends(fields_of(RegistrationFields))]
    ) -> Response:
        password = Secret(fields.password.get_secret_value())
        report = agent.registering.register(caller_of(request), name, fields.user, password)
        answer = RegistrationAnswer(
            link=name, consumer_key=report.applink.consumer_key, application=report.applink.name, is_new=report.is_new
        )
        done = "made the application link" if report.is_new else "the product has the application link already"
        lines = [f"{done}: consumer key {answer.consumer_key}", f"Then: atl-sign dance {name}"]
        return answer_with(request, answer, lines)

    @app.get(
        "/links/{name}/registration-script",
        **documented(app, "Get a script that makes the application link at the product", ScriptAnswer),
    )
    def show_script(request: Request, name: str) -> Response:
        script = agent.registering.show_script(caller_of(request), name)
        return answer_with(request, ScriptAnswer(script=script), script.splitlines())

"""
The HTTP contract on the socket: requests read, the agent asked, answers written.

`app` is the application; `schemas` what goes over the socket, as types; `fields` a request's body; `answers` an answer or an
error, as JSON or text. The other modules hold the routes of one noun each. Read `app` first.
"""

from pydantic import BaseModel

# FastAPI's models of the OpenAPI document take a twentieth of the daemon's start, and are used when somebody asks for it.
BaseModel.model_config["defer_build"] = True
try:
    import fastapi.openapi.models  # noqa: F401
finally:
    del BaseModel.model_config["defer_build"]

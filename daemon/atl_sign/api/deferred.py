"""
FastAPI's models of the OpenAPI document, imported without being built: that takes a twentieth of the daemon's start.

They are built when somebody asks for the document. To have an effect, this is imported before FastAPI.
"""

from pydantic import BaseModel

BaseModel.model_config["defer_build"] = True  # each model keeps what it finds there when it is made
try:
    import fastapi.openapi.models  # noqa: F401
finally:
    del BaseModel.model_config["defer_build"]

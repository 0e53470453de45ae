"""
Pydantic's models, ours and FastAPI's, are built when they are first used: to build all takes a tenth of the daemon's start.

A model that is built at once says so itself. To have an effect, this is imported before FastAPI and before the first model.
"""

from pydantic import BaseModel

BaseModel.model_config["defer_build"] = True  # each model keeps what it finds there when it is made

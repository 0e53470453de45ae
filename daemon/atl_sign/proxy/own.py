"""Requests that a lease's entry answers itself: they are handed to an ASGI application."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import Any

from atl_sign.access.caller import Caller
from atl_sign.base.errors import InternalError
from atl_sign.proxy.heads import Header
from atl_sign.proxy.inbound import Inbound

Message = MutableMapping[str, Any]
App = Callable[[Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]


async def run_app(app: App, inbound: Inbound, caller: Caller) -> None:
    """Let *app* answer a request; raises InternalError when it fails before its answer has begun, else what it raises."""
    head = inbound.head
    path, mark, query = head.target.partition(b"?")
    scope: Message = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.0" if head.is_1_0 else "1.1",
        "method": head.method,
        "scheme": "http",
        "path": path.decode("utf-8", "replace"),
        "raw_path": path,
        "query_string": query if mark else b"",
        "root_path": "",
        "headers": [(name.lower(), value) for name, value in head.headers if name.lower() != b"authorization"],
        "client": None,
        "server": None,
        "state": {"peer": caller.peer, "lease": caller.lease},
    }
    body = inbound.read()
    is_answered = asyncio.Event()
    is_read = False
    begun: list[tuple[int, list[Header]]] = []

    async def receive() -> Message:
        nonlocal is_read
        if is_read:
            await is_answered.wait()
            return {"type": "http.disconnect"}
        try:
            return {"type": "http.request", "body": await anext(body), "more_body": True}
        except StopAsyncIteration:
            is_read = True
            return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            begun.append((message["status"], list(message.get("headers", ()))))
            return
        if not inbound.has_begun:
            status, headers = begun[0]
            await inbound.begin(status, HTTPStatus(status).phrase.encode(), headers)
        if head.method != "HEAD":
            await inbound.send(message.get("body", b""))
        if not message.get("more_body", False):
            await inbound.end()
            is_answered.set()

    try:
        await app(scope, receive, send)
    except Exception as exc:
        if inbound.has_begun or isinstance(exc, OSError):
            raise
        raise inbound.failure or InternalError("the request failed", "atl-sign log") from exc

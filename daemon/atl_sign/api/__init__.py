"""
The HTTP contract on the socket: requests read, the agent asked, answers written.

`app` is the application; `schemas` what goes over the socket, as types; `fields` a request's body; `answers` an answer or an
error, as JSON or text. The other modules hold the routes of one noun each. Read `app` first.
"""

"""A per-user daemon that keeps OAuth 1.0a credentials and signs one request at a time."""

__version__ = "0.1.0"

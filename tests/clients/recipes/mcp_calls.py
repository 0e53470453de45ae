"""
A client of MCP, for the Python of the recipes: starts a server and calls its tools, each line of input one call.

    python mcp_calls.py COMMAND… <<< '["jira_get_issue", {"issue_key": "WEB-1"}]'

Prints one line of JSON a call: whether it is an error, and its text.
"""

import asyncio
import json
import os
import sys

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client


async def main(command: list[str], lines: list[str]) -> None:
    """Start the server *command* with this environment, and make the calls of *lines* one after another."""
    server = StdioServerParameters(command=command[0], args=command[1:], env=dict(os.environ))
    async with stdio_client(server) as (read, write), ClientSession(read, write) as session:
        await session.initialize()
        for line in lines:
            name, arguments = json.loads(line)
            result = await session.call_tool(name, arguments)
            text = "\n".join(getattr(each, "text", "") for each in result.content)
            print(json.dumps({"is_error": bool(result.isError), "text": text}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:], sys.stdin.read().splitlines()))

"""
Several requests at the same time with httpx.

    python httpx_async.py https://jira.example.com WEB-1 WEB-2
"""

import asyncio
import sys

import httpx

from atl_sign_client import AtlSignHTTPXAuth


async def main(server: str, keys: list[str]) -> None:
    """Print the summary of each issue."""
    async with httpx.AsyncClient(auth=AtlSignHTTPXAuth()) as client:
        answers = await asyncio.gather(*(client.get(f"{server}/rest/api/2/issue/{key}") for key in keys))
    for key, answer in zip(keys, answers):
        print(f"{key}: {answer.raise_for_status().json()['fields']['summary']}")


if len(sys.argv) < 3:
    sys.exit("usage: python httpx_async.py BASE-URL ISSUE...")
asyncio.run(main(sys.argv[1], sys.argv[2:]))

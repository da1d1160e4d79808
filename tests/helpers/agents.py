"""Call the endpoints as an agent does, by MCP."""

import asyncio
import base64

from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client

from tests.helpers.requests import API


def as_data_url(content: bytes) -> str:
    """Return a file as the data: URL that an agent sends."""
    return "data:application/octet-stream;base64," + base64.b64encode(content).decode()


def call_tools(url: str, *calls) -> tuple[dict, list]:
    """Return the tools that an agent finds, and for each call whether it failed and its text."""

    async def connect() -> tuple[dict, list]:
        async with (
            streamable_http_client(f"{url}{API}/mcp/") as (read, write, _),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            tools = (await session.list_tools()).tools
            results = [await session.call_tool(name, arguments) for name, arguments in calls]
            answers = [(bool(result.isError), result.content[0].text) for result in results]
            return {tool.name: (tool.description, tool.inputSchema) for tool in tools}, answers

    return asyncio.run(connect())

"""The endpoints as tools of agents, by MCP."""

import asyncio
import base64

import numpy as np
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client

from benchmarks.server import MODELS, make_patch
from geoseg.page.given import MAX_CALL_WORK
from geoseg.page.guard import MAX_BODY
from tests.helpers.requests import API, post, send, upload

NAMES = tuple(MODELS)


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


def test_agents_find_every_tool_and_read_no_file_of_the_server(url, images):
    def data(kind: str) -> str:
        content = (images.parent / kind / "well_9_patch_0.npy").read_bytes()
        return "data:application/octet-stream;base64," + base64.b64encode(content).decode()

    secret = str(images / "well_9_patch_0.npy")
    marked = {"path": secret, "meta": {"_type": "gradio.FileData"}}
    tools, answers = call_tools(
        url,
        ["list_models", {}],
        ["segment", {"patch": data("images"), "models": ["stacked"], "threshold": 0.0}],
        ["evaluate", {"patches": [data("images")], "labels": [data("labels")]}],
        *(["segment", {"patch": patch}] for patch in (secret, marked, [secret], [marked])),
        ["segment", {"patch": "http://127.0.0.1:9/a.npy"}],
        ["segment", {"patch": data("images"), "models": ["none"]}],
    )
    assert set(tools) == {"list_models", "segment", "evaluate"}
    for description, schema in tools.values():
        assert "Returns:" in description
        assert schema["type"] == "object"
        assert all("description" in one for one in schema["properties"].values())
    assert tools["segment"][1]["required"] == ["patch"]
    assert tools["evaluate"][1]["properties"]["labels"]["items"]["type"] == "string"
    (facts, one, scored), refused = answers[:3], answers[3:]
    assert list(eval(facts[1])) == list(NAMES)
    assert np.all(eval(one[1])["models"]["200-stacked"]["mask"])  # every probability is above 0
    assert set(eval(scored[1])["models"]) == set(NAMES)
    assert [failed for failed, _ in answers] == [False] * 3 + [True] * len(refused)
    assert not any("0, 0" in text for _, text in refused)
    assert "Addresses are not fetched" in refused[4][1]
    assert "No model 'none'" in refused[5][1]


def test_agents_have_the_same_limits_as_other_clients(url, tmp_path):
    """The largest call is answered by either way, and a mistake is the same sentence."""
    arrays = {
        "small": make_patch(1),
        "most": np.zeros((256, 256)),  # pixels of one file
        "more": np.zeros((257, 256), np.float32),
        "bytes": np.zeros((400, 400)),
    }
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    full = MAX_CALL_WORK // 256**2
    cases = (
        (["most"] * full, {}, "milliseconds"),
        (["most"] * full + ["small"], {}, f"{MAX_CALL_WORK:,} of one call; send fewer patches"),
        (["more"], {}, "65,536"),
        (["bytes"], {}, "larger than 1,048,576 bytes"),
        (["small"], {"noise": -1}, "noise is -1; it must be a number from 0 to 1."),
        (["small"], {"seed": -1}, "seed is -1; it must be from 0 to"),
        (["small"], {"threshold": 2}, "threshold is 2; it must be a number from 0 to 1."),
    )
    contents = {name: (tmp_path / f"{name}.npy").read_bytes() for name in arrays}
    coded = {n: "data:;base64," + base64.b64encode(c).decode() for n, c in contents.items()}
    calls = [
        ["segment", {"patch": [coded[name] for name in names], "models": ["300"], **options}]
        for names, options, _ in cases
    ]
    for (names, options, said), (_, text) in zip(cases, call_tools(url, *calls)[1], strict=True):
        assert said in text
        if sum(len(coded[name]) for name in names) < MAX_BODY:
            patch = [coded[name] for name in names]
        else:  # too large for JSON: upload it first
            reply = upload(url, [(f"{name}.npy", contents[name]) for name in names])
            if reply.status == 413:
                assert said in reply.text
                continue
            patch = reply.json
        body = {"patch": patch, "models": ["300"], **options}
        event_id = post(url, f"{API}/call/v2/segment", body).json["event_id"]
        assert said in send(url, f"{API}/call/v2/segment/{event_id}").text

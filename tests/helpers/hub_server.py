"""A fake Hub: the part of huggingface.co's protocol that `huggingface_hub` uses.

A repository is a list of commits, each a complete set of files. Uploads are kept aside until a
commit names them. `failing` makes any address answer with an error.
"""

import base64
import hashlib
import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from inspect import signature

from huggingface_hub import constants
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from benchmarks.server import free_port
from tests.helpers.http_servers import running_app

LARGE = (".safetensors", ".npy")  # files that the Hub stores apart from git
USERS, READER = {"hf_writer": "me", "hf_reader": "you"}, "hf_reader"  # by token


@dataclass
class Repository:
    """A model, data set or Space; `branches` maps names to commits."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    facts: dict = field(default_factory=dict)
    private: bool = False
    gated: bool = False

    def commit(self, files: dict[str, bytes], message: str = "", branch: str = "main") -> str:
        oid = hashlib.sha1(f"{len(self.commits)}{message}".encode()).hexdigest()
        self.commits[oid], self.branches[branch] = dict(files), oid
        self.messages.append(message)
        return oid

    def library(self, revision: str) -> str | None:
        card = self.files(revision).get("README.md", b"").decode()
        found = re.search(r"^library_name: (.+)$", card, re.MULTILINE)
        return found[1] if found else None

    def files(self, revision: str = "main") -> dict[str, bytes]:
        return self.commits[self.branches.get(revision, revision)]


class Hub:
    """The server: `repositories` by "models/me/name", requests (`asked`), and `failing` ones."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.reset()

    def reset(self) -> None:
        """Forget all repositories and requests."""
        self.repositories: dict[str, Repository] = {}
        self.uploaded: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.failing: dict[str, int] = {}

    def make(self, place: str, files: dict[str, bytes], **facts: object) -> Repository:
        """Create a repository with one commit."""
        repository = self.repositories[place] = Repository(**facts)
        repository.commit(files)
        return repository

    def refusal(self, request: Request) -> Response | None:
        line = f"{request.method} {request.url.path}"
        self.asked.append(line)
        for pattern, status in self.failing.items():
            if re.search(pattern, line):
                return refuse(status, "")
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if token and token not in {*USERS, "xet"}:
            return refuse(401, "", "Invalid credentials in Authorization header")
        writes = request.method != "HEAD" and request.method != "GET"
        if writes and "/lfs/" not in line and not token:
            return refuse(401, "", "Invalid username or password.")
        if writes and token == READER and "validate-yaml" not in line:
            return refuse(403, "", 'You don\'t have the rights to create a model under "me"')
        return None

    def find(self, request: Request) -> Repository | Response:
        place = "{kind}/{user}/{name}".format(**{"kind": "models", **request.path_params})
        found = self.repositories.get(place)
        known = request.headers.get("authorization")
        if found is None or (found.private and not known):
            return refuse(404 if known else 401, "RepoNotFound", "Repository not found")
        if found.gated:
            return refuse(403, "GatedRepo", f"Access to model {place} is restricted")
        revision = request.path_params.get("revision", "main")
        if found.commits and revision not in {*found.branches, *found.commits}:
            return refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return found


def refuse(status: int, code: str, message: str = "") -> Response:
    headers = {"X-Error-Code": code, "X-Error-Message": message}
    return JSONResponse({"error": message}, status, {k: v for k, v in headers.items() if v})


def app(hub: Hub) -> Starlette:
    def route(path: str, methods: str, handler) -> Route:
        async def guarded(request: Request) -> Response:
            if refusal := hub.refusal(request):
                return refusal
            if "found" not in signature(handler).parameters:
                return await handler(request)
            found = hub.find(request)
            return found if isinstance(found, Response) else await handler(request, found)

        return Route(path, guarded, methods=methods.split())

    async def whoami(request: Request) -> Response:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        return JSONResponse({"type": "user", "name": USERS[token]} if token else {})

    async def create(request: Request) -> Response:
        asked = await request.json()
        place = f"{asked.get('type') or 'model'}s/{asked['organization']}/{asked['name']}"
        url = f"{hub.url}/{place.removeprefix('models/')}"
        if place in hub.repositories:
            return JSONResponse({"error": "You already created this repo", "url": url}, 409)
        private = asked.get("visibility") == "private"
        hub.make(place, {".gitattributes": b""}, private=private, facts=asked)
        return JSONResponse({"url": url})

    async def info(request: Request, found: Repository) -> Response:
        revision = request.path_params.get("revision", "main")
        oid = found.branches.get(revision, revision)
        facts = {
            "id": "{user}/{name}".format(**request.path_params),
            "sha": oid,
            "private": found.private,
            "siblings": [{"rfilename": name} for name in found.commits[oid]],
            "tags": [],
            "library_name": found.library(oid),
            "sdk": found.facts.get("sdk"),
            "runtime": state(found),
        }
        return JSONResponse(facts)

    async def tree(request: Request, found: Repository) -> Response:
        files = found.files(request.path_params["revision"])
        rows = [
            {"type": "file", "oid": git_oid(content), "size": len(content), "path": name}
            for name, content in files.items()
        ]
        return JSONResponse(rows)

    async def resolve(request: Request, found: Repository) -> Response:
        revision, name = request.path_params["revision"], request.path_params["path"]
        oid = found.branches.get(revision, revision)
        if name not in found.commits[oid]:
            return refuse(404, "EntryNotFound", "Entry not found")
        content = found.commits[oid][name]
        headers = {"ETag": f'"{git_oid(content)}"', "X-Repo-Commit": oid}
        return Response(content, 200, headers, "application/octet-stream")

    async def branch(request: Request, found: Repository) -> Response:
        name = request.path_params["branch"]
        if name in found.branches:
            return refuse(409, "", "Reference already exists")
        found.branches[name] = found.branches["main"]
        return Response()

    async def hardware(request: Request, found: Repository) -> Response:
        found.facts["hardware"] = (await request.json())["flavor"]
        return await runtime(request, found)

    async def runtime(request: Request, found: Repository) -> Response:
        return JSONResponse(state(found))

    def state(found: Repository) -> dict[str, object]:
        now = {"current": None, "requested": found.facts.get("hardware", "cpu-basic")}
        return {"stage": "BUILDING", "hardware": now}

    async def yaml(request: Request) -> Response:
        return JSONResponse({"errors": [], "warnings": []})

    async def preupload(request: Request, found: Repository) -> Response:
        now = found.files(request.path_params["revision"])
        asked = (await request.json())["files"]
        answers = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["path"].endswith(LARGE) else "regular",
                "shouldIgnore": False,
                "oid": oid(file["path"], now[file["path"]]) if file["path"] in now else None,
            }
            for file in asked
        ]
        return JSONResponse({"files": answers})

    async def batch(request: Request) -> Response:
        objects = (await request.json())["objects"]
        for one in objects:
            if one["oid"] not in hub.uploaded:
                one["actions"] = {"upload": {"href": f"{hub.url}/lfs/{one['oid']}"}}
        return JSONResponse({"objects": objects, "transfer": "basic"})

    async def lfs(request: Request) -> Response:
        content = await request.body()
        assert hashlib.sha256(content).hexdigest() == request.path_params["oid"]
        hub.uploaded[request.path_params["oid"]] = content
        return Response()

    async def xet_token(request: Request, found: Repository) -> Response:
        until = int(time.time()) + 3600
        return JSONResponse({"accessToken": "xet", "exp": until, "casUrl": f"{hub.url}/cas"})

    async def cas(request: Request) -> Response:
        """Answer as Xet, the chunked storage of large files, as far as an upload needs it."""
        if re.search("/v1/(xorbs|shards)", request.url.path):
            await request.body()
            return JSONResponse({"was_inserted": True, "result": 1})
        return Response(status_code=404)

    async def commit(request: Request, found: Repository) -> Response:
        header, *changes = map(json.loads, (await request.body()).splitlines())
        revision = request.path_params["revision"]
        files, head = dict(found.files(revision)), found.branches[revision]
        if header["value"].get("parentCommit", head) != head:
            return refuse(412, "", "A commit has happened since. Please refresh and try again.")
        for change in changes:
            value = change["value"]
            if change["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif change["key"] == "lfsFile":
                # Chunks are not joined: the checksum stands for the content.
                files[value["path"]] = hub.uploaded.get(value["oid"], value["oid"].encode())
            else:
                del files[value["path"]]
        oid = found.commit(files, header["value"]["summary"], revision)
        url = f"{hub.url}/me/x/commit/{oid}"
        return JSONResponse({"success": True, "commitOid": oid, "commitUrl": url})

    repo, resolve_at = "/{user}/{name}", "/{user}/{name}/resolve/{revision}/{path:path}"
    api = "/api/{kind}" + repo
    return Starlette(
        routes=[
            route("/api/whoami-v2", "GET", whoami),
            route("/api/repos/create", "POST", create),
            route("/api/validate-yaml", "POST", yaml),
            route(api, "GET", info),
            route(f"{api}/revision/{{revision}}", "GET", info),
            route(f"{api}/tree/{{revision}}", "GET", tree),
            route(f"{api}/branch/{{branch}}", "POST", branch),
            route(f"{api}/hardware", "POST", hardware),
            route(f"{api}/runtime", "GET", runtime),
            route(f"{api}/preupload/{{revision}}", "POST", preupload),
            route(f"{api}/commit/{{revision}}", "POST", commit),
            route("/lfs/{oid}", "PUT", lfs),
            route(f"{api}/xet-write-token/{{revision}}", "GET", xet_token),
            route("/cas/{path:path}", "GET POST PUT HEAD", cas),
            route("/{kind}/{user}/{name}.git/info/lfs/objects/batch", "POST", batch),
            route("/{user}/{name}.git/info/lfs/objects/batch", "POST", batch),
            route(resolve_at, "HEAD GET", resolve),
        ]
    )


def oid(name: str, content: bytes) -> str:
    """Return the Hub's identifier of a content."""
    return hashlib.sha256(content).hexdigest() if name.endswith(LARGE) else git_oid(content)


def git_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def use(url: str, monkeypatch, folder) -> None:
    """Make `huggingface_hub` use this Hub, as HF_ENDPOINT does in a new process.

    The cache is in `folder`, there is no login, and retries do not wait.
    """
    settings = {
        "ENDPOINT": url,
        "HUGGINGFACE_CO_URL_TEMPLATE": url + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_CACHE": str(folder / "cache"),
        "HF_TOKEN_PATH": str(folder / "token"),
        "HF_HUB_DISABLE_XET": True,
    }
    for name, value in settings.items():
        monkeypatch.setattr(constants, name, value)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)


@contextmanager
def serving() -> Iterator[Hub]:
    """Run a fake Hub until the block ends."""
    hub = Hub()
    with running_app(app(hub), hub.port):
        yield hub

"""What the Hub says of repositories and jobs, from a server of this machine, to the real client."""

import base64
import hashlib
import http.server
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.servers import handling

USER, COMMIT = "me", "0" * 40


class FakeHub:
    """One user's repositories, as files by `<repository>/<path>`, and jobs, the newest last.

    `refusal`, a status, is then its answer to everything.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.repositories: dict[str, dict[str, Any]] = {}
        self.jobs: list[dict[str, Any]] = []
        self.refusal = 0
        self.url = ""

    def get(self, path: str) -> Any:
        if path == "api/whoami-v2":
            return {"name": USER}
        if path.startswith("api/jobs/"):
            return self.jobs
        if path.startswith("api/models/") and "/tree/" in path:
            repository = "/".join(path.split("/")[2:4])
            found = [name for name in self.files if name.startswith(f"{repository}/")]
            return [
                {"type": "file", "path": name[len(repository) + 1 :], "size": 1, "oid": "0"}
                for name in found
            ]
        if path.startswith("api/models/"):
            repository = path.removeprefix("api/models/")
            private = self.repositories[repository].get("visibility") == "private"
            return {"id": repository, "private": private}
        repository, _, file = path.replace(COMMIT, "main").partition("/resolve/main/")
        return self.files.get(f"{repository}/{file}")

    def post(self, path: str, body: bytes) -> Any:
        if path == "api/repos/create":
            wish = json.loads(body)
            repository = f"{wish.get('organization', USER)}/{wish['name']}"
            self.repositories.setdefault(repository, wish)
            return {"url": f"{self.url}/{repository}", "id": repository}
        if path.startswith("api/jobs/"):
            job = {**json.loads(body), "id": f"job{len(self.jobs)}"}
            job |= {"createdAt": f"2026-01-01T00:00:{len(self.jobs):02}.000Z"}
            job |= {"status": {"stage": "RUNNING", "message": None}}
            job |= {"owner": {"id": "1", "name": USER, "type": "user"}}
            self.jobs.append(job)
            return job
        if "/preupload/" in path:
            files = json.loads(body)["files"]
            usual = {"uploadMode": "regular", "shouldIgnore": False, "oid": None}
            return {"files": [{"path": file["path"], **usual} for file in files]}
        repository = "/".join(path.split("/")[2:4])
        for line in body.splitlines():
            step = json.loads(line)
            where = f"{repository}/{step['value'].get('path')}"
            if step["key"] == "file":
                self.files[where] = base64.b64decode(step["value"]["content"])
            elif step["key"] == "deletedFile":
                del self.files[where]
        return {"commitUrl": f"{self.url}/{repository}/commit/{COMMIT}", "commitOid": COMMIT}


def _handler(hub: FakeHub) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self._send(None if hub.refusal else hub.post(self._path(), body))

        def do_GET(self) -> None:
            self._send(None if hub.refusal else hub.get(self._path()))

        def do_HEAD(self) -> None:
            self.do_GET()

        def _path(self) -> str:
            return unquote(urlsplit(self.path).path).strip("/")

        def _send(self, answer: Any) -> None:
            missing = {"error": "no"} if answer is None else answer
            data = answer if isinstance(answer, bytes) else json.dumps(missing).encode()
            self.send_response(hub.refusal or (404 if answer is None else 200))
            self.send_header("Content-Type", "application/octet-stream")
            if answer is None and not hub.refusal:
                self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("ETag", f'"{hashlib.sha1(data).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


@contextmanager
def jobs_server() -> Iterator[FakeHub]:
    """The Hub on a free port until the block ends."""
    hub = FakeHub()
    with handling(_handler(hub)) as hub.url:
        yield hub

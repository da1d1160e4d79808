"""A local server for the client of Weights & Biases, and a reader of its offline files."""

import json
import re
import threading
from collections import defaultdict
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from wandb.proto.wandb_internal_pb2 import Record

_BLOCK, _HEADER = 32_768, 7


def read_records(path: Path) -> Iterator[Record]:
    """Yield the records of a .wandb file: LevelDB's log format after a header of seven bytes."""
    content, position, record = path.read_bytes(), _HEADER, b""
    while position + _HEADER <= len(content):
        if (rest := _BLOCK - position % _BLOCK) < _HEADER:
            position += rest  # a header does not cross the end of a block
            continue
        size = int.from_bytes(content[position + 4 : position + 6], "little")
        kind, start = content[position + 6], position + _HEADER
        record += content[start : start + size]
        position = start + size
        if kind in (1, 4):  # a whole record, or its last part
            yield Record.FromString(record)
            record = b""


class Run:
    """A run, read from its .wandb file."""

    def __init__(self, path: Path) -> None:
        self.history, self.summary, self.metrics = [], {}, []
        self.artifacts, self.code = [], None
        for record in read_records(path):
            match record.WhichOneof("record_type"):
                case "run":
                    self.header = record.run
                    self.config = _values(record.run.config.update)
                case "config":
                    self.config |= _values(record.config.update)
                case "history":
                    self.history.append(_values(record.history.item))
                case "summary":
                    self.summary |= _values(record.summary.update)
                case "metric":
                    self.metrics.append(record.metric)
                case "artifact":
                    self.artifacts.append(record.artifact)
                case "exit":
                    self.code = record.exit.exit_code


def _values(items) -> dict:
    """Collect keys and values; a nested key becomes a dict."""
    values = {}
    for item in items:
        first, *rest = item.nested_key or [item.key]
        value = json.loads(item.value_json)
        if rest:
            values.setdefault(first, {})[".".join(rest)] = value
        else:
            values[first] = value
    return values


class Server:
    """Answers like the real server, and records the requests.

    Attributes:
        url: for WANDB_BASE_URL.
        requests: the variables of every GraphQL request, by its name.
        history: the lines received by the file stream.
        status: of every answer; if it is not 200, nothing is recorded.
        silent_after: the name of the last request that is answered.
    """

    def __init__(self) -> None:
        self.requests, self.history = defaultdict(list), []
        self.status, self.silent_after, self._run = 200, None, None
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status, answer = server.answer(self.path, content)
                body = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_PUT(self) -> None:
                self.do_POST()

            def log_message(self, *_) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def set_run(self, name: str, epoch: int, lines: int) -> None:
        """Let the server hold a run with `lines` lines, the last one of `epoch`."""
        last = json.dumps({"_step": lines - 1, "epoch": epoch})
        counts = {"historyLineCount": lines, "logLineCount": 0, "eventsLineCount": 0}
        names = {"id": "3", "name": name, "displayName": "a run", "tags": [], "config": "{}"}
        tails = {"historyTail": json.dumps([last]), "eventsTail": "[]", "wandbConfig": '{"t": 1}'}
        summary = {"summaryMetrics": json.dumps({"epoch": epoch})}
        self._run = {**names, **counts, **tails, **summary}

    def answer(self, path: str, content: bytes) -> tuple[int, dict]:
        """Return the status and the JSON of an answer."""
        if self.status != 200 or self.requests.get(self.silent_after):
            return (self.status if self.status != 200 else 503), {}
        if path.endswith("/file_stream"):
            files = json.loads(content).get("files") or {}
            lines = files.get("wandb-history.jsonl", {}).get("content", [])
            self.history += map(json.loads, lines)
        if path != "/graphql":
            return 200, {}
        request = json.loads(content)
        name = re.search(r"(?:query|mutation)\s+(\w+)", request["query"])[1]
        variables = request.get("variables") or {}
        self.requests[name].append(variables)
        return 200, {"data": self._data(name, variables)}

    def _data(self, name: str, variables: dict) -> dict:
        entity = {"id": "1", "name": "somebody"}
        match name:
            case "Viewer":
                teams = {"edges": []}
                return {"viewer": {**entity, "entity": "somebody", "flags": "{}", "teams": teams}}
            case "RunResumeStatus":
                return {"model": self._run and {**entity, "entity": entity, "bucket": self._run}}
            case "UpsertBucket":
                project = {"id": "2", "name": variables["project"], "entity": entity}
                names = {"id": "3", "name": variables["name"], "displayName": "a run"}
                bucket = {**names, "config": "{}", "project": project, "historyLineCount": 0}
                return {"upsertBucket": {"bucket": bucket, "inserted": self._run is None}}
            case "CreateRunFiles":
                files = [{"name": n, "uploadUrl": f"{self.url}/up/{n}"} for n in variables["files"]]
                return {"createRunFiles": {"runID": "3", "uploadHeaders": [], "files": files}}
            case "CreateArtifact":
                artifact = {"id": "4", "state": "COMMITTED", "artifactSequence": {"id": "5"}}
                return {"createArtifact": {"artifact": artifact}}
            case "ArtifactType":
                return {"project": None}
            case _:
                return {}

    def __enter__(self) -> "Server":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

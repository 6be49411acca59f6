"""A wandb server on this machine: it takes runs, and sweeps, whose trials it hands out to agents."""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from served import Served

PROJECT = {"id": "p", "name": "heartcut", "entity": {"id": "e", "name": "me"}}
KEY = "0123456789" * 4


class Server(Served):
    """A server, and what it was told. `trials` are handed out from the front, a run id and parameters each."""

    def __init__(self) -> None:
        self.trials: list[tuple[str, dict[str, Any]]] = []
        self.sweeps: list[dict[str, Any]] = []
        self.runs: list[dict[str, Any]] = []
        self.streamed: list[dict[str, Any]] = []
        self._lines: dict[tuple[str, str], dict[int, str]] = defaultdict(dict)
        handler = type("Bound", (_Handler,), {"owner": self})
        self._http = _Quiet(("127.0.0.1", 0), handler)
        self.environment = {
            "WANDB_BASE_URL": f"http://127.0.0.1:{self._http.server_port}",
            "WANDB_API_KEY": KEY,
            "WANDB_MODE": "online",
        }

    def history(self, run_id: str) -> list[dict[str, Any]]:
        """The rows of a run, as all its attempts and uploads have left them."""
        lines = self._lines[run_id, "wandb-history.jsonl"]
        return [json.loads(lines[number]) for number in sorted(lines)]

    def stream(self, run_id: str, told: dict[str, Any]) -> None:
        """Take parts of a run's files: lines from an offset on, in place of those that are there."""
        self.streamed.append(told)
        for name, part in (told.get("files") or {}).items():
            self._lines[run_id, name].update(enumerate(part["content"], part["offset"]))

    def answer(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        """What GraphQL is answered with."""
        if "query RunResumeStatus" in query:
            return {"model": PROJECT | {"bucket": self._status(variables["name"])}}
        if "mutation UpsertSweep" in query:
            self.sweeps.append(variables)
            return {"upsertSweep": {"sweep": {"name": "s1", "project": PROJECT}, "configValidationWarnings": []}}
        if "query SweepWithRuns" in query:
            sweep = {"id": "1", "name": "s1", "config": self.sweeps[-1]["config"], "runs": {"edges": []}}
            return {"project": {"sweep": sweep}}
        if "mutation CreateAgent" in query:
            return {"createAgent": {"agent": {"id": "a1"}}}
        if "mutation Heartbeat" in query:
            return {"agentHeartbeat": {"agent": {"id": "a1"}, "commands": json.dumps(self._commands(variables))}}
        if "mutation UpsertBucket" in query:
            self.runs.append(variables)
            bucket = {
                "id": "r",
                "name": variables["name"],
                "displayName": "d",
                "project": PROJECT,
                "historyLineCount": 0,
            }
            return {"upsertBucket": {"bucket": bucket | {"config": "{}", "sweepName": "s1"}, "inserted": True}}
        if "mutation CreateRunFiles" in query:
            files = [
                {"name": name, "uploadUrl": f"{self.environment['WANDB_BASE_URL']}/{name}"}
                for name in variables["files"]
            ]
            return {"createRunFiles": {"runID": "r", "uploadHeaders": [], "files": files}}
        if "viewer" in query:
            return {"viewer": {"id": "v", "entity": "me", "username": "me", "flags": "{}", "teams": {"edges": []}}}
        return {}

    def _status(self, run_id: str) -> dict[str, Any] | None:
        """What a resumed run has to know of the run; None if there is no such run."""
        history, events = (self._lines[run_id, f"wandb-{name}.jsonl"] for name in ("history", "events"))
        if not history:
            return None
        counts = {"historyLineCount": len(history), "eventsLineCount": len(events), "logLineCount": 0}
        tails = {"historyTail": json.dumps([history[max(history)]]), "eventsTail": "[]"}
        summary = self._lines[run_id, "wandb-summary.json"].get(0, "{}")
        own = {"id": "r", "name": run_id, "displayName": "d", "config": "{}", "tags": [], "notes": None}
        return own | counts | tails | {"summaryMetrics": summary, "wandbConfig": '{"t": {}}'}

    def _commands(self, variables: dict[str, Any]) -> list[dict[str, Any]]:
        if json.loads(variables["runState"]):
            return []
        if not self.trials:
            return [{"type": "exit"}]
        run_id, values = self.trials.pop(0)
        arguments = {key: {"value": value} for key, value in values.items()}
        return [{"type": "run", "run_id": run_id, "program": "train.distill", "args": arguments}]


class _Quiet(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """A client that was killed is nothing to report."""


class _Handler(BaseHTTPRequestHandler):
    owner: Server

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
        found = json.loads(body) if body[:1] == b"{" else {}
        if "file_stream" in self.path:
            self.owner.stream(self.path.split("/")[-2], found)
        data = self.owner.answer(found.get("query", ""), found.get("variables") or {})
        self._send(200, {"data": data})

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._send(200, {})

    def do_GET(self) -> None:
        self._send(404, {})

    def _send(self, code: int, value: dict[str, Any]) -> None:
        content = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

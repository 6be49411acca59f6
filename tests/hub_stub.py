"""A Hugging Face hub on this machine: it takes repositories and commits, and hands files out again."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from served import Served

TOKEN = "hf_secretsecretsecret"
OWNERS = ("alice", "lab")
COMMIT = "c" * 40


class Hub(Served):
    """A hub where alice has a token. `repos`: by name, whether it is private, and files by name."""

    def __init__(self) -> None:
        self.repos: dict[str, tuple[bool, dict[str, bytes]]] = {}
        self.asked: list[str] = []
        self.broken: set[str] = set()
        """Parts of paths that are answered with status 500."""
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (_Handler,), {"owner": self}))
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def info(self, name: str) -> dict[str, Any]:
        """What is told of a repository: tags and library come from the head of its README.md."""
        private, files = self.repos[name]
        head = files.get("README.md", b"").decode().split("---\n")
        told = yaml.safe_load(head[1]) if len(head) > 2 else {}
        library = told.get("library_name")
        return {
            "id": name,
            "private": private,
            "sha": COMMIT,
            "siblings": [{"rfilename": file} for file in files],
            "tags": [*told.get("tags", []), *([library] if library else [])],
            "library_name": library,
        }

    def commit(self, name: str, lines: list[dict[str, Any]]) -> None:
        """Take the files of a commit."""
        for line in lines:
            if line["key"] == "file":
                self.repos[name][1][line["value"]["path"]] = base64.b64decode(line["value"]["content"])


@contextmanager
def in_place(folder: Path) -> Iterator[Hub]:
    """A hub in the place of the public one, for this process, with alice's token; its cache is in a folder."""
    from huggingface_hub import constants

    with Hub() as hub, pytest.MonkeyPatch.context() as patched:
        patched.setattr(constants, "ENDPOINT", hub.url)
        patched.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}")
        patched.setattr(constants, "HF_HUB_CACHE", str(folder / "hub"))
        patched.setattr(constants, "HF_TOKEN_PATH", str(folder / "token"))
        patched.setattr(constants, "HF_HUB_OFFLINE", False)
        patched.setenv("HF_TOKEN", TOKEN)
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "HF_OIDC_RESOURCE"):
            patched.delenv(name, raising=False)
            patched.delenv(name.lower(), raising=False)
        yield hub


class _Handler(BaseHTTPRequestHandler):
    owner: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self._serve(b"")

    def do_POST(self) -> None:
        self._serve(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def _serve(self, body: bytes) -> None:
        path = self.path.partition("?")[0]
        self.owner.asked.append(f"{self.command} {path}")
        if any(part in path for part in self.owner.broken):
            return self._answer(500, {"error": "out of order"})
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._answer(401, {"error": "Invalid username or password."})
        if path == "/api/whoami-v2":
            return self._answer(200, {"type": "user", "name": "alice", "orgs": [{"name": "lab"}]})
        if path == "/api/validate-yaml":
            return self._answer(200, {"errors": [], "warnings": []})
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        return self._repository(path.strip("/").split("/"), body)

    def _repository(self, words: list[str], body: bytes) -> None:
        name = "/".join(words[2:4] if words[0] == "api" else words[:2])
        if name not in self.owner.repos:
            return self._answer(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
        if words[0] != "api":
            return self._file(name, words[-1])
        if len(words) == 4:
            return self._answer(200, self.owner.info(name))
        if name.split("/")[0] not in OWNERS:
            return self._answer(403, {"error": "You may not write here"})
        if words[4] == "preupload":
            told = {"uploadMode": "regular", "shouldIgnore": False}
            return self._answer(200, {"files": [told | {"path": f["path"]} for f in json.loads(body)["files"]]})
        self.owner.commit(name, [json.loads(line) for line in body.splitlines()])
        return self._answer(200, {"commitUrl": f"{self.owner.url}/{name}/commit/{COMMIT}", "commitOid": COMMIT})

    def _create(self, asked: dict[str, Any]) -> None:
        name = f"{asked['organization']}/{asked['name']}"
        if asked["organization"] not in OWNERS:
            return self._answer(403, {"error": f"You may not create models under {asked['organization']}"})
        if name in self.owner.repos:
            return self._answer(409, {"error": "You already created this model repo"})
        private = asked.get("private", asked.get("visibility") == "private")
        self.owner.repos[name] = (private, {".gitattributes": b""})
        return self._answer(200, {"url": f"{self.owner.url}/{name}"})

    def _file(self, name: str, file: str) -> None:
        files = self.owner.repos[name][1]
        if file not in files:
            return self._answer(404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"})
        headers = {"ETag": f'"{hashlib.sha256(files[file]).hexdigest()}"', "X-Repo-Commit": COMMIT}
        return self._send(200, files[file], headers)

    def _answer(self, status: int, told: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        self._send(status, json.dumps(told).encode(), {"Content-Type": "application/json", **(headers or {})})

    def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in (headers | {"Content-Length": str(len(content))}).items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

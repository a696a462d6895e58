"""A Hub on the loopback interface: the part of its HTTP interface that huggingface_hub uses.

Models are given as files; branches, tags, commits, private and gated repos, redirects and the CDN behave
as on the real Hub. Faults are put on paths. Every request is recorded.

    hub = HubServer()
    commit = hub.add_model("org/name", {"config.json": b"{}"})
    hub.fault("config.json", method="GET", status=500)
    ...
    hub.requests[0].method
"""

import hashlib
import json
import re
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Condition, Event, Thread
from urllib.parse import quote, unquote, urlsplit

_RESOLVE = re.compile(r"/(?P<repo>[^/]+(?:/[^/]+)?)/resolve/(?P<revision>[^/]+)/(?P<file>.+)")
_RESOLVE_CACHE = re.compile(r"/api/resolve-cache/models/(?P<repo>[^/]+/[^/]+)/(?P<revision>[0-9a-f]{40})/(?P<file>.+)")
_INFO = re.compile(r"/api/models/(?P<repo>[^/]+(?:/[^/]+)?)(?:/revision/(?P<revision>[^/]+))?")
_CDN = re.compile(r"/cdn/(?P<sha>[0-9a-f]{64})")
_RANGE = re.compile(r"bytes=(?P<first>\d*)-(?P<last>\d*)")


FOREVER = 10**6
"""Seconds that no test lives to see."""


@dataclass
class Request:
    """One request as it arrived, and how many bytes of body went back."""

    method: str
    path: str
    host: str
    headers: dict[str, str]
    body_bytes: int = 0

    @property
    def token(self):
        """What was sent as bearer token; None where nothing was."""
        return self.headers.get("authorization", "").removeprefix("Bearer ") or None


@dataclass
class Fault:
    """What goes wrong with requests whose path ends in `path`, `times` times."""

    path: str
    method: str | None = None
    within: str = ""
    """What the path has somewhere, beside its end."""
    times: int = 10**6
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    """Seconds before the answer, at most until the faults are forgotten."""
    together: int = 0
    """Answer none of these requests before so many have come; of fewer, none at all."""
    drop: bool = False
    """Close the connection without a word."""
    drop_after: int | None = None
    """Close the connection after so many bytes of the body."""
    content_length: int | None = None
    """Announce this length instead of the true one."""
    without: tuple[str, ...] = ()
    """Headers that are left out."""
    body: bytes | None = None
    """Sent instead of the true content."""
    endless: bool = False
    """The body, true or not, is followed by bytes without end; its length is not announced."""
    pace: float = 0.0
    """Seconds before each byte of the body."""
    slow_head: float = 0.0
    """Seconds before each byte of the headers."""
    raw: bytes | None = None
    """Sent instead of any answer, the status line included."""
    met: int = 0
    """How many requests have met it."""


@dataclass
class Model:
    """A repo: its commits, where its branches and tags point, and who may read it."""

    repo: str
    commits: dict[str, dict[str, bytes | Path]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    private: bool = False
    gated: bool = False
    disabled: bool = False
    readers: frozenset[str] = frozenset()
    large: frozenset[str] = frozenset()
    """Files that are kept in large file storage, and so are served by the CDN."""

    def commit_of(self, revision):
        """The commit that a branch, a tag, a full or a short sha names."""
        if revision in self.refs:
            return self.refs[revision]
        return next((sha for sha in self.commits if len(revision) >= 7 and sha.startswith(revision)), None)


class HubServer:
    """The loopback Hub. `url` is its HF_ENDPOINT."""

    def __init__(self):
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.hub = self
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        # another host name is another origin, as the real CDN is
        self.cdn_url = f"http://localhost:{self.port}"
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        self.forgotten, self._met = Event(), Condition()
        self.reset()

    def reset(self):
        """Forget all models, faults and requests."""
        self.models: dict[str, Model] = {}
        self.moved: dict[str, str] = {}
        self.tokens: set[str] = set()
        self.forget_faults()
        self.requests: list[Request] = []
        self.resolve_cache = False
        """Send small files by way of /api/resolve-cache, as the real Hub does since 2025."""

    def forget_faults(self):
        """From now on all goes well; what a fault kept waiting goes on."""
        self.faults: list[Fault] = []
        self.forgotten.set()
        self.forgotten = Event()

    def wait_for_others(self, fault):
        """Return when as many requests have met this fault as it asks for, or the faults are forgotten."""
        with self._met:
            fault.met += 1
            self._met.notify_all()
            while fault.met < fault.together and fault in self.faults:
                self._met.wait(0.1)

    def close(self):
        """Stop serving."""
        self.forget_faults()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def add_model(self, repo, files, *, branch="main", **who):
        """Commit files to a branch of a repo, which is made where there is none; returns the commit's sha."""
        model = self.models.setdefault(repo, Model(repo))
        for name, value in who.items():
            setattr(model, name, frozenset(value) if isinstance(value, set) else value)
        self.tokens |= model.readers
        commit = {name: _as_content(content) for name, content in files.items()}
        # of the content too: tests may share a cache, where one sha must not mean two contents
        sha = hashlib.sha1(f"{repo} {len(model.commits)} {commit}".encode()).hexdigest()  # noqa: S324 - as git
        model.commits[sha] = commit
        model.refs[branch] = sha
        return sha

    def fault(self, path, **what):
        """Let requests whose path ends in `path` go wrong."""
        self.faults.append(Fault(path, **what))

    def counted(self, method):
        """How many requests of this method came."""
        return sum(request.method == method for request in self.requests)

    def fault_for(self, request):
        """The first fault that fits, and one time fewer of it."""
        for fault in self.faults:
            path = urlsplit(request.path).path
            fits = path.endswith(fault.path) and fault.within in path
            fits = fits and fault.method in {None, request.method}
            if fits and fault.times:
                fault.times -= 1
                return fault
        return None

    def large_file(self, sha):
        """What the CDN has under a sha256."""
        for model in self.models.values():
            for files in model.commits.values():
                for name in model.large & files.keys():
                    content = _read(files[name])
                    if hashlib.sha256(content).hexdigest() == sha:
                        return content
        return None


def closed_port():
    """A port of this machine that refuses connections."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _as_content(content):
    if isinstance(content, (bytes, Path)):
        return content
    return (content if isinstance(content, str) else json.dumps(content)).encode()


def _read(content):
    return content.read_bytes() if isinstance(content, Path) else content


class _OnDisk:
    """A file's bytes, read where they are asked for: a checkpoint is larger than memory."""

    def __init__(self, path):
        self._path = path

    def __len__(self):
        return self._path.stat().st_size

    def __getitem__(self, part):
        first, last, _ = part.indices(len(self))
        with self._path.open("rb") as file:
            file.seek(first)
            return file.read(max(last - first, 0))


class _Server(ThreadingHTTPServer):
    """A thread per request, none of which is waited for at the end."""

    daemon_threads = True
    request_queue_size = 128
    block_on_close = False

    def handle_error(self, *_):
        """Nothing on stderr where a client went away before its answer came."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(*_)


class _Handler(BaseHTTPRequestHandler):
    """Answers one request. Connections are not kept: each ends with its answer."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        """Nothing on stderr: the tests look at what the program writes there."""

    def do_GET(self):
        self._answer()

    def do_HEAD(self):
        self._answer()

    def _answer(self):
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.hub = self.server.hub
        self.request_seen = Request(self.command, self.path, headers.get("host", ""), headers)
        self.hub.requests.append(self.request_seen)
        self.fault = self.hub.fault_for(self.request_seen) or Fault("")
        self.hub.forgotten.wait(self.fault.delay)
        self.hub.wait_for_others(self.fault)
        if self.fault.drop:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        elif self.fault.raw is not None:
            self.close_connection = True
            self.wfile.write(self.fault.raw)
        elif self.fault.status:
            self._send(self.fault.status, b'{"error":"as the test asked for"}', {})
        else:
            self._route()

    def _route(self):
        path = urlsplit(self.path).path
        routes = (
            (_CDN, self._cdn),
            (_RESOLVE_CACHE, self._file),
            (_RESOLVE, self._resolve),
            (_INFO, self._info),
        )
        for pattern, answer in routes:
            if match := pattern.fullmatch(path):
                answer(**{name: unquote(value) for name, value in match.groupdict().items() if value})
                return
        self._send(404, b'{"error":"Sorry, we can\'t find the page you are looking for."}', {})

    def _cdn(self, sha):
        content = self.hub.large_file(sha)
        self._send(200 if content is not None else 403, content or b"", {"ETag": f'"{sha}"'})

    def _info(self, repo, revision="main"):
        model, commit = self._find(repo, revision)
        if commit is None:
            return
        body = {
            "id": model.repo,
            "modelId": model.repo,
            "sha": commit,
            "private": model.private,
            "gated": "manual" if model.gated else False,
            "downloads": 0,
            "likes": 0,
            "tags": [],
            "siblings": [{"rfilename": name} for name in model.commits[commit]],
        }
        self._send(200, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def _resolve(self, repo, revision, file):
        model, commit = self._find(repo, revision)
        if commit is None:
            return
        if file not in model.commits[commit]:
            self._refuse(404, "EntryNotFound", "Entry not found", {"X-Repo-Commit": commit})
        elif file in model.large:
            self._to_cdn(_read(model.commits[commit][file]), commit)
        elif self.hub.resolve_cache:
            place = f"/api/resolve-cache/models/{model.repo}/{commit}/{quote(file)}"
            self._send(307, b"", {"Location": place, "X-Repo-Commit": commit})
        else:
            self._file(repo, commit, file)

    def _to_cdn(self, content, commit):
        sha = hashlib.sha256(content).hexdigest()
        linked = {"X-Linked-Size": str(len(content)), "X-Linked-ETag": f'"{sha}"', "X-Repo-Commit": commit}
        self._send(302, b"", {"Location": f"{self.hub.cdn_url}/cdn/{sha}", **linked})

    def _file(self, repo, revision, file):
        content = self.hub.models[repo].commits[revision][file]
        content = _OnDisk(content) if isinstance(content, Path) else content
        told = content[:] if len(content) < 2**20 else file.encode()  # who would read gigabytes for a name
        blob = hashlib.sha1(f"blob {len(content)}\0".encode() + told).hexdigest()  # noqa: S324 - as git
        self._send(200, content, {"ETag": f'"{blob}"', "X-Repo-Commit": revision})

    def _find(self, repo, revision):
        """The model and its commit, where this request may know of them; else it is answered here."""
        if repo in self.hub.moved:
            self._send(307, b"", {"Location": self.path.replace(repo, self.hub.moved[repo], 1)})
            return None, None
        model, token = self.hub.models.get(repo), self.request_seen.token
        commit = model.commit_of(revision) if model else None
        if token and token not in self.hub.tokens:
            self._refuse(401, None, "Invalid credentials in Authorization header")
        elif model is None or (model.private and token not in model.readers):
            # the real Hub tells those without a token less than those with one
            self._refuse(404 if token else 401, "RepoNotFound", "Repository not found")
        elif model.disabled:
            self._refuse(403, None, "Access to this resource is disabled.")
        elif commit is None:
            self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        elif model.gated and token not in model.readers and "/api/models" not in self.path:
            self._refuse(403 if token else 401, "GatedRepo", f"Access to model {repo} is restricted.")
        else:
            return model, commit
        return None, None

    def _refuse(self, status, code, message, headers=None):
        extra = {"X-Error-Message": message, **({"X-Error-Code": code} if code else {}), **(headers or {})}
        self._send(status, json.dumps({"error": message}).encode(), extra)

    def _send(self, status, content, headers):
        content = content if self.fault.body is None else self.fault.body
        body, status, headers = self._part(status, content, headers)
        length = len(body) if self.fault.content_length is None else self.fault.content_length
        sent = {"Content-Length": str(length), "Accept-Ranges": "bytes", "Connection": "close"}
        self.send_response(status)
        left_out = {*self.fault.without, *(["Content-Length"] if self.fault.endless else [])}
        for name, value in {**sent, **headers, **self.fault.headers}.items():
            if name not in left_out:
                self.send_header(name, value)
        if self.fault.slow_head:
            self._trickle(b"".join(self._headers_buffer), self.fault.slow_head)
            self._headers_buffer = []
        self.end_headers()
        self.close_connection = True
        if self.command != "HEAD":
            self._write(body[: self.fault.drop_after])

    def _write(self, body):
        if self.fault.pace:
            self._trickle(body, self.fault.pace)
            return
        self.request_seen.body_bytes = len(body)
        self.wfile.write(body)
        while self.fault.endless:
            self.wfile.write(b" " * 2**16)
            self.request_seen.body_bytes += 2**16

    def _trickle(self, content, pace):
        """A byte at a time, as a slow loris does."""
        for byte in content:
            time.sleep(pace)
            self.wfile.write(bytes([byte]))
            self.request_seen.body_bytes += 1

    def _part(self, status, content, headers):
        """The bytes that a Range header asks for; the whole without one."""
        match = _RANGE.fullmatch(self.headers.get("Range", ""))
        if status != 200 or match is None:
            return content, status, headers
        size = len(content)
        if match["first"]:
            first, last = int(match["first"]), min(int(match["last"] or size - 1), size - 1)
        else:
            first, last = max(size - int(match["last"]), 0), size - 1
        if first > last:
            return b"", 416, {**headers, "Content-Range": f"bytes */{size}"}
        return content[first : last + 1], 206, {**headers, "Content-Range": f"bytes {first}-{last}/{size}"}

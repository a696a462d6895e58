"""A server with malformed or malicious responses: the token is safe, and nothing wrong is used or cached."""

import gzip
import json
import tracemalloc
from contextlib import contextmanager, suppress
from functools import cache

import pytest
from huggingface_hub import scan_cache_dir

from tests.hub_server import HubServer, closed_port
from tests.sources.lookups import (
    LOOKUPS,
    NAME,
    OWN_CODE,
    TOKEN,
    ask,
    every_lookup,
    files_below,
    options_of,
    publish,
    remaining_temporary_files,
    why_no_headers,
)
from vlm_inspect.core.errors import BadHeaderError, HubUnavailableError, SourceError
from vlm_inspect.core.model_ref import ModelRef
from vlm_inspect.sources import load
from vlm_inspect.sources.http import MOST_REDIRECTS

ZEROS = "0" * 40
WRONG_CONTENT = {
    "longer length": {"content_length": 10**6},
    "shorter length": {"content_length": 1},
    "dropped": {"drop_after": 1},
    "empty": {"body": b""},
    "HTML": {"body": b"<html>Sign in to use this network</html>"},
    "another part": {"headers": {"Content-Range": "bytes 5-9/10"}},
    "malformed range": {"headers": {"Content-Range": "bytes -1--5/x"}},
    "range not satisfiable": {"status": 416, "headers": {"Content-Range": "bytes */99999"}},
    "no content": {"status": 204},
    "not modified": {"status": 304},
    "another commit": {"headers": {"X-Repo-Commit": ZEROS}},
    "compressed": {"headers": {"Content-Encoding": "gzip"}},
    "no HTTP": {"raw": b"SSH-2.0-OpenSSH_9.6\r\n"},
    "endless headers": {"raw": b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 50_000},
    "broken chunks": {"raw": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n"},
}
ETAGS = ('"../../../../escaped"', '"/tmp/escaped"', '"' + "e" * 60_000 + '"', "", "W/W/\"'", f'"{ZEROS}"')
NO_COMMITS = ("", "main", "../" * 13 + "x", "/" * 40, "A" * 40, "0" * 39, "0" * 64)
NO_FILE_LISTS = ([], "x", None, *({"siblings": bad} for bad in ([1], [{}], {"rfilename": "x"}, 7)))


@pytest.fixture
def options(tmp_path):
    return options_of(tmp_path)


@pytest.fixture
def other():
    """Another Hub, on another port of this machine."""
    server = HubServer()
    yield server
    server.close()


# --- the token


@every_lookup
@pytest.mark.parametrize("place", ["another port", "another host"])
@pytest.mark.parametrize("status", [302, 307])
def test_token_does_not_follow_a_redirect_elsewhere(hub, other, options, tmp_path, file, look_up, place, status):
    commit = publish(hub, tmp_path)
    target = other.url if place == "another port" else other.cdn_url
    hub.fault(file, status=status, headers={"Location": f"{target}/taken{file}"})

    with pytest.raises(SourceError):
        ask(look_up, commit, options)

    assert other.requests
    assert {request.token for request in other.requests} == {None}
    assert {request.token for request in hub.requests} == {TOKEN}


def test_token_is_not_sent_again_after_a_redirect_back(hub, other, options, tmp_path):
    publish(hub, tmp_path)
    hub.fault("config.json", times=1, status=302, headers={"Location": f"{other.url}/back"})
    other.fault("/back", status=302, headers={"Location": f"{hub.url}/{NAME}/resolve/main/config.json"})

    with pytest.raises(SourceError):
        load(ModelRef(NAME), options)

    assert [request.token for request in hub.requests[:2]] == [TOKEN, None]
    assert {request.token for request in other.requests} == {None}


@every_lookup
def test_token_is_in_no_file(hub, options, tmp_path, file, look_up):
    commit = publish(hub, tmp_path)
    ask(look_up, commit, options)

    assert not any(TOKEN.encode() in path.read_bytes() for path in files_below(tmp_path))
    assert any(request.path.endswith(file) and request.token == TOKEN for request in hub.requests)


# --- redirects


@every_lookup
@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://127.0.0.1/x", "http://[::1/", "http://h:x/"])
def test_redirect_to_anything_but_http_is_refused(hub, options, tmp_path, file, look_up, location):
    commit = publish(hub, tmp_path)
    hub.fault(file, status=302, headers={"Location": location})

    with pytest.raises(HubUnavailableError, match=r"it redirects|cannot be reached"):
        ask(look_up, commit, options)

    hub.faults.clear()
    assert ask(look_up, commit, options)


@every_lookup
def test_redirect_loop_ends(hub, options, tmp_path, file, look_up):
    commit = publish(hub, tmp_path)
    hub.fault(file, status=302, headers={"Location": f"/round/{file}"})

    with pytest.raises(HubUnavailableError, match=f"redirects more than {MOST_REDIRECTS} times"):
        ask(look_up, commit, options)

    assert sum(request.path == f"/round/{file}" for request in hub.requests) == MOST_REDIRECTS


@pytest.mark.parametrize(
    ("headers", "message"),
    [({"Location": f"http://localhost:{closed_port()}/"}, "Connection refused"), ({}, "answered 302")],
)
def test_redirect_that_leads_nowhere_is_reported(hub, options, tmp_path, headers, message):
    publish(hub, tmp_path)
    hub.fault("config.json", method="GET", status=302, headers=headers)

    with pytest.raises(HubUnavailableError, match=message):
        load(ModelRef(NAME), options)


def test_redirect_to_another_host_is_followed_without_the_token(hub, other, options, tmp_path):
    publish(hub, tmp_path)
    copy = other.add_model(NAME, {"config.json": OWN_CODE})
    target = f"{other.cdn_url}/{NAME}/resolve/{copy}/config.json"
    other.fault("config.json", without=("X-Repo-Commit",))
    hub.fault("config.json", method="GET", status=302, headers={"Location": target})

    assert load(ModelRef(NAME), options).config == OWN_CODE
    assert [request.token for request in other.requests] == [None]


# --- content


def wrong_content():
    """Every lookup with every fault. Any text is valid code."""
    for kind, lookup in LOOKUPS.items():
        for name, fault in WRONG_CONTENT.items():
            if kind != "code" or "body" not in fault:
                yield pytest.param(*lookup, fault, id=f"{kind}-{name}")


@pytest.mark.parametrize(("file", "look_up", "fault"), [*wrong_content()])
def test_wrong_content_is_not_cached(hub, options, tmp_path, file, look_up, fault):
    commit = publish(hub, tmp_path)
    right = ask(look_up, commit, options_of(tmp_path / "another"))
    hub.fault(file, method="GET", **fault)

    found = right
    with suppress(HubUnavailableError, BadHeaderError):
        found = ask(look_up, commit, options)

    assert found == right
    hub.faults.clear()
    assert ask(look_up, commit, options) == right
    assert remaining_temporary_files(options) == []


@every_lookup
@pytest.mark.parametrize("etag", ETAGS, ids=range(len(ETAGS)))
def test_etag_becomes_no_path(hub, options, tmp_path, file, look_up, etag):
    commit = publish(hub, tmp_path)
    right = ask(look_up, commit, options_of(tmp_path / "another"))
    before = files_below(tmp_path)
    hub.fault(file, headers={"ETag": etag, "X-Linked-ETag": etag, "X-Xet-Hash": ZEROS})

    assert ask(look_up, commit, options) == right

    new = files_below(tmp_path) - before
    assert all(path.is_relative_to(options.cache_dir) for path in new)
    assert not any("escaped" in str(path) or ZEROS in str(path) or "eee" in str(path) for path in new)


@every_lookup
@pytest.mark.parametrize("body", [b"[]", b'{"error": {"a": []}}', b"[" * 10**5])
@pytest.mark.parametrize("status", [403, 404, 500])
def test_body_of_an_error_is_not_read(hub, options, tmp_path, file, look_up, body, status):
    commit = publish(hub, tmp_path)
    hub.fault(file, status=status, body=body, headers={"Retry-After": "99"})

    with pytest.raises(SourceError):
        ask(look_up, commit, options)


# --- one commit


@pytest.mark.parametrize("commit", NO_COMMITS)
@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_malformed_commit_becomes_no_folder(hub, options, tmp_path, method, commit):
    publish(hub, tmp_path)
    before = files_below(tmp_path)
    hub.fault("config.json", method=method, headers={"X-Repo-Commit": commit})

    with pytest.raises(HubUnavailableError, match="unexpected response"):
        load(ModelRef(NAME), options)

    assert files_below(tmp_path) == before


def test_branch_that_moves_between_head_and_get_gives_the_first_commit(hub, options, tmp_path):
    first = publish(hub, tmp_path)
    hub.fault("config.json", method="HEAD", times=1, headers={"X-Repo-Commit": first, "Content-Length": "73"})
    publish(hub, tmp_path, **{"config.json": {"model_type": "newer"}})

    checkpoint = load(ModelRef(NAME), options)

    assert (checkpoint.identity.revision, checkpoint.config) == (first, OWN_CODE)


def test_requested_commit_is_answered_by_that_commit_only(hub, options, tmp_path):
    commit = publish(hub, tmp_path)
    other = publish(hub, tmp_path, **{"config.json": {"model_type": "newer"}})
    hub.fault("config.json", method="HEAD", headers={"X-Repo-Commit": other})

    with pytest.raises(HubUnavailableError, match=f"commit {commit[:12]} was requested, and it is of another"):
        load(ModelRef(NAME, revision=commit), options)


@every_lookup
def test_every_file_is_of_the_configurations_commit(hub, options, tmp_path, file, look_up):
    commit = publish(hub, tmp_path)
    load(ModelRef(NAME), options)
    right = ask(look_up, commit, options_of(tmp_path / "another"))
    publish(hub, tmp_path, **{file: b"newer"})
    if "config" in file:
        hub.fault(file, method="HEAD", without=("Content-Length",), headers={"X-Repo-Commit": commit})

    assert ask(look_up, commit, options) == right


def test_huggingface_hub_reads_the_cache(hub, options, tmp_path):
    old, new = publish(hub, tmp_path), publish(hub, tmp_path, extra=b"x")
    load(ModelRef(NAME), options)
    load(ModelRef(NAME, revision=old), options)

    scan = scan_cache_dir(options.cache_dir)

    assert scan.warnings == []
    (repo,) = scan.repos
    refs = {revision.commit_hash: set(revision.refs) for revision in repo.revisions}
    assert refs == {old: set(), new: {"main"}}


# --- the list of files


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"\xff\xfe", b"[" * 10**6, b"9" * 10**5]
    + [json.dumps(each).encode() for each in (*NO_FILE_LISTS, {"sha": ZEROS})],
    ids=lambda body: body[:20].decode("latin-1"),
)
def test_malformed_list_of_files_is_an_error(hub, options, body):
    hub.fault("", within="/api/models/", body=body)

    with pytest.raises(HubUnavailableError, match="sent an unexpected response"):
        why_no_headers(hub, options)


def test_long_list_of_files_is_read(hub, options):
    names = [f"data/{n:06d}.bin" for n in range(50_000)] + ["\x1b[2J.bin", "pytorch_model.bin"]
    hub.fault(
        "",
        within="/api/models/",
        body=json.dumps({"siblings": [{"rfilename": name} for name in names]}).encode(),
    )

    assert "its weights in pytorch_model.bin, a pickle" in why_no_headers(hub, options)


# --- limits


@cache
def bomb():
    """About a hundred kilobytes that decompress to a hundred megabytes."""
    return gzip.compress(b"\0" * 100_000_000)


@contextmanager
def memory_below(megabytes):
    """Limit the peak memory of Python objects, including those of the server in this process."""
    tracemalloc.start(1)
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < megabytes * 10**6
    finally:
        tracemalloc.stop()


@every_lookup
@pytest.mark.parametrize("status", [None, 404, 500])
def test_compressed_body_is_not_unpacked(hub, options, tmp_path, file, look_up, status):
    commit = publish(hub, tmp_path)
    more = {"status": status} if status else {"method": "GET"}
    hub.fault(file, body=bomb(), headers={"Content-Encoding": "gzip", "Retry-After": "99"}, **more)

    with memory_below(megabytes=20), pytest.raises(SourceError):
        ask(look_up, commit, options)

    assert sum(path.stat().st_size for path in files_below(options.cache_dir)) < 10_000


@every_lookup
@pytest.mark.parametrize("status", [None, 500])
def test_endless_body_is_read_up_to_the_limit(hub, tmp_path, file, look_up, status):
    options = options_of(tmp_path, timeout=5)
    commit = publish(hub, tmp_path)
    right = ask(look_up, commit, options_of(tmp_path / "another"))
    more = {"status": status} if status else {"method": "GET"}
    hub.fault(file, endless=True, headers={"Retry-After": "99"}, **more)

    found = right
    with memory_below(megabytes=250), suppress(SourceError):  # an index may have a hundred
        found = ask(look_up, commit, options)

    assert found == right
    assert remaining_temporary_files(options) == []


def test_wrong_size_is_an_error(hub, options, tmp_path):
    publish(hub, tmp_path)
    hub.fault("config.json", method="HEAD", headers={"X-Linked-Size": "5"})

    with pytest.raises(HubUnavailableError, match="received 73 of 5 bytes"):
        load(ModelRef(NAME), options)


@pytest.mark.parametrize("size", ["-1", "x", "9" * 5000, "1e3", "٣"])
def test_malformed_size_is_ignored(hub, options, tmp_path, size):
    publish(hub, tmp_path)
    hub.fault("config.json", method="HEAD", headers={"X-Linked-Size": size.encode().decode("latin-1")})

    assert load(ModelRef(NAME), options).config == OWN_CODE

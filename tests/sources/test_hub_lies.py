"""A Hub whose answers are not what they say: nothing of them is believed unseen, or kept."""

import gzip
import json
import tracemalloc
import zlib
from contextlib import contextmanager, suppress
from functools import cache

import pytest
from huggingface_hub import scan_cache_dir

from tests.sources.lookups import (
    NAME,
    OWN_CODE,
    READER,
    ask,
    ask_for_the_list,
    every_lookup,
    half_written,
    options_of,
    publish,
)
from vlm_inspect.errors import BadHeaderError, HubUnavailableError, InvalidConfigError, SourceError
from vlm_inspect.ref import ModelRef
from vlm_inspect.sources import load

# what no answer to a request may be
NO_ANSWERS = {
    "nothing": b"",
    "noise": bytes(range(256)) * 40,
    "no status": b"HTTP/1.1 \r\n\r\n",
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n",
    "a header without end": b"HTTP/1.1 200 OK\r\nX: " + b"a" * 300_000,
    "headers without end": b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 50_000,
    "chunks of no size": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "a chunk of a negative size": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n{}\r\n",
    "a chunk that ends early": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{}",
    "a length that is no number": b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n{}",
    "a negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
}
# what a Hub may say of a file that it gives; the file is right
BESIDE_THE_POINT = {
    "an ETag that leads out of the cache": {"ETag": '"../../../../escaped"'},
    "an ETag that is a path": {"ETag": '"/tmp/escaped"'},
    "an ETag without end": {"ETag": '"' + "e" * 60_000 + '"'},
    "an ETag that is empty": {"ETag": ""},
    "an ETag of no form": {"ETag": "W/W/\"'"},
    "a weak ETag": {"ETag": 'W/"0123"'},
    "a hash in Xet's store": {"X-Xet-Hash": "0" * 64, "X-Xet-Refresh-Route": "http://169.254.169.254/"},
    "a link to Xet's store": {"Link": '<http://169.254.169.254/>; rel="xet-auth"', "X-Xet-Hash": "0" * 64},
    "a cookie": {"Set-Cookie": "a=b"},
}
NO_COMMITS = ("", "main", "../" * 13 + "x", "/" * 40, "A" * 40, "0" * 39, "0" * 41, "0" * 64, "g" * 40)
NO_LISTS = {
    "a list": [],
    "a text": "x",
    "null": None,
    "a list of numbers": {"siblings": [1, 2]},
    "siblings without names": {"siblings": [{}]},
    "names that are numbers": {"siblings": [{"rfilename": 7}]},
    "siblings that are an object": {"siblings": {"rfilename": "x"}},
    "siblings that are a number": {"siblings": 7},
    "another commit": {"sha": "0" * 40, "siblings": []},
}


@pytest.fixture
def options(tmp_path):
    return options_of(tmp_path)


def files_below(folder):
    return {path for path in folder.rglob("*") if path.is_file()}


@every_lookup
@pytest.mark.parametrize("said", NO_ANSWERS.values(), ids=NO_ANSWERS.keys())
def test_what_is_no_answer_is_an_error_and_is_not_kept(hub, options, tmp_path, file, look_up, said):
    commit = publish(hub, tmp_path)
    hub.fault(file, raw=said)

    with pytest.raises(HubUnavailableError) as caught:
        ask(look_up, commit, options)

    assert caught.value.hint
    assert "\n" not in caught.value.message
    hub.faults.clear()
    assert ask(look_up, commit, options) == ask(look_up, commit, options_of(tmp_path / "another"))
    assert half_written(options) == []


@every_lookup
@pytest.mark.parametrize(
    "fault",
    [
        {"method": "GET", "content_length": 10**6},
        {"method": "GET", "content_length": 1},
        {"method": "GET", "drop_after": 1},
        {"method": "GET", "body": b""},
        {"method": "GET", "body": b"<html>Sign in to use this network</html>"},
        {"method": "GET", "body": b'{"model_type": "another", "weight_map": {}}'},
        {"method": "GET", "headers": {"Content-Range": "bytes 5-9/10"}},
        {"method": "GET", "headers": {"Content-Range": "bytes 0-0/10"}},
        {"method": "GET", "headers": {"Content-Range": "bytes -1--5/x"}},
        {"method": "GET", "status": 416, "headers": {"Content-Range": "bytes */99999"}},
        {"method": "GET", "status": 204},
        {"method": "GET", "status": 304},
        {"method": "GET", "headers": {"X-Repo-Commit": "0" * 40}},
        {"method": "GET", "headers": {"Content-Encoding": "gzip"}},
    ],
    ids=lambda fault: "-".join(f"{name}={value}"[:40] for name, value in fault.items() if name != "method"),
)
def test_content_that_is_not_what_it_should_be_is_not_kept(hub, options, tmp_path, file, look_up, fault):
    commit = publish(hub, tmp_path)
    right = ask(look_up, commit, options_of(tmp_path / "another"))
    hub.fault(file, **fault)

    try:
        found = ask(look_up, commit, options)
    except (HubUnavailableError, BadHeaderError):
        found = right

    assert found == right
    hub.faults.clear()
    assert ask(look_up, commit, options) == right
    assert half_written(options) == []


@every_lookup
@pytest.mark.parametrize("said", BESIDE_THE_POINT.values(), ids=BESIDE_THE_POINT.keys())
def test_what_is_said_beside_the_file_does_not_matter(hub, options, tmp_path, file, look_up, said):
    commit = publish(hub, tmp_path)
    right = ask(look_up, commit, options_of(tmp_path / "another"))
    before = files_below(tmp_path)
    hub.fault(file, headers=said)

    assert ask(look_up, commit, options) == right

    new = files_below(tmp_path) - before
    assert all(path.is_relative_to(options.cache_dir) for path in new)
    assert not any("escaped" in str(path) for path in new)
    assert {request.host.split(":")[0] for request in hub.requests} == {"127.0.0.1"}


def test_the_etag_of_a_redirect_is_not_that_of_the_file(hub, options, tmp_path):
    publish(hub, tmp_path)
    hub.resolve_cache = True
    hub.fault("config.json", within="/resolve/", headers={"ETag": f'"{"0" * 40}"'})

    assert load(ModelRef(NAME), options).config == OWN_CODE


@pytest.mark.parametrize("said", NO_COMMITS)
@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_a_commit_that_can_be_none_is_no_folder(hub, options, tmp_path, method, said):
    publish(hub, tmp_path)
    before = files_below(tmp_path)
    hub.fault("config.json", method=method, headers={"X-Repo-Commit": said})

    with pytest.raises(HubUnavailableError, match=r"(not|answer) as a Hub does"):
        load(ModelRef(NAME), options)

    assert files_below(tmp_path) == before


def test_the_hub_s_own_tools_read_what_is_kept(hub, options, tmp_path):
    old, new = publish(hub, tmp_path), publish(hub, tmp_path, extra=b"x")
    load(ModelRef(NAME), options)
    load(ModelRef(NAME, revision=old), options)

    scan = scan_cache_dir(options.cache_dir)

    assert scan.warnings == []
    (repo,) = scan.repos
    assert {revision.commit_hash: set(revision.refs) for revision in repo.revisions} == {
        old: set(),
        new: {"main"},
    }
    assert scan.delete_revisions(old).expected_freed_size > 0


# --- one model's answer is of one commit


def test_a_branch_that_moves_between_head_and_get_gives_the_commit_of_the_head(hub, options, tmp_path):
    first = publish(hub, tmp_path)
    hub.fault("config.json", method="HEAD", times=1, headers={"X-Repo-Commit": first, "Content-Length": "73"})
    publish(hub, tmp_path, **{"config.json": {"model_type": "newer"}})

    checkpoint = load(ModelRef(NAME), options)

    assert (checkpoint.identity.revision, checkpoint.config) == (first, OWN_CODE)


def test_a_full_commit_is_answered_by_that_commit_alone(hub, options, tmp_path):
    commit = publish(hub, tmp_path)
    other = publish(hub, tmp_path, **{"config.json": {"model_type": "newer"}})
    hub.fault("config.json", method="HEAD", headers={"X-Repo-Commit": other})

    with pytest.raises(HubUnavailableError, match=f"commit {commit[:12]} was asked for, and another came"):
        load(ModelRef(NAME, revision=commit), options)


@every_lookup
def test_all_that_is_asked_for_a_model_is_of_its_configuration_s_commit(
    hub, options, tmp_path, file, look_up
):
    commit = publish(hub, tmp_path)
    load(ModelRef(NAME), options)
    right = ask(look_up, commit, options_of(tmp_path / "another"))
    publish(hub, tmp_path, **{file: b"newer"})
    if "config" in file:
        hub.fault(file, method="HEAD", times=1, headers={"X-Repo-Commit": commit, "Content-Length": "0"})
        hub.fault(file, method="HEAD", without=("Content-Length",), headers={"X-Repo-Commit": commit})
        hub.faults.pop(0)

    assert ask(look_up, commit, options) == right


# --- the list of files


@pytest.mark.parametrize("said", NO_LISTS.values(), ids=NO_LISTS.keys())
def test_a_list_of_files_that_is_none_is_an_error(hub, options, said):
    hub.fault("", within="/api/models/", body=json.dumps(said).encode())

    with pytest.raises(HubUnavailableError, match="does not answer as a Hub does"):
        ask_for_the_list(hub, options)


@pytest.mark.parametrize("said", [b"", b"<html>", b"\xff\xfe", b"[" * 10**6, b'{"a": 1', b"9" * 10**5])
def test_a_list_of_files_that_is_no_json_is_an_error(hub, options, said):
    hub.fault("", within="/api/models/", body=said)

    with pytest.raises(HubUnavailableError, match="its answer is"):
        ask_for_the_list(hub, options)


def test_a_long_list_of_files_is_read(hub, options):
    names = [f"data/{n:06d}.bin" for n in range(50_000)] + ["\x1b[2J.bin", "pytorch_model.bin"]
    said = {"siblings": [{"rfilename": name} for name in names]}
    hub.fault("", within="/api/models/", body=json.dumps(said).encode())

    assert "its weights as pytorch_model.bin, a pickle" in ask_for_the_list(hub, options)


# --- what is too much


def refusals():
    """Bodies of refusals that a reader would choke on."""
    shapes = [
        "[]",
        '"x"',
        "7",
        '{"error": 7}',
        '{"error": {"a": []}}',
        '{"errors": [1]}',
        '{"errors": 5}',
        "[" * 10**5,
    ]
    return [shape.encode() for shape in shapes]


@every_lookup
@pytest.mark.parametrize("body", refusals(), ids=lambda body: body[:20].decode())
@pytest.mark.parametrize("status", [403, 404, 500])
def test_the_body_of_a_refusal_does_not_matter(hub, options, tmp_path, file, look_up, body, status):
    commit = publish(hub, tmp_path)
    hub.fault(file, status=status, body=body, headers={"Retry-After": "99"})

    with pytest.raises(SourceError):
        ask(look_up, commit, options)


@cache
def bomb(module):
    """Some hundred kilobytes that stand for a hundred megabytes."""
    return module.compress(b"\0" * 100_000_000)


@contextmanager
def no_more_memory_than(megabytes):
    """What Python's objects take at their peak, those of the server in this process included."""
    tracemalloc.start(1)
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < megabytes * 10**6
    finally:
        tracemalloc.stop()


@every_lookup
@pytest.mark.parametrize(
    ("encoding", "status"),
    [
        ("gzip", None),
        ("deflate", None),
        ("zstd", None),
        ("gzip, gzip", None),
        ("gzip", 404),
        ("deflate", 500),
    ],
)
def test_a_body_that_grows_when_unpacked_is_not_unpacked(
    hub, options, tmp_path, file, look_up, encoding, status
):
    commit = publish(hub, tmp_path)
    more = {"status": status} if status else {"method": "GET"}
    body = bomb(zlib if encoding == "deflate" else gzip)
    hub.fault(file, body=body, headers={"Content-Encoding": encoding, "Retry-After": "99"}, **more)

    with no_more_memory_than(megabytes=20), pytest.raises(SourceError):
        ask(look_up, commit, options)

    assert sum(path.stat().st_size for path in files_below(options.cache_dir)) < 10_000


@every_lookup
@pytest.mark.parametrize("status", [None, 403, 500])
def test_a_body_without_end_is_left(hub, tmp_path, file, look_up, status):
    """A length is announced by none of them; a configuration is read up to what one may have."""
    options = options_of(tmp_path, deadline=5)
    commit = publish(hub, tmp_path)
    right = ask(look_up, commit, options_of(tmp_path / "another"))
    more = {"status": status} if status else {"method": "GET"}
    hub.fault(file, endless=True, headers={"Retry-After": "99"}, **more)

    found = right
    with no_more_memory_than(megabytes=250), suppress(SourceError):  # an index may have a hundred
        found = ask(look_up, commit, options)

    assert found == right
    assert half_written(options) == []


def test_a_configuration_without_end_is_said_to_be_too_long(hub, options, tmp_path):
    publish(hub, tmp_path)
    hub.fault("config.json", method="GET", endless=True, status=200)

    with pytest.raises((InvalidConfigError, HubUnavailableError)):
        load(ModelRef(NAME), options)


def test_a_size_that_lies_is_found_out(hub, options, tmp_path):
    publish(hub, tmp_path)
    hub.fault("config.json", method="HEAD", headers={"X-Linked-Size": "5"})

    with pytest.raises(HubUnavailableError, match="bytes came of 5"):
        load(ModelRef(NAME), options)


@pytest.mark.parametrize("size", ["-1", "x", "9" * 5000, "1e3", "٣"])
def test_a_size_that_is_none_is_no_size(hub, options, tmp_path, size):
    publish(hub, tmp_path)
    hub.fault("config.json", method="HEAD", headers={"X-Linked-Size": size.encode().decode("latin-1")})

    assert load(ModelRef(NAME), options).config == OWN_CODE


def test_a_cache_that_may_not_be_written_keeps_nothing_half(hub, tmp_path):
    publish(hub, tmp_path)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "models--org--name").write_text("in the way")

    with pytest.raises(SourceError, match="the Hub's cache cannot be used"):
        load(ModelRef(NAME), options_of(tmp_path))

    assert (tmp_path / "cache" / "models--org--name").read_text() == "in the way"


@every_lookup
def test_the_token_is_in_no_file(hub, options, tmp_path, file, look_up):
    commit = publish(hub, tmp_path)
    ask(look_up, commit, options)

    assert not any(READER.encode() in path.read_bytes() for path in files_below(tmp_path))
    assert any(request.path.endswith(file) and request.token == READER for request in hub.requests)

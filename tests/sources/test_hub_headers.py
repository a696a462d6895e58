"""Headers of safetensors files on the Hub, over HTTP: the requests that are sent, and the cache."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from huggingface_hub import constants, hf_hub_download

from tests import sparse
from vlm_inspect.core.errors import BadHeaderError, HubUnavailableError, NoHeadersError
from vlm_inspect.core.model_ref import ModelIdentity, ModelRef
from vlm_inspect.core.options import InspectOptions
from vlm_inspect.sources import headers

NAME = "org/name"
TWO = {"a.weight": (4, 3), "b.weight": (5,)}


def decoder(layers=32, width=4096, inner=11008):
    """The tensors of a 7B model's decoder: 14 GB."""
    tensors = {"language_model.model.embed_tokens.weight": (32064, width)}
    for layer in range(layers):
        path = f"language_model.model.layers.{layer}"
        tensors |= {f"{path}.self_attn.{name}_proj.weight": (width, width) for name in "qkvo"}
        tensors |= {f"{path}.mlp.{name}_proj.weight": (inner, width) for name in ("gate", "up")}
        tensors[f"{path}.mlp.down_proj.weight"] = (width, inner)
        tensors |= {f"{path}.{name}_layernorm.weight": (width,) for name in ("input", "post_attention")}
    return tensors | {"language_model.lm_head.weight": (32064, width)}


def publish(hub, folder, **who):
    """The files of a folder as a model; returns what its configuration's identity would be."""
    files = {path.name: path for path in folder.iterdir()}
    return ModelIdentity(NAME, hub.add_model(NAME, files, **who))


def ask(identity, options, **how):
    return headers.load(ModelRef(NAME), identity, options, **how)


def sharded(tmp_path, tensors=None, shards=2):
    return sparse.write_sharded(tmp_path / "m", tensors or TWO, shards)


@pytest.fixture
def identity(hub, tmp_path):
    """A model of two shards."""
    sharded(tmp_path)
    return publish(hub, tmp_path / "m")


# --- requests


@pytest.mark.parametrize("shards", [1, 4, 12])
def test_only_headers_are_fetched(hub, options, tmp_path, shards):
    tensors = decoder(36)
    if shards == 1:
        size = sparse.write(tmp_path / "m" / "model.safetensors", tensors)
    else:
        size = sharded(tmp_path, tensors, shards)
    identity = publish(hub, tmp_path / "m")

    found = ask(identity, options)

    assert {tensor.name: tensor.shape for tensor in found.tensors} == tensors
    assert (found.header_bytes, found.total_bytes > 15 * 10**9) == (size, True)
    fetched = [request for request in hub.requests if request.path.endswith(".safetensors")]
    assert sum(request.body_bytes for request in fetched) <= 1.1 * size
    assert len(hub.requests) <= 2 * shards + 3


def test_shard_in_large_file_storage_takes_no_more_requests(hub, options, tmp_path):
    tensors = {f"language_model.model.layers.{n}.mlp.up_proj.weight": (64, 32) for n in range(40)}
    size = sharded(tmp_path, tensors, 4)
    files = {path.name: path.read_bytes() for path in (tmp_path / "m").iterdir()}
    large = {name for name in files if name.endswith(".safetensors")}
    identity = ModelIdentity(NAME, hub.add_model(NAME, files, large=large, private=True, readers={"hf_right"}))

    found = headers.load(ModelRef(NAME), identity, InspectOptions("hf_right", options.cache_dir))

    assert len(found.tensors) == 40
    assert len(hub.requests) <= 2 * 4 + 3
    from_cdn = [request for request in hub.requests if "/cdn/" in request.path]
    assert {request.token for request in from_cdn} == {None}
    assert sum(request.body_bytes for request in from_cdn) <= 1.1 * size


def test_commit_of_the_configuration_is_requested(hub, identity, options):
    hub.add_model(NAME, {"config.json": b"{}"})

    assert len(ask(identity, options).tensors) == 2
    assert all(f"/resolve/{identity.revision}/" in request.path for request in hub.requests)


def test_shards_are_requested_concurrently(hub, options, tmp_path):
    sharded(tmp_path, decoder(8), 8)
    identity = publish(hub, tmp_path / "m")
    hub.fault("of-00008.safetensors", method="GET", together=8)

    assert len(ask(identity, options).files) == 8


@pytest.mark.parametrize("length", [99_999, 100_000, 100_001])
def test_header_of_any_length_is_read(hub, options, length):
    tensors = {f"layers.{n:06d}.weight": (2,) for n in range(1000)}
    text = sparse.header(tensors)[0][8:]
    content = length.to_bytes(8, "little") + text.rstrip() + b" " * (length - len(text.rstrip())) + b"\0" * 4000
    identity = ModelIdentity(NAME, hub.add_model(NAME, {"model.safetensors": content}))

    assert len(ask(identity, options).tensors) == 1000
    assert sum(request.body_bytes for request in hub.requests) == length + 8


# --- cache


def test_headers_are_cached_by_commit(hub, identity, options, offline):
    found = ask(identity, options)
    hub.requests.clear()

    assert ask(identity, options) == found
    assert ask(identity, offline) == found
    assert hub.requests == []


def test_caches_are_separate(identity, options, tmp_path):
    ask(identity, options)
    elsewhere = InspectOptions(cache_dir=tmp_path / "elsewhere", offline=True)
    with pytest.raises(HubUnavailableError, match="Offline, and the cache has no headers of org/name at commit"):
        ask(identity, elsewhere)
    assert (tmp_path / "cache" / "models--org--name").is_dir()


def test_downloaded_model_needs_no_request(hub, identity, options):
    for name in hub.models[NAME].commits[identity.revision]:
        hf_hub_download(NAME, name, revision=identity.revision, cache_dir=options.cache_dir)
    hub.requests.clear()

    assert len(ask(identity, options).tensors) == 2
    assert hub.requests == []


def test_offline_a_download_may_be_unfinished(identity, options, offline):
    for name in ("model.safetensors.index.json", "model-00001-of-00002.safetensors"):
        hf_hub_download(NAME, name, revision=identity.revision, cache_dir=options.cache_dir)

    found = ask(identity, offline)

    assert found.missing == {"model-00002-of-00002.safetensors": ("b.weight",)}


def test_unwritable_cache_is_no_error(tmp_path, identity):
    (tmp_path / "file").write_text("in the way")
    assert len(ask(identity, InspectOptions(cache_dir=tmp_path / "file")).tensors) == 2


def test_cache_holds_the_headers_and_the_index_only(hub, options, tmp_path):
    sharded(tmp_path)
    ask(publish(hub, tmp_path / "m"), options)
    cached = [path.name for path in Path(options.cache_dir).rglob("*") if path.is_file()]
    assert sorted(cached) == [
        "model-00001-of-00002.safetensors.header",
        "model-00002-of-00002.safetensors.header",
        "model.safetensors.index.json",
    ]


# --- errors


def test_repo_of_pickles_is_an_error_that_says_so(hub, options):
    identity = ModelIdentity(NAME, hub.add_model(NAME, {"pytorch_model.bin": b"\x80\x04", "config.json": "{}"}))
    with pytest.raises(NoHeadersError, match=r"pytorch_model\.bin, a pickle, which is never opened"):
        ask(identity, options)
    assert not any("pytorch_model" in request.path for request in hub.requests)


def test_missing_shard_is_an_error(hub, options, tmp_path):
    sharded(tmp_path)
    (tmp_path / "m" / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(BadHeaderError, match=r"of-00002\.safetensors cannot be read: the index names the file"):
        ask(publish(hub, tmp_path / "m"), options)


def test_too_long_header_is_not_fetched(hub, options):
    content = (200_000_000).to_bytes(8, "little") + b" " * 100_000
    identity = ModelIdentity(NAME, hub.add_model(NAME, {"model.safetensors": content}))
    with pytest.raises(BadHeaderError, match="has a length of 200,000,000 bytes; the limit is"):
        ask(identity, options)
    assert sum(request.body_bytes for request in hub.requests) == 8


@pytest.fixture
def endless(monkeypatch):
    """A server that ignores ranges, and sends every file from its start without end."""

    class Endless(BaseHTTPRequestHandler):
        sent = 0

        def log_message(self, *_):
            pass

        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "application/octet-stream")
            self.end_headers()
            text = json.dumps({"a": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}).encode()
            self.wfile.write(len(text).to_bytes(8, "little") + text)
            try:
                while Endless.sent < 10**9:
                    self.wfile.write(b"\0" * 65536)
                    Endless.sent += 65536
            except OSError:
                pass

    server = HTTPServer(("127.0.0.1", 0), Endless)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    yield Endless
    server.shutdown()
    server.server_close()


def test_server_without_ranges_is_read_up_to_the_header(endless, options):
    found = ask(ModelIdentity(NAME, "0" * 40), options)
    assert [tensor.name for tensor in found.tensors] == ["a"]
    assert endless.sent < 50_000_000

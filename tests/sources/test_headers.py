"""Headers of safetensors files on this machine: whole, sharded, unfinished, damaged and hostile."""

import json
import os
import resource
import tracemalloc
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests import sparse
from vlm_inspect.core.errors import BadHeaderError, NoHeadersError
from vlm_inspect.core.model_ref import ModelIdentity, ModelRef
from vlm_inspect.core.tensors import TensorInfo
from vlm_inspect.sources import headers
from vlm_inspect.sources.safetensors import HEADER_LIMIT

TWO = {"a.weight": (4, 3), "b.weight": (5,)}
LOCAL = ModelIdentity("m", source="local")


def entry(shape=(2,), offsets=(0, 4), dtype="BF16"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def one(text, data=b""):
    """A file with this header."""
    text = text if isinstance(text, bytes) else json.dumps(text).encode()
    return len(text).to_bytes(8, "little") + text + data


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "m"


def read(folder, *, adapter=False):
    return headers.load(ModelRef(str(folder), path=folder), LOCAL, adapter=adapter)


def read_bytes(tmp_path, content):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    return headers.read_file(path)


# --- what is right


def test_a_single_file_says_names_types_shapes_and_places(folder):
    size = sparse.write(folder / "model.safetensors", {"b": ("F32", (5,)), "a.weight": (4, 3)})
    found = read(folder)
    assert found.tensors == (
        TensorInfo("b", "F32", (5,), 20, "model.safetensors", 0),
        TensorInfo("a.weight", "BF16", (4, 3), 24, "model.safetensors", 20),
    )
    assert (found.header_bytes, found.total_bytes) == (size, 44)
    assert (found.metadata, found.missing, found.notes) == ({"format": "pt"}, {}, ())


def test_shards_are_read_by_the_index(folder):
    sparse.write_sharded(folder, {f"layers.{n}.weight": (n + 1, 2) for n in range(9)}, 4)
    found = read(folder)
    assert [tensor.name for tensor in found.tensors] == [f"layers.{n}.weight" for n in range(9)]
    assert len(found.files) == 4


def test_a_single_file_is_preferred_to_an_index(folder):
    sparse.write_sharded(folder, TWO, 2)
    sparse.write(folder / "model.safetensors", {"only": (1,)})
    assert [tensor.name for tensor in read(folder).tensors] == ["only"]


def test_an_adapter_has_headers_too(folder):
    sparse.write(folder / "adapter_model.safetensors", TWO)
    assert {tensor.name for tensor in read(folder, adapter=True).tensors} == set(TWO)
    with pytest.raises(NoHeadersError, match="it has adapter_model"):
        read(folder)


def test_the_headers_of_a_config_file_lie_beside_it(folder):
    sparse.write(folder / "model.safetensors", TWO)
    (folder / "config.json").write_text("{}")
    assert len(read(folder / "config.json").tensors) == 2


def test_what_safetensors_itself_writes_is_read(folder):
    folder.mkdir()
    save_file({"x": torch.zeros(3, 4), "y": torch.zeros((), dtype=torch.int64)}, folder / "model.safetensors")
    assert {t.name: (t.dtype, t.shape) for t in read(folder).tensors} == {
        "x": ("F32", (3, 4)),
        "y": ("I64", ()),
    }


@pytest.mark.parametrize("length", [99_999, 100_000, 100_001])
def test_the_length_of_a_header_is_no_matter(folder, length):
    entries = {f"layers.{n:06d}.weight": entry(offsets=(4 * n, 4 * n + 4)) for n in range(1000)}
    text = json.dumps(entries).encode()
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(one(text + b" " * (length - len(text)), b"\0" * 4000))
    found = read(folder)
    assert (len(found.tensors), found.header_bytes) == (1000, length + 8)


# --- what is not there


def test_a_pickle_is_never_opened(folder):
    folder.mkdir()
    os.mkfifo(folder / "pytorch_model.bin")  # to open it would take for ever
    with pytest.raises(
        NoHeadersError, match=r"pytorch_model\.bin, a pickle, which is never opened: only its conf"
    ):
        read(folder)


def test_an_empty_folder_has_no_headers(folder):
    folder.mkdir()
    with pytest.raises(
        NoHeadersError, match=r"has no model.safetensors and no model.safetensors.index.json\."
    ):
        read(folder)


def test_an_unfinished_download_says_which_files_are_missing(folder):
    sparse.write_sharded(folder, {f"layers.{n}.weight": (4, 4) for n in range(8)}, 4)
    (folder / "model-00002-of-00004.safetensors").unlink()
    (folder / "model-00003-of-00004.safetensors").write_bytes(b"\x10\0\0")
    (folder / "model-00004-of-00004.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")
    found = read(folder)
    assert [tensor.name for tensor in found.tensors] == ["layers.0.weight", "layers.1.weight"]
    assert found.missing == {
        f"model-0000{n}-of-00004.safetensors": (f"layers.{2 * n - 2}.weight", f"layers.{2 * n - 1}.weight")
        for n in (2, 3, 4)
    }


def test_a_file_that_ends_before_its_tensors_do_is_cut(folder):
    sparse.write_sharded(folder, TWO, 2)
    last = folder / "model-00002-of-00002.safetensors"
    os.truncate(last, last.stat().st_size - 1)
    assert [file.is_cut for file in read(folder).files] == [False, True]


def test_without_an_index_the_files_are_known_by_their_numbers(folder):
    sparse.write_sharded(folder, TWO, 2)
    (folder / "model.safetensors.index.json").unlink()
    (folder / "model-00002-of-00002.safetensors").unlink()
    found = read(folder)
    assert found.missing == {"model-00002-of-00002.safetensors": ()}
    assert "model.safetensors.index.json is missing" in found.notes[0]


def test_where_index_and_files_disagree_both_are_told(folder):
    sparse.write_sharded(folder, TWO, 2)
    index = folder / "model.safetensors.index.json"
    index.write_text(index.read_text().replace("b.weight", "c.weight"))
    found = read(folder)
    assert {tensor.name for tensor in found.tensors} == set(TWO)
    assert found.notes == (
        "The index names c.weight, which its files do not hold.",
        "The files hold b.weight, which the index does not name.",
    )


# --- what is wrong

HOSTILE = {
    "of eight bytes": ((8).to_bytes(8, "little"), "says 8 bytes, more than follow"),
    "of seven bytes": (b"\0" * 7, "the file has 7 bytes, and it starts with eight"),
    "of no bytes": (b"", "the file has 0 bytes"),
    "with a length of nothing": ((0).to_bytes(8, "little"), "is empty"),
    "with a length of 2**63": ((2**63).to_bytes(8, "little") + b"{}", "says 9,223,372,036,854,775,808 bytes"),
    "with a length past the end": ((100).to_bytes(8, "little") + b"{}", "says 100 bytes, more than follow"),
    "that is no JSON": (one(b"{nothing"), "is not JSON"),
    "that is a list": (one([]), "is not a JSON object"),
    "that is no UTF-8": (one(b'{"\xff": 1}'), "is not UTF-8"),
    "that nests deep": (one(b'{"a":' + b"[" * 100_000), "is nested too deep"),
    "with a number of thousands of digits": (
        one(b'{"a":{"dtype":"F32","shape":[' + b"9" * 10_000 + b'],"data_offsets":[0,4]}}'),
        "a number that is too long",
    ),
    "with overlapping places": (one({"a": entry(), "b": entry(offsets=(2, 6))}, b"\0" * 6), "overlaps"),
    "with a hole": (
        one({"a": entry(), "b": entry(offsets=(6, 10))}, b"\0" * 10),
        "leaves bytes before it unused",
    ),
    "with a shape that is not its place": (
        one({"a": entry(shape=(3,))}, b"\0" * 4),
        "4 bytes, which do not fit BF16",
    ),
    "with a name twice": (
        one(
            b'{"a":' + json.dumps(entry()).encode() + b',"a":' + json.dumps(entry()).encode() + b"}",
            b"\0" * 4,
        ),
        "has 'a' twice",
    ),
    "with a field twice": (one(b'{"a":{"dtype":"F32","dtype":"F16"}}'), "has 'dtype' twice"),
    "of an unknown dtype": (one({"a": entry(dtype="F7")}, b"\0" * 4), "an unknown dtype: 'F7'"),
    "of a dtype that is no text": (one({"a": entry(dtype=["F32"])}, b"\0" * 4), "an unknown dtype"),
    "with a way out in a name": (
        one({"../../x": entry()}, b"\0" * 4),
        "named '../../x', which no module can be",
    ),
    "with an empty name": (one({"": entry()}, b"\0" * 4), "named ''"),
    "with a name of terminal escapes": (one({"\x1b[2J": entry()}, b"\0" * 4), "which no module can be"),
    "with a negative size": (one({"a": entry(shape=(-2,))}, b"\0" * 4), "an invalid shape"),
    "with a size of true": (one({"a": entry(shape=(True, 2))}, b"\0" * 4), "an invalid shape"),
    "with a hundred dimensions": (one({"a": entry(shape=(1,) * 100)}, b"\0" * 4), "an invalid shape"),
    "with places the wrong way round": (one({"a": entry(offsets=(4, 0))}, b"\0" * 4), "invalid data_offsets"),
    "without places": (one({"a": {"dtype": "F32", "shape": []}}), "no dtype, shape and data_offsets"),
    "with metadata of numbers": (
        one({"__metadata__": {"a": 1}}),
        "a __metadata__ that does not map text to text",
    ),
    "with bytes after the last tensor": (one({"a": entry()}, b"\0" * 5), "all but 1 of the file's bytes"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_header_that_breaks_the_format_is_an_error_that_says_how(tmp_path, kind):
    content, said = HOSTILE[kind]
    with pytest.raises(BadHeaderError) as caught:
        read_bytes(tmp_path, content)
    assert said in caught.value.message
    assert caught.value.hint
    assert caught.value.message.isprintable()


def test_a_header_of_200_megabytes_is_refused_by_a_stated_limit(tmp_path):
    path = tmp_path / "model.safetensors"
    with path.open("wb") as file:
        file.write((200_000_000).to_bytes(8, "little"))
        file.truncate(200_000_008)
    tracemalloc.start()
    with pytest.raises(BadHeaderError, match=f"says 200,000,000 bytes, and the limit is {HEADER_LIMIT:,}"):
        headers.read_file(path)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_many_headers_that_are_too_long_together_are_refused_before_they_are_read(folder):
    shards = [f"model-{number:05d}-of-00011.safetensors" for number in range(1, 12)]
    folder.mkdir()
    for shard in shards:
        with (folder / shard).open("wb") as file:
            file.write(HEADER_LIMIT.to_bytes(8, "little"))
            file.truncate(HEADER_LIMIT + 8)
    with pytest.raises(BadHeaderError, match="and the others have more than 250,000,000 bytes together"):
        read(folder)


def test_the_data_of_a_file_is_not_read(folder):
    sparse.write(folder / "model.safetensors", {"a": (100_000, 100_000)})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert read(folder).total_bytes == 2 * 10**10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


@pytest.mark.parametrize(
    ("shard", "said"),
    [
        ("../model-00001.safetensors", "outside of the model's folder"),
        ("/etc/passwd.safetensors", "outside of the model's folder"),
        ("a/../../b.safetensors", "outside of the model's folder"),
        ("..\\b.safetensors", "outside of the model's folder"),
        ("C:b.safetensors", "outside of the model's folder"),
        ("config.json", "which is no safetensors file"),
        (["a.safetensors"], "which is no safetensors file"),
        ("\x1b[2J.safetensors", "which is no safetensors file"),
    ],
)
def test_an_index_names_nothing_outside_of_its_folder(folder, shard, said):
    folder.mkdir()
    index = {"weight_map": {"a.weight": shard}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(BadHeaderError, match=said):
        read(folder)


@pytest.mark.parametrize(
    ("index", "said"),
    [
        ("{", "is not JSON"),
        ("{}", "has no weight_map"),
        ('{"weight_map": []}', "has no weight_map"),
        ('{"weight_map": {"a..b": "a.safetensors"}}', "which no module can be"),
        (json.dumps({"weight_map": {f"a{n}": f"{n}.safetensors" for n in range(2001)}}), "names 2,001 files"),
    ],
)
def test_a_damaged_index_is_an_error_that_says_how(folder, index, said):
    folder.mkdir()
    (folder / "model.safetensors.index.json").write_text(index)
    with pytest.raises(BadHeaderError, match=said):
        read(folder)


def test_a_device_is_no_file_of_tensors(folder):
    folder.mkdir()
    (folder / "model.safetensors").symlink_to("/dev/zero")
    with pytest.raises(BadHeaderError, match="is not a file"):
        read(folder)


def test_a_file_that_may_not_be_read_is_an_error_that_says_so(tmp_path):
    with pytest.raises(NoHeadersError, match="cannot be read"):
        headers.load(ModelRef("m", path=tmp_path / ("x" * 300)), LOCAL)


def test_headers_of_a_catalogue_model_are_not_to_be_had():
    with pytest.raises(NoHeadersError, match="built-in catalogue"):
        headers.load(ModelRef("org/name"), ModelIdentity("org/name", source="catalogue"))


def test_a_link_into_the_cache_is_followed(folder, tmp_path):
    sparse.write(tmp_path / "blobs" / "1234", TWO)
    folder.mkdir()
    (folder / "model.safetensors").symlink_to(Path("..") / "blobs" / "1234")
    assert len(read(folder).tensors) == 2

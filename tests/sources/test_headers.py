"""Headers of local safetensors files: complete, sharded, unfinished, damaged and hostile."""

import json
import os
import resource
import tracemalloc
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests import sparse
from vlm_inspect.core.checkpoint import TensorInfo
from vlm_inspect.core.errors import BadHeaderError, NoHeadersError
from vlm_inspect.core.model_ref import ModelIdentity, ModelRef
from vlm_inspect.sources import headers
from vlm_inspect.sources.safetensors import HEADER_LIMIT

TWO = {"a.weight": (4, 3), "b.weight": (5,)}
LOCAL = ModelIdentity("m", source="local")
SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"


def entry(shape=(2,), offsets=(0, 4), dtype="BF16"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def length(count):
    return count.to_bytes(8, "little")


def file_with(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return length(len(text)) + text + data


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "m").mkdir()
    return tmp_path / "m"


def read(folder, *, adapter=False):
    return headers.load(ModelRef(str(folder), path=folder), LOCAL, adapter=adapter)


# --- valid files


def test_single_file_has_names_dtypes_shapes_and_offsets(folder):
    size = sparse.write(folder / SINGLE, {"b": ("F32", (5,)), "a.weight": (4, 3)})
    found = read(folder)
    assert found.tensors == (
        TensorInfo("b", "F32", (5,), 20, SINGLE, 0),
        TensorInfo("a.weight", "BF16", (4, 3), 24, SINGLE, 20),
    )
    assert (found.header_bytes, found.total_bytes) == (size, 44)
    assert (found.metadata, found.missing, found.notes) == ({"format": "pt"}, {}, ())


def test_shards_are_read_by_the_index(folder):
    sparse.write_sharded(folder, {f"layers.{n}.weight": (n + 1, 2) for n in range(9)}, 4)
    found = read(folder)
    assert [tensor.name for tensor in found.tensors] == [f"layers.{n}.weight" for n in range(9)]
    assert len(found.files) == 4


def test_single_file_has_precedence_over_an_index(folder):
    sparse.write_sharded(folder, TWO, 2)
    sparse.write(folder / SINGLE, {"only": (1,)})
    assert [tensor.name for tensor in read(folder).tensors] == ["only"]


def test_adapter_is_read(folder):
    sparse.write(folder / "adapter_model.safetensors", TWO)
    assert {tensor.name for tensor in read(folder, adapter=True).tensors} == set(TWO)
    with pytest.raises(NoHeadersError, match="it has adapter_model"):
        read(folder)


def test_headers_are_found_by_the_path_of_the_config(folder):
    sparse.write(folder / SINGLE, TWO)
    (folder / "config.json").write_text("{}")
    assert len(read(folder / "config.json").tensors) == 2


def test_file_of_the_safetensors_library_is_read(folder):
    save_file({"x": torch.zeros(3, 4), "y": torch.zeros((), dtype=torch.int64)}, folder / SINGLE)
    found = {tensor.name: (tensor.dtype, tensor.shape) for tensor in read(folder).tensors}
    assert found == {"x": ("F32", (3, 4)), "y": ("I64", ())}


@pytest.mark.parametrize("size", [99_999, 100_000, 100_001])
def test_header_of_any_length_is_read(folder, size):
    entries = {f"layers.{n:06d}.weight": entry(offsets=(4 * n, 4 * n + 4)) for n in range(1000)}
    text = json.dumps(entries).encode()
    (folder / SINGLE).write_bytes(file_with(text + b" " * (size - len(text)), b"\0" * 4000))
    found = read(folder)
    assert (len(found.tensors), found.header_bytes) == (1000, size + 8)


def test_symbolic_link_into_the_cache_is_followed(folder, tmp_path):
    sparse.write(tmp_path / "blobs" / "1234", TWO)
    (folder / SINGLE).symlink_to(Path("..") / "blobs" / "1234")
    assert len(read(folder).tensors) == 2


# --- missing files


def test_pickle_is_never_opened(folder):
    os.mkfifo(folder / "pytorch_model.bin")  # opening it would block
    message = r"pytorch_model\.bin, a pickle, which is never opened: only its conf"
    with pytest.raises(NoHeadersError, match=message):
        read(folder)


def test_empty_folder_has_no_headers(folder):
    with pytest.raises(NoHeadersError, match=rf"has no {SINGLE} and no {INDEX}\."):
        read(folder)


def test_unfinished_download_lists_the_missing_files(folder):
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


def test_file_that_ends_before_its_tensors_is_cut(folder):
    sparse.write_sharded(folder, TWO, 2)
    last = folder / "model-00002-of-00002.safetensors"
    os.truncate(last, last.stat().st_size - 1)
    assert [file.is_cut for file in read(folder).files] == [False, True]


def test_without_an_index_files_are_found_by_their_numbers(folder):
    sparse.write_sharded(folder, TWO, 2)
    (folder / INDEX).unlink()
    (folder / "model-00002-of-00002.safetensors").unlink()
    found = read(folder)
    assert found.missing == {"model-00002-of-00002.safetensors": ()}
    assert f"{INDEX} is missing" in found.notes[0]


def test_differences_between_index_and_files_are_notes(folder):
    sparse.write_sharded(folder, TWO, 2)
    (folder / INDEX).write_text((folder / INDEX).read_text().replace("b.weight", "c.weight"))
    found = read(folder)
    assert {tensor.name for tensor in found.tensors} == set(TWO)
    assert found.notes == (
        "The index names c.weight, which its files do not contain.",
        "The files contain b.weight, which the index does not name.",
    )


def test_catalogue_model_without_headers_is_an_error():
    with pytest.raises(NoHeadersError, match="built-in catalogue"):
        headers.load(ModelRef("org/name"), ModelIdentity("org/name", source="catalogue"))


# --- malformed files

ENTRY = json.dumps(entry()).encode()
MALFORMED = {
    "length only": (length(8), "has a length of 8 bytes, beyond the end"),
    "seven bytes": (b"\0" * 7, "the file has 7 bytes, and the length alone takes eight"),
    "empty file": (b"", "the file has 0 bytes"),
    "empty header": (length(0), "is empty"),
    "length 2**63": (length(2**63) + b"{}", "has a length of 9,223,372,036,854,775,808 bytes"),
    "length past the end": (length(100) + b"{}", "has a length of 100 bytes, beyond the end"),
    "no JSON": (file_with(b"{nothing"), "is not JSON"),
    "a list": (file_with([]), "is not a JSON object"),
    "no UTF-8": (file_with(b'{"\xff": 1}'), "is not UTF-8"),
    "deep nesting": (file_with(b'{"a":' + b"[" * 100_000), "is nested too deep"),
    "a number with thousands of digits": (
        file_with(b'{"a":{"dtype":"F32","shape":[' + b"9" * 10_000 + b'],"data_offsets":[0,4]}}'),
        "a number that is too long",
    ),
    "overlap": (file_with({"a": entry(), "b": entry(offsets=(2, 6))}, b"\0" * 6), "'b' overlaps"),
    "hole": (file_with({"a": entry(), "b": entry(offsets=(6, 10))}, b"\0" * 10), "leaves a gap before it"),
    "size mismatch": (file_with({"a": entry(shape=(3,))}, b"\0" * 4), "do not match BF16"),
    "duplicate name": (file_with(b'{"a":' + ENTRY + b',"a":' + ENTRY + b"}", b"\0" * 4), "has 'a' twice"),
    "duplicate field": (file_with(b'{"a":{"dtype":"F32","dtype":"F16"}}'), "has 'dtype' twice"),
    "unknown dtype": (file_with({"a": entry(dtype="F7")}, b"\0" * 4), "an unknown dtype for 'a': 'F7'"),
    "dtype of another type": (file_with({"a": entry(dtype=["F32"])}, b"\0" * 4), "an unknown dtype"),
    "a path as name": (file_with({"../../x": entry()}, b"\0" * 4), "named '../../x', which is not a valid"),
    "empty name": (file_with({"": entry()}, b"\0" * 4), "named ''"),
    "escape sequences": (file_with({"\x1b[2J": entry()}, b"\0" * 4), "not a valid parameter name"),
    "negative size": (file_with({"a": entry(shape=(-2,))}, b"\0" * 4), "an invalid shape"),
    "bool as size": (file_with({"a": entry(shape=(True, 2))}, b"\0" * 4), "an invalid shape"),
    "a hundred dimensions": (file_with({"a": entry(shape=(1,) * 100)}, b"\0" * 4), "an invalid shape"),
    "reversed offsets": (file_with({"a": entry(offsets=(4, 0))}, b"\0" * 4), "invalid data_offsets"),
    "no offsets": (file_with({"a": {"dtype": "F32", "shape": []}}), "no dtype, shape and data_offsets"),
    "metadata of numbers": (file_with({"__metadata__": {"a": 1}}), "does not map text to text"),
    "trailing bytes": (file_with({"a": entry()}, b"\0" * 5), "followed by 1 bytes more"),
}


@pytest.mark.parametrize(("content", "message"), MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_header_is_an_error_with_the_reason(tmp_path, content, message):
    (tmp_path / SINGLE).write_bytes(content)
    with pytest.raises(BadHeaderError) as caught:
        headers.read_file(tmp_path / SINGLE)
    assert message in caught.value.message
    assert caught.value.hint
    assert caught.value.message.isprintable()


def write_long_header(path, size):
    with path.open("wb") as file:
        file.write(length(size))
        file.truncate(size + 8)


def test_header_of_200_megabytes_is_not_read(tmp_path):
    write_long_header(tmp_path / SINGLE, 200_000_000)
    tracemalloc.start()
    message = f"has a length of 200,000,000 bytes; the limit is {HEADER_LIMIT:,}"
    with pytest.raises(BadHeaderError, match=message):
        headers.read_file(tmp_path / SINGLE)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_sum_of_header_lengths_is_limited(folder):
    for number in range(1, 12):
        write_long_header(folder / f"model-{number:05d}-of-00011.safetensors", HEADER_LIMIT)
    with pytest.raises(BadHeaderError, match="and the others have more than 250,000,000 bytes in total"):
        read(folder)


def test_tensor_data_is_not_read(folder):
    sparse.write(folder / SINGLE, {"a": (100_000, 100_000)})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert read(folder).total_bytes == 2 * 10**10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


OUTSIDE, NO_SAFETENSORS = "outside of the model's folder", "which is not a safetensors file"
SHARDS = {
    "../model-00001.safetensors": OUTSIDE,
    "/etc/passwd.safetensors": OUTSIDE,
    "a/../../b.safetensors": OUTSIDE,
    "..\\b.safetensors": OUTSIDE,
    "C:b.safetensors": OUTSIDE,
    "config.json": NO_SAFETENSORS,
    ("a.safetensors",): NO_SAFETENSORS,
    "\x1b[2J.safetensors": NO_SAFETENSORS,
}
INDEXES = [
    *((json.dumps({"weight_map": {"a.weight": shard}}), message) for shard, message in SHARDS.items()),
    ("{", "is not JSON"),
    ("{}", "has no weight_map"),
    ('{"weight_map": []}', "has no weight_map"),
    ('{"weight_map": {"a..b": "a.safetensors"}}', "not a valid parameter name"),
    (json.dumps({"weight_map": {f"a{n}": f"{n}.safetensors" for n in range(2001)}}), "names 2,001 files"),
]


@pytest.mark.parametrize(("index", "message"), INDEXES, ids=range(len(INDEXES)))
def test_malformed_index_is_an_error_with_the_reason(folder, index, message):
    (folder / INDEX).write_text(index)
    with pytest.raises(BadHeaderError, match=message):
        read(folder)


def test_device_is_not_read(folder):
    (folder / SINGLE).symlink_to("/dev/zero")
    with pytest.raises(BadHeaderError, match="is not a file"):
        read(folder)


def test_unreadable_path_is_an_error(tmp_path):
    with pytest.raises(NoHeadersError, match="cannot be read"):
        headers.load(ModelRef("m", path=tmp_path / ("x" * 300)), LOCAL)

"""Whatever a file holds, a command answers or explains why it cannot, and does nothing else."""

import json
import re

from hypothesis import given
from hypothesis import strategies as st

from tests.properties import seeds
from tests.properties.seeds import ADAPTER, TINY, UNKNOWN, as_json, safetensors, snapshots
from tests.properties.strategies import commands, damaged, edited, texts
from tests.sparse import framed, header
from vlm_inspect.anatomy.describe import describe
from vlm_inspect.core.codec import from_bytes
from vlm_inspect.core.model_ref import ModelIdentity
from vlm_inspect.render.json import record_json

WITH_PATTERN = {**ADAPTER, "target_modules": r".*language_model.*\.(q|v)_proj"}
PARTS = (
    *("0", "00", "\u00b2", "\u0663", "-1", "99999", "layers", "experts", "weight", "bias", "q_proj", "qkv"),
    *("embed_tokens", "lm_head", "mlp", "gate_up_proj", "vision_tower", "weight_scale", "qweight", "g_idx"),
    *("<b>", "a|b", "`", "[x](y)", "=1", "$x$", "\\end{tabular}", "&amp;", "*", "?Linear", " ", "x" * 300),
)
WORDS = ("org", "name", "main", "/", "./", "../", "~/", "@", ".json", "model", "\ud800", "\uff0e\uff0e\uff0f")
BOMBS = (
    b"X = 10 ** 10 ** 10\nY = 'x' * 10 ** 12\nZ = [0] * 10 ** 12\nW = 1 << 10 ** 12\n",
    b"X = " + b"(" * 5_000 + b"1" + b")" * 5_000 + b"\n",
    b"X = " + b"-" * 20_000 + b"1\n",
    b"X = '%999999999d' % 1\nY = f'{1:999999999d}'\nZ = 'a'.ljust(10 ** 12)\n",
    b"import os\nos.system('touch outside')\nopen('../outside', 'w')\n",
    b"class Phi3VForCausalLM(Phi3VForCausalLM): pass\nclass A(B): pass\nclass B(A): pass\n",
    b"def f(*a): return f(f, *a, *a)\nX = f(1)\n",
    b"while True: pass\nfor x in iter(int, 1): pass\nX = list(range(10 ** 12))\n",
    b"X = [[[[0] * 999] * 999] * 999] * 999\nY = str(X)\nZ = X == X\n",
)
SETTINGS = b"""snapshots = "kept"
files = ["README.md"]

[[models]]
id = "./true.json"
alias = "LLaVA"
[models.facts]
fine_tuning = "Instructions"
flash_attention = true

[tables.comparison]
kind = "comparison"
models = ["LLaVA"]
columns = ["model", "projection"]
"""
PYPROJECT = b'[project]\nname = "x"\n[tool.vlm-inspect]\n' + re.sub(rb"\[(?=[mt])", b"[tool.vlm-inspect.", SETTINGS)
MARKERS = b"<!-- vlm-inspect:begin architectures -->\n<!-- vlm-inspect:end -->\n"
READMES = (
    b"# Models\n\n<!-- vlm-inspect:begin architectures -->\nold\n<!-- vlm-inspect:end architectures -->\n.",
    b"\xef\xbb\xbf<!-- vlm-inspect:begin comparison -->\r\n<!-- vlm-inspect:end -->\r\nafter",
    b"```markdown\n<!-- vlm-inspect:begin x -->\n```\n\n    <!-- vlm-inspect:end y -->\n\n" + MARKERS,
    b"text \xff\xfe caf\xe9\r\n" + MARKERS.replace(b"\n", b"\r"),
)
BEGIN, END = (re.compile(rb"vlm-inspect[ \t]*:[ \t]*" + word) for word in (b"begin", b"end"))

READ = commands(("show", "./model", "--builder", "config"), ("table", "./model", "--builder", "config"))
BUILT = commands(
    ("show", "./model", "--explain"),
    ("tree", "./model"),
    ("table", "./model", "--kind", "comparison"),
    ("table", "./model"),
    ("diff", "./model", "true.json"),
    ("diff", "true.json", "./model", "--names-only"),
    ("snapshot", "./model", "--folder", "kept"),
    ("verify", "./model"),
)
FROM_HEADERS = commands(
    ("show", "./model", "--builder", "header"),
    ("tree", "./model", "--builder", "header"),
    ("table", "./model"),
    ("verify", "./model"),
)


@given(text=st.deferred(lambda: damaged([as_json(config) for config in seeds.configs()])), command=READ)
def test_a_damaged_configuration(program, text, command):
    program.run({"model/config.json": text}, command)


@given(text=st.deferred(lambda: edited(seeds.configs())), command=READ)
def test_a_configuration_with_strange_values(program, text, command):
    program.run({"model/config.json": text}, command)


@given(text=edited([TINY]), command=BUILT)
def test_a_configuration_that_is_built(program, text, command):
    program.run({"model/config.json": text, "true.json": snapshots()[0]}, command, writes=["kept"])


def headers():
    """Safetensors files: damaged, with a damaged header, with strange values, or with strange tensors."""
    small, whole = seeds.few_shapes(), seeds.shapes()
    json_texts = [header(each)[0][8:] for each in (small, whole)]
    names = st.lists(st.sampled_from(PARTS), min_size=1, max_size=5).map(".".join)
    sides = st.lists(st.sampled_from((0, 1, 3, 16)), max_size=4)
    return (
        damaged([safetensors(small), safetensors(whole), framed(b"{}")])
        | damaged(json_texts).map(framed)
        | edited([json.loads(text) for text in json_texts]).map(framed)
        | st.dictionaries(names, sides, max_size=6).map(lambda strange: safetensors({**small, **strange}))
    )


@given(file=st.deferred(headers), command=FROM_HEADERS)
def test_headers(program, file, command):
    program.run({"model/config.json": as_json(UNKNOWN), "model/model.safetensors": file}, command)


@given(file=st.deferred(headers), command=commands(("verify", "./model")))
def test_headers_of_a_model_that_is_built(program, file, command):
    program.run({"model/config.json": as_json(TINY), "model/model.safetensors": file}, command)


@given(
    index=st.deferred(lambda: damaged([as_json(seeds.shards()[1])]) | edited([seeds.shards()[1]])),
    command=FROM_HEADERS,
)
def test_an_index(program, index, command):
    files = {"config.json": as_json(UNKNOWN), "model.safetensors.index.json": index, **seeds.shards()[0]}
    program.run({f"model/{name}": content for name, content in files.items()}, command)


@given(
    text=st.deferred(lambda: damaged(snapshots()) | edited([json.loads(text) for text in snapshots()])),
    command=commands(
        ("show", "kept/strange.json", "--explain"),
        ("tree", "kept/strange.json", "--depth", "2"),
        ("table", "kept/strange.json", "true.json"),
        ("table", "kept/strange.json", "--kind", "comparison"),
        ("diff", "kept/strange.json", "true.json"),
        ("diff", "true.json", "kept/strange.json"),
        ("diff", "kept/strange.json", "kept/strange.json", "--names-only"),
        ("verify", "kept/strange.json"),
        ("check", "--folder", "kept"),
    ),
)
def test_a_snapshot(program, text, command):
    program.run({"kept/strange.json": text, "true.json": snapshots()[0]}, command)


def with_strange_texts(toml):
    """Valid TOML with another text in the place of one of its own."""
    words = st.sampled_from(toml.decode().split('"')[1::2])
    pairs = st.tuples(words, texts)
    return pairs.map(lambda pair: toml.replace(f'"{pair[0]}"'.encode(), toml_string(pair[1])))


def toml_string(text):
    escaped = (char if char.isalnum() and char.isascii() else f"\\U{ord(char):08x}" for char in text)
    return f'"{"".join(escaped)}"'.encode()


def configuration_files(file):
    name, text = file
    return st.tuples(st.just(name), damaged([text], most=3) | with_strange_texts(text))


@given(
    file=st.sampled_from((("vlm-inspect.toml", SETTINGS), ("pyproject.toml", PYPROJECT))).flatmap(configuration_files),
    command=commands(
        ("table",),
        ("table", "--kind", "comparison"),
        ("table", "--write", "README.md"),
        ("table", "--check", "README.md"),
        ("snapshot", "--folder", "kept"),
        ("check", "--folder", "kept"),
        ("show", "LLaVA"),
        ("tree", "LLaVA"),
    ),
)
def test_a_configuration_file(program, file, command):
    name, text = file
    files = {name: text, "true.json": snapshots()[0], "README.md": MARKERS}
    program.run(files, command, writes=["README.md", "kept"], reads_outside=True)


@given(text=damaged(READMES, most=2))
def test_a_file_with_marked_blocks(program, text):
    settings = b'[[models]]\nid = "./true.json"\n'
    files = {"README.md": text, "vlm-inspect.toml": settings, "true.json": snapshots()[0]}
    write, check = (("table", "--offline", option, "README.md") for option in ("--write", "--check"))
    written, checked = program.run(files, write, check, writes=["README.md"])
    after = (program.folder / "README.md").read_bytes()
    if written:
        assert after == text, "a command that fails must not change the file"
    else:
        assert checked == 0
        begin, end = BEGIN.search(text).start(), [*END.finditer(text)][-1].start()
        assert after.startswith(text[:begin])
        assert after.endswith(text[end:])


@given(
    name=st.lists(texts | st.sampled_from(WORDS), max_size=4).map("".join)
    | st.sampled_from(("x", "../", "a@", "é")).map(lambda text: text * 5_000),
    command=commands(
        ("table", "true.json", "--"),
        ("show", "--"),
        ("show",),
        ("tree", "--"),
        ("tree", "true.json", "--focus"),
        ("diff", "true.json", "--"),
        ("snapshot", "--folder", "kept", "--"),
        ("verify", "--"),
        ("verify", "./model", "--base"),
        ("show", "org/name", "--revision"),
        ("table", "true.json", "--columns"),
    ),
)
def test_a_name_on_the_command_line(program, name, command):
    files = {"model/config.json": as_json(TINY), "true.json": snapshots()[0]}
    program.run(files, (*command, name), writes=["kept"], reads_outside=True)
    for path in (program.folder / "kept").rglob("*"):
        assert path.parent.name == "kept", "a snapshot lies in its folder"
        assert path.suffix == ".json"
        assert path.name.isascii()


def code(name):
    """A published file: damaged, or with statements that would not end or would need too much memory."""
    source = (seeds.ROOT / "tests/builders/repositories/phi3_v" / name).read_bytes()
    lines = source.splitlines(keepends=True)
    places = st.tuples(st.integers(0, len(lines)), st.sampled_from((0, 4, 8)), st.sampled_from(BOMBS))
    return st.just(source) | damaged([source]) | places.map(lambda place: with_bomb(lines, *place))


def with_bomb(lines, at, indent, bomb):
    indented = [b" " * indent + line for line in bomb.splitlines(keepends=True)]
    return b"".join([*lines[:at], *indented, *lines[at:]])


@given(
    modeling=st.deferred(lambda: code("modeling_phi3_v.py")),
    configuration=st.deferred(lambda: code("configuration_phi3_v.py")),
    command=FROM_HEADERS,
)
def test_code(program, modeling, configuration, command):
    auto_map = {"AutoModelForCausalLM": "modeling_phi3_v.Phi3VForCausalLM"}
    files = {
        "config.json": as_json({**UNKNOWN, "architectures": ["Phi3VForCausalLM"], "auto_map": auto_map}),
        "model.safetensors": safetensors(seeds.shapes()),
        "modeling_phi3_v.py": modeling,
        "configuration_phi3_v.py": configuration,
    }
    program.run({f"model/{name}": content for name, content in files.items()}, command)


@given(
    config=damaged([as_json(ADAPTER), as_json(WITH_PATTERN)]) | edited([ADAPTER, WITH_PATTERN]),
    tensors=st.just(safetensors(seeds.ADAPTER_SHAPES)) | damaged([safetensors(seeds.ADAPTER_SHAPES)]),
    command=commands(("verify", "./adapter"), ("verify", "./adapter", "--base", "./base")),
)
def test_an_adapter(program, config, tensors, command):
    files = {
        "base/config.json": as_json(TINY),
        "adapter/adapter_config.json": config,
        "adapter/adapter_model.safetensors": tensors,
    }
    # the base model may be anywhere on the machine
    program.run(files, command, reads_outside=True)


@given(data=st.deferred(lambda: damaged([seeds.tree_bytes()]) | edited([json.loads(seeds.tree_bytes())])))
def test_the_answer_of_an_isolated_build(data):
    try:
        tree = from_bytes(data)
    except ValueError:
        return
    record = describe(tree, ModelIdentity("org/name"), "remote-code")
    assert json.loads(record_json(record))

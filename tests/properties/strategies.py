"""Strategies: damaged bytes, edited JSON, strange texts, and the options of commands."""

import copy
import json
import re

from hypothesis import strategies as st

from tests.properties.seeds import as_json

TEXTS = (
    *("", " ", "\n", "\0", "24", "-1", "1e999", "nan", "null", "x" * 3_000, "e\u0301" * 40, "日本語モデル"),
    *("../outside", "../outside.json", "/etc/passwd", "~root", "C:\\Windows\\win.ini", "CON", "-rf"),
    *("@", "a@b@c", "org/name@", "a|b", "a\\|b", "a\\", "a\r\n| b |", "..", "a..b", "*", "?Attention"),
    *("\x1b[31mred\x1b[0m", "\x1b]8;;https://evil.example\x07click\x1b]8;;\x07", "\x9b31m", "\u202eevil"),
    *("\u200bzero\u200dwidth\ufeff", "\u0430dmin", "\u2028\u2029", "\U000e0041tag", "\u00b2", "\u0663"),
    *("[click](https://evil.example)", "![x](javascript:alert(1))", "<script>alert(1)</script>", "<img>"),
    *('" onmouseover="alert(1)', "</td></table></style>", "<!-- vlm-inspect:end architectures -->", "-->"),
    *("&lt;b&gt; &amp;amp; &#124;", "`", "``", "```", "~~~", "*bold* _it_ __b__ ~~s~~ $x$", "{{ 7 * 7 }}"),
    *("\\input{/etc/passwd} $x^2$ 50% #1 a_b ~ {x}", "\\\\ [2pt] * --- & ", "\\end{tabular}", "%s{0}{x!r}"),
    *("=HYPERLINK(1)", "+1", "@SUM(A1)", "\t=1", "\uff1d1+1", "::error file=x::y", "%0A::set-output name=x"),
    *("(a+)+$", "__class__", "vision_config", "text_config", "model_type", "llama", "clip_vision_model"),
    *("LlavaForConditionalGeneration", "0-99999", "--debug", "layers.0.weight", "layers.\u00b2.weight"),
)
NUMBERS = (
    *(0, 1, -1, 2, 7, 64, 255, 2_001, 65_536, 10**6, 10**9, 10**9 + 1, 2**31, 2**63, 2**64, 10**4_000),
    *(-0.0, 0.5, 1e-320, 1e308, float("inf"), float("-inf"), float("nan")),
)
_VALUES = (
    *(None, True, False, [], {}, [[]], [{}], {"": None}, [1, "a", None], [0] * 20_000, "y" * 100_000),
    *({"model_type": "llama"}, {"model_type": "nope"}, {"model_type": ["llama"]}, {"num_experts": 10**9}),
    *({"num_hidden_layers": 10**6}, {"quant_method": "bitsandbytes", "load_in_4bit": True}),
    *({"AutoModel": "modeling.Model", "AutoConfig": "../../x.Y"}, {"rope_type": "yarn", "factor": "x"}),
    *({str(number): "label" for number in range(5_000)}, json.loads("[" * 300 + "1" + "]" * 300)),
)
_TOKENS = (
    *(text.encode() for text in TEXTS),
    *(b"NaN", b"-Infinity", b"1e400", b"-0", b"00", b"1_000", b"9" * 5_000, b"[" * 10_000, b'{"a":' * 10_000),
    *(b"]" * 100, b"}" * 100, b'"\\ud800"', b'"\\u0000"', b"\xff", b"\xfe\xff", b"\xef\xbb\xbf", b"\xc0\xaf"),
    *(b"\r", b"\n", b"\x0b", b"\x7f", b"\x85", b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"#", b"="),
)
_PLACES = {
    "number": re.compile(rb"-?\d+(\.\d+)?"),
    "text": re.compile(rb'"[^"\\\n]{0,200}"'),
    "line": re.compile(rb"[^\n]*\n"),
}
_FORMATS = {
    "table": ("terminal", "markdown", "json", "csv", "latex", "html"),
    "show": ("terminal", "markdown", "json", "html"),
    "diff": ("terminal", "markdown", "json", "html"),
    "check": ("terminal", "markdown", "json", "github"),
}
texts = st.sampled_from(TEXTS) | st.text(max_size=20)
_values = texts | st.sampled_from((*NUMBERS, *_VALUES)).map(copy.deepcopy) | st.integers() | st.floats()


def commands(*choices):
    """One of the commands, offline and in one of its formats."""
    return st.sampled_from(choices).flatmap(_with_format)


def _with_format(command):
    if command[0] == "snapshot" or {"--names-only", "--write", "--check"} & set(command):
        return st.just((command[0], "--offline", *command[1:]))
    formats = st.sampled_from(_FORMATS.get(command[0], ("terminal", "markdown", "json")))
    return formats.map(lambda form: (command[0], "--offline", "--format", form, *command[1:]))


@st.composite
def damaged(draw, seeds, most=5):
    """One of the files with a few changes to its bytes."""
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(1, most))):
        change = draw(st.sampled_from((_insert, _overwrite, _cut, _repeat, _truncate, *[_replace] * 5)))
        data = change(draw, data)[:400_000]
    return data


def _position(draw, data):
    return draw(st.integers(0, len(data)))


def _insert(draw, data):
    at = _position(draw, data)
    return data[:at] + draw(st.sampled_from(_TOKENS) | st.binary(max_size=16)) + data[at:]


def _overwrite(draw, data):
    at = _position(draw, data)
    new = draw(st.binary(min_size=1, max_size=4))
    return data[:at] + new + data[at + len(new) :]


def _cut(draw, data):
    at = _position(draw, data)
    return data[:at] + data[at + draw(st.integers(1, 60)) :]


def _repeat(draw, data):
    at, size = _position(draw, data), draw(st.integers(1, 60))
    return data[: at + size] + data[at : at + size] * draw(st.sampled_from((1, 2, 50))) + data[at + size :]


def _truncate(draw, data):
    return data[: _position(draw, data)]


def _replace(draw, data):
    """Replace a number or a text, or repeat a line; the result is often still a file of its format."""
    kind = draw(st.sampled_from(sorted(_PLACES)))
    found = list(_PLACES[kind].finditer(data))
    if not found:
        return _insert(draw, data)
    match = draw(st.sampled_from(found))
    if kind == "line":
        new = match[0] * draw(st.sampled_from((0, 2, 40)))
    else:
        new = as_json(draw(st.sampled_from(NUMBERS) if kind == "number" else texts))
    return data[: match.start()] + new + data[match.end() :]


@st.composite
def edited(draw, seeds):
    """One of the JSON values with a few changes, as a file."""
    value = copy.deepcopy(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 4))):
        places = list(_places(value))
        if not places:
            break
        parent, key = draw(st.sampled_from(places))
        other, place = draw(st.sampled_from(places))
        edit = draw(st.sampled_from(("value", "same type", "same type", "remove", "rename", "add", "move")))
        if edit == "value":
            parent[key] = draw(_values)
        elif edit == "same type":
            parent[key] = draw(_like(parent[key]))
        elif edit == "remove":
            del parent[key]
        elif edit == "add" or isinstance(parent, list):
            _add(parent, draw(texts), draw(_values))
        elif edit == "rename":
            parent[draw(texts)] = parent.pop(key)
        else:
            _add(parent, draw(texts) if draw(st.booleans()) else key, copy.deepcopy(other[place]))
    return as_json(value)


def _places(value):
    """Each parent and key in a JSON value."""
    if isinstance(value, (dict, list)):
        for key in list(value)[:400] if isinstance(value, dict) else range(min(len(value), 400)):
            yield value, key
            yield from _places(value[key])


def _like(value):
    """Unusual values of the same type, which no type check refuses."""
    if isinstance(value, bool):
        return st.booleans()
    if isinstance(value, int):
        return st.sampled_from([each for each in NUMBERS if isinstance(each, int)]) | st.integers(0, 100)
    if isinstance(value, str):
        return texts
    return st.floats() if isinstance(value, float) else _values


def _add(parent, key, value):
    if isinstance(parent, dict):
        parent[key] = value
    else:
        parent.append(value)

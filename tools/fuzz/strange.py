"""Values that break programs: texts, numbers and nests, and tokens for bytes."""

from __future__ import annotations

from typing import Any

TEXTS: tuple[str, ...] = (
    "",
    " ",
    "\n",
    "\0",
    "24",
    "-1",
    "1e999",
    "nan",
    "null",
    "../../bait",
    "../bait.json",
    "/etc/passwd",
    "~root",
    "~",
    "C:\\Windows\\win.ini",
    "CON",
    "nul.json",
    "-rf",
    "--debug",
    "@",
    "a@b@c",
    "org/name@",
    "a|b",
    "a\\|b",
    "a\\",
    "a\r\n| b |",
    "\x1b[31mred\x1b[0m",
    "\x1b]8;;https://evil.example\x07click\x1b]8;;\x07",
    "\x9b31m",
    "\u202eevil",
    "\u200bzero\u200dwidth\ufeff",
    "\u0430dmin",  # a Cyrillic letter
    "\u2028\u2029",
    "\U000e0041tag",
    "[click](https://evil.example)",
    "![x](javascript:alert(1))",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)',
    "</td></table></style>",
    "<!-- vlm-inspect:end architectures -->",
    "-->",
    "&lt;b&gt; &amp;amp; &#124;",
    "`",
    "``",
    "```",
    "~~~",
    "*bold* _it_ __b__ ~~s~~ $x$",
    "\\input{/etc/passwd} $x^2$ 50% #1 a_b ~ {x}",
    "\\\\ [2pt] * --- & ",
    "\\end{tabular}",
    "=HYPERLINK(1)",
    "+1",
    "@SUM(A1)",
    "\t=1",
    "\uff1d1+1",
    "::error file=x::y",
    "%0A::set-output name=x::y",
    "{{ 7 * 7 }}{% raw %}",
    "%s%n{0}{x!r}",
    "日本語モデル",
    "e\u0301" * 40,
    "x" * 3_000,
    "(a+)+$",
    "__class__",
    "__init__",
    "vision_config",
    "text_config",
    "model_type",
    "llama",
    "clip_vision_model",
    "siglip_vision_model",
    "LlavaForConditionalGeneration",
    "PreTrainedModel",
    "0-99999",
    "99999999999999999999-0",
    "layers.0.weight",
    "..",
    "a..b",
    "\u00b2",
    "\u0663",
    "layers.\u00b2.weight",
    "*",
    "?Attention",
)
NUMBERS: tuple[Any, ...] = (
    *(0, 1, -1, 2, 3, 7, 64, 100, 255, 256, 1_000, 2_000, 2_001, 65_536, 10**5, 10**6, 10**9, 10**9 + 1),
    *(2**31 - 1, 2**31, -(2**31), 2**53, 2**63 - 1, 2**63, 2**64, -(2**63) - 1, 10**18, 10**100, 10**4_000),
    *(0.0, -0.0, 0.5, 1.5, 1e-320, 1e308, -1e308, float("inf"), float("-inf"), float("nan")),
)
PLAIN: tuple[Any, ...] = (None, True, False, [], {}, [[]], [{}], [None], {"": None}, [1, "a", None])
PARTS: tuple[Any, ...] = (
    {"model_type": "llama"},
    {"model_type": "clip_vision_model", "hidden_size": 64, "num_attention_heads": 4},
    {"model_type": "nope"},
    {"model_type": ["llama"]},
    {"num_hidden_layers": 10**6},
    {"num_experts": 10**9},
    {"quant_method": "bitsandbytes", "load_in_4bit": True},
    {"AutoModel": "modeling.Model", "AutoConfig": "../../x.Y"},
    {"rope_type": "yarn", "factor": "x"},
)
LARGE: tuple[Any, ...] = (
    [0] * 20_000,
    ["x"] * 5_000,
    {str(number): "label" for number in range(5_000)},
    {str(number): number for number in range(5_000)},
    "y" * 100_000,
)


def nested(depth: int, *, lists: bool) -> Any:
    """A value inside so many others."""
    value: Any = 1
    for _ in range(depth):
        value = [value] if lists else {"a": value}
    return value


NESTS: tuple[Any, ...] = tuple(
    nested(depth, lists=lists) for depth in (3, 63, 64, 70, 300) for lists in (True, False)
)
VALUES: tuple[Any, ...] = (*TEXTS, *NUMBERS, *PLAIN, *PARTS, *NESTS)

TOKENS: tuple[bytes, ...] = (
    *(text.encode("utf-8", "surrogatepass") for text in TEXTS),
    *(b"NaN", b"Infinity", b"-Infinity", b"1e400", b"-0", b"00", b"0x10", b"1_000", b"9" * 400, b"9" * 5_000),
    *(b"9" * 100_000, b"[" * 10_000, b'{"a":' * 10_000, b"]" * 100, b"}" * 100, b'"\\ud800"', b'"\\u0000"'),
    *(b"\xff", b"\xfe\xff", b"\xff\xfe", b"\xef\xbb\xbf", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80"),
    *(b"\r", b"\r\n", b"\n", b"\t", b"\x0b", b"\x0c", b"\x1b", b"\x7f", b"\x85", b"\x00"),
    *(b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"'", b"#", b"=", b"[[", b"]]", b"/*", b"//"),
)

"""The results of `doctor` as text."""

import pytest

from vlm_inspect.core.packages import HealthCheck
from vlm_inspect.render.doctor import doctor_text

COMMAND = 'pip install "torchvision==0.28.0"'
FINDINGS = [
    HealthCheck("Python", "3.11.7"),
    HealthCheck("torchvision", "0.20.0 does not match torch 2.13.0", "wrong", COMMAND),
    HealthCheck("token", "not set; private\x1b[2J and gated models cannot be read", "note", "hf auth login"),
]


def test_each_check_has_its_state_and_its_hint_below():
    assert doctor_text(FINDINGS).splitlines() == [
        "ok     Python       3.11.7",
        "WRONG  torchvision  0.20.0 does not match torch 2.13.0",
        f"                    {COMMAND}",
        "note   token        not set; private\\u001b[2J and gated models cannot be read",
        "                    hf auth login",
        "",
        "Wrong: torchvision.",
    ]


def test_without_problems_the_last_line_says_so():
    assert doctor_text(FINDINGS[:1]).endswith("\n\nNothing is wrong.")


@pytest.mark.parametrize("width", [20, 44, 60, 80])
def test_long_text_is_wrapped_with_a_hanging_indent(width):
    lines = doctor_text(FINDINGS, width).splitlines()
    assert max(map(len, lines)) <= max(width, 44)
    assert any(line.startswith(" " * 20) for line in lines)

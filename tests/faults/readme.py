"""The README of these tests: two markers, and a line before and after them."""

import time

BEGIN, END = "<!-- vlm-inspect:begin architectures -->", "<!-- vlm-inspect:end architectures -->"
FRESH = f"# Title\n\n{BEGIN}\n{END}\n\nThe end.\n"


def wait_until(condition, seconds=30):
    """Wait until a condition is true; fail after some time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)

"""The README of these tests: two markers, and a line of somebody's own on either side."""

import time

BEGIN, END = "<!-- vlm-inspect:begin architectures -->", "<!-- vlm-inspect:end architectures -->"
FRESH = f"# Title\n\n{BEGIN}\n{END}\n\nThe end.\n"


def wait_until(condition, seconds=30):
    """Until something is so; a test that waits for ever fails instead."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)

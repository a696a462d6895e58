"""What is measured: a function per benchmark, and their list in the order of the page."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tools.benchmarks import light, models
from tools.benchmarks.measure import Benchmark
from tools.benchmarks.place import Place

BENCHMARKS: Mapping[str, Callable[[Place], Benchmark]] = {
    "cold_table": models.cold_table,
    "slow_hub": models.slow_hub,
    "every_type": models.every_type,
    "verify": models.verified,
    "headers": models.from_headers,
    "warm_table": light.warm_table,
    "warm_show": light.warm_show,
    "warm_show_online": light.warm_show_online,
    "diff": light.diff_of_files,
    "help": light.help_text,
    "version": light.version_text,
    "completion": light.completion,
    "usage_error": light.usage_error,
}

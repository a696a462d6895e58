"""Tests under other versions of transformers than the one in requirements.lock.

`make compat` runs `under_any.py` in each of its environments, and `under_4_41_2.py` in that of 4.41.2; pytest
does not collect them by their names.
"""

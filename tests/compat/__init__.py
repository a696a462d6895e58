"""What must hold under other versions of transformers than the one that the other tests run under.

`make compat` runs `under_any.py` in each of its environments, and `under_4_41_2.py` in that of 4.41.2: their
names keep pytest from collecting them here.
"""

"""The tool under hostile input: `make fuzz`.

Every input is a `Case`: files, and the commands that are run on them. `kinds/` makes them from real files,
each from the seed, its kind and its number alone; `worker` runs them through the installed program's own
entry, within limits and watched (`watch`), and `outputs` reads what was printed as strictly as a parser of
that format can. What is neither an answer nor an error of the error tree is a finding, and is kept as a
folder that can be run again.
"""

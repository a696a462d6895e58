"""Answers that were given before, kept where they need neither torch nor transformers to be given again.

What is kept is the finished record with its module tree, under a key of everything that can change it.
Keeping is never required: what cannot be read, written or named surely is made anew.
"""

"""Random worlds of known truth through the real pipe, from freeze to page: do the words of the report hold?"""

SEED = 20_261_130
"""Fixed before the first run; a world is a function of it and of the world's number."""

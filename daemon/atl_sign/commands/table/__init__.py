"""
The commands: one row each, of which usage, help, completions and manual pages are made.

`rows` has what a row can be, and usage and help as text; `calls` the commands of the bash program, `handed_over` those of
atl-signd. `tests/tools/write_commands.py` writes what is made of them. Texts are marked up a little: `code` in backticks,
options and words in capitals as they are.
"""

"""The commands, one file per noun and one function per verb; `cli/main.py` puts them together."""

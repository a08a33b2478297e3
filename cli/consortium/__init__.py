"""A chain of several signers: the folder its operators start from, its program, and a whole one for trials.

Must not import `node`.
"""

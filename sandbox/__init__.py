"""Twins of the three foreign systems: real HTTP servers that refuse what the real systems refuse.

Nothing here imports from ``services``: a twin that shared the product's code would share its mistakes.
"""

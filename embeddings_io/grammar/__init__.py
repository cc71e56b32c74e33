"""What this pack lets people write in a prompt beyond a plain ``embedding:name``.

Formulas in braces, names in quotes, slices and A1111's ``<name>`` are found by `sugar.desugar`,
which puts an ordinary reference in the place of each; `references` then does the rest.
"""

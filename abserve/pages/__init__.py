"""What our pages have in common: pages that are read without a server, and need nothing else.

`style` is how they look on light and dark ground and on paper, `plots` makes parts of a page of
matplotlib's figures. `plots` takes matplotlib, so that it is imported by its own name.
"""

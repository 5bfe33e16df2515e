"""LIIF's decoder: `plain` as the paper writes it; `fast` at any coordinates, `render` and `fused`
on grids.
"""

"""Decoders: functions that turn what is looked up in a table of latents into colours.

- `lookup` and `tiles`: what every decoder shares. Look-ups, chunks, sums; regular grids by tiles.
- `plain`, `fast`, `render`, `fused`: LIIF's decoder as its paper writes it, at any coordinates, on
  regular grids, and there on a GPU. `first_layer` and `mlp` hold its layers.
- `lte`, `meta`: the decoders of LTE and MetaSR.
"""

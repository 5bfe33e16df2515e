"""How LIIF's decoder is computed: `plain` as the paper writes it, `fast` as users run it."""

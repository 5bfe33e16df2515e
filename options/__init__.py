"""Option files of basicsr-liif; `basicsr options` lists them."""

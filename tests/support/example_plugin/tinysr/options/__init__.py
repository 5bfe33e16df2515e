"""Option files; `basicsr options` lists them."""

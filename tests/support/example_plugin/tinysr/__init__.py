"""TinySR, a plugin of BasicSR: the worked example of docs/plugins.md."""

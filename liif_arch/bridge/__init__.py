"""All that touches BasicSR's internals: remedies, options, plugins, checkpoints, launch."""

"""TinySR, a plugin of BasicSR: the worked example of README, section "Your own plugin"."""

"""Whole images at any size, in as much memory as there is."""

"""A run that loses nothing: launching, checking, saving, resuming and ending it."""

"""Image files of every format, read and written whole or not at all."""

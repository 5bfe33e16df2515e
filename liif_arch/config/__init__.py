"""What an option file may say: finding, reading and checking it."""

"""What goes with a bug report: one redacted archive, made from memory and files alone."""

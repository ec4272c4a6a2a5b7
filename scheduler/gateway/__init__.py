"""Client connections: the session and node protocols, and the jobs accepted here."""

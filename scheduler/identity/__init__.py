"""Who a peer is: tokens, signed tokens and certificates, read by the supervisor, checked here."""

"""asyncio clients for people who write session clients and nodes."""

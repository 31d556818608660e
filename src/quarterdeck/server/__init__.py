"""The server: crews behind an HTTP API, durable on one machine and on many."""

"""Rounds: what a server offers and a site agrees to, the coordinator that survives its own end, and the site's loop."""

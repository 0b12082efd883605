"""Events: sent, read, decided on, brought into states, archived, answered with events."""

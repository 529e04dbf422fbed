"""The nouns of Cotenant: frozen data that every other room speaks in."""

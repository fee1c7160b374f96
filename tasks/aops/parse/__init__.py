"""Wikitext of a contest page -> statement, choices, solutions, boxes, figures, and every doubt with its place. Pure functions of text."""

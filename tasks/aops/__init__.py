"""The AoPS wiki: contest schedule, polite crawler, archive of pages, importers and parser. A library for stages and flows."""

"""Forms: how one layer becomes a few plain ones of less cost. A file each, and their table."""

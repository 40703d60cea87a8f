"""The rules of ``fold``, a file each: what may be folded where, and what comes of it."""

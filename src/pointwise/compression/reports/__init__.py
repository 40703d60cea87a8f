"""What a compression did, in text, tables and a page."""

"""What data tell of a network: moments of what layers read and give, and what errors cost."""

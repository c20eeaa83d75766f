"""``make chaos``: real servers broken under traffic, and what the site's visitors notice of it."""

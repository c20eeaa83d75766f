"""A page that shows the tiers at work: what every worker of every server serves, and what it asks the remote for."""

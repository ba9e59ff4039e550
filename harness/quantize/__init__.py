"""Recipe to artifact."""

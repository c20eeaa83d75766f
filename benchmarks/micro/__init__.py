"""What single calls cost."""

"""What every package uses: errors, checks, registries, files, progress."""

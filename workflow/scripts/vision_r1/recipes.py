"""The published recipes, by name."""

# Recipe -> the files that are laid over the default ones.
PRESETS = {
    "paper": ("paper",),
    "released_2025": ("paper", "released_2025"),
    "upstream_2026": ("paper", "upstream_2026"),
}

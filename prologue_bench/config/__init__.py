"""From an ablation's YAML to checked, frozen settings."""

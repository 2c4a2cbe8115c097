"""The batched training run: its schedule, optimizer, losses, Lightning module and groups."""

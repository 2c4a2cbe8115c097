"""The study on disk: its trials, outcomes and configuration, and copies of it."""

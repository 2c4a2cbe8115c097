"""The record of a study in MLflow, which is a view of it."""

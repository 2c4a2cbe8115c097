"""Checks for extensions: hand them your own task and they raise AssertionError on a broken rule."""

from nas.testing.tasks import check_task, pieces, texts

__all__ = ["check_task", "pieces", "texts"]

"""Serve one answer from several models.

Model settings name `runtimes.ensemble.Ensemble`. MLServer executes this module anew each time it
reads them; the class lives one module below, and so stays the same object.
"""

from runtimes.ensemble.ensemble import Ensemble

__all__ = ["Ensemble"]

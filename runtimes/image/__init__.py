"""Serve classifiers of pictures.

Model settings name `runtimes.image.ImageClassifier`. MLServer executes this module anew each time
it reads them; the class lives one module below, and so stays the same object.
"""

from runtimes.image.classifier import ImageClassifier

__all__ = ["ImageClassifier"]

"""Plugins of eval-learn, a benchmark runner for concept unlearning in text-to-image models.

Found by their entry points: technique ``razor``, metric ``unlearncanvas``. Nothing else of the project imports this
package, and it alone needs the extra ``eval-learn``.
"""

"""What do remarks say? Themes by a codebook; sentiment by the number beside them or a model of rated answers."""

from __future__ import annotations

from analysis.words.codebook import Codebook, Theme
from analysis.words.proposals import Proposal, proposals
from analysis.words.sentiment import Sentiment, SentimentModel, score, train
from analysis.words.themes import Remark, ThemeCount, remarks, theme_counts

__all__ = [
    "Codebook", "Proposal", "Remark", "Sentiment", "SentimentModel", "Theme", "ThemeCount", "proposals", "remarks",
    "score", "theme_counts", "train",
]  # fmt: skip

"""What do remarks say? Themes by a codebook; sentiment by the number beside them or a model of rated answers."""

from __future__ import annotations

from analysis.words.codebook import Codebook, Theme, codebook
from analysis.words.month import SideOfMonth, Tally, ThemeOfMonth, WordsOfMonth, words_of_month
from analysis.words.proposals import Proposal
from analysis.words.quotes import Quoted
from analysis.words.remarks import Remark, Remarks, remarks
from analysis.words.sentiment import Learned

__all__ = [
    "Codebook", "Learned", "Proposal", "Quoted", "Remark", "Remarks", "SideOfMonth", "Tally", "Theme",
    "ThemeOfMonth", "WordsOfMonth", "codebook", "remarks", "words_of_month",
]  # fmt: skip

"""Do the figures hold what they promise? Simulated data sets with known truth through the product's own estimators."""

SEED = 20_261_124
"""Of every run that is reported; fixed when this folder was first committed."""

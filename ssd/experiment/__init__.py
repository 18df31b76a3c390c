"""The experiment: the same run under each divisor and remedy."""

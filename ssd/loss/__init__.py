"""The loss: matching, the sums of each image, and their divisor."""

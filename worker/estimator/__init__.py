"""The public Model: raw rows in; labels, probabilities or values out."""

"""The models that Python code uses: raw rows in; labels, probabilities or values out. Without scikit-learn."""

"""Data as it comes: file formats, preprocessing, targets."""

"""The numpy core: networks, their training, and models on disk.

Everything but `model_files` is pure: no clock, no file, no environment. What a network computes is a
function of its layers, its data and its seed, to the last bit.
"""

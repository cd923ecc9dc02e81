"""The numpy core: networks and their training.

All of it is pure: no clock, no file, no environment. What a network computes is a
function of its layers, its data and its seed, to the last bit.
"""

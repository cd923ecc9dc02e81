"""This machine'"s"""

"""Trains the shipped expression models, reproducibly, from FER2013 pictures and FER+ votes."""

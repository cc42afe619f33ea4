"""Frames that a program's detector is unsure of, kept on the board until they are brought home to be labelled"""

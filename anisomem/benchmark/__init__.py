"""A table's way from what is asked to what is judged.

A ``Case`` is one model on one prompt set with all its detectors. ``complete`` records what its
store lacks (``record``), counts and times what detectors cost (``costs``) and draws the pictures
that its page shows (``gallery``). ``Results`` reads the store and scores, estimates and compares;
it needs neither the model nor torch. ``released`` takes and gives scores in the layout of the
released code, ``given`` any scores; ``unkept`` records what is kept nowhere.
"""

"""The board: all result cards of a folder side by side, as one page and as Markdown.

A card is what a run leaves, or a packet of evidence. ``gather`` finds them, ``cards`` reads them
as data that may be a stranger's, ``pareto`` draws cost against AUC, ``page`` and ``listed`` show
them, ``command`` is the way from a folder to the board.
"""

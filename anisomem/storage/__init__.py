"""What a run keeps.

``atomic`` writes, ``digests`` names, ``store`` keeps components, ``manifest`` what reports have
written, ``foreign`` looks at files of others. Nothing here knows what the numbers mean.
"""

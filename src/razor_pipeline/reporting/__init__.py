"""What a person sees: summary, verdict, figures, page, closing table.

Pure: frames in, bytes, text or dicts out. Nothing here reads or writes a file.
"""

"""What a person sees: the summary, the verdict, the figures and the page. Pure: frames in, bytes, text or dicts out."""

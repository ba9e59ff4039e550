"""This host: its folders and disk, processes apart, what others' programs say."""

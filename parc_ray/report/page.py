def write_report(path, character, previews=True):
    raise RuntimeError("not yet")

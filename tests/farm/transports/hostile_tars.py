"""Streams that only a hostile device sends: each must be refused, and nothing of it kept."""

import tarfile

END = bytes(10240)


def entry(name: str, kind: bytes = tarfile.REGTYPE, data: bytes = b"") -> bytes:
    """One member of an archive, whatever its name and type."""
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, len(data), "target"
    header = info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
    return header + data + bytes(-len(data) % 512)


NAMES = (
    *("../out", "./../out", "a/../../out", "a/..", "..", "/etc/passwd", "//etc/passwd"),
    *("a//b", "./", ".", "a/./b", "", "././a", "a/" * 2500 + "b", "x\udcff"),
)
KINDS = (
    *(tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE),
    *(tarfile.CONTTYPE, tarfile.GNUTYPE_SPARSE, tarfile.XHDTYPE, tarfile.XGLTYPE),
    *(tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGLINK, b"V", b"\xff"),
)
STREAMS = (
    (entry("a") + entry("a") + END, "twice"),
    (entry("a") + entry("a/b") + END, "both a file and a folder"),
    (entry("a/b") + entry("a") + END, "both a file and a folder"),
    (entry("n" * 300) + END, "too long for this host"),
    (entry("d", tarfile.DIRTYPE, b"x") + END, "only regular files"),
    (entry("L", tarfile.GNUTYPE_LONGNAME, b"../out\0") + entry("a") + END, r"'\.\.'"),
    (entry("L", tarfile.GNUTYPE_LONGNAME, b"a\0b") + entry("a") + END, "NUL"),
    (entry("L", tarfile.GNUTYPE_LONGNAME, b"x" * 70_000), "a name of 70000 bytes"),
    (entry("L", tarfile.GNUTYPE_LONGNAME, b"x") * 2 + entry("a") + END, "two long names"),
    (entry("a") + END + b"more", "after the end"),
    (entry("a") + bytes(2 << 20), "after the end"),
    (b"\xff" * 512, "malformed"),
    (b"", "to its end"),
)
"""Whole streams, with a part of the message that refuses them."""

HOSTILE_TARS = (
    *(entry(name, data=b"x") + END for name in NAMES),
    *(entry("thing", kind) + END for kind in KINDS),
    *(stream for stream, _ in STREAMS),
)

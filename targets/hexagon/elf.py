"""An empty shared object: what a library must be that is only looked for, never called.

Written byte by byte (System V ABI, ELF-64), so that no C compiler is needed.
"""

import struct

_HEADER_BYTES, _PROGRAM_HEADER_BYTES, _SYMBOL_BYTES = 64, 56, 24
_LOAD, _DYNAMIC, _GNU_STACK = 1, 2, 0x6474E551
_READ_WRITE = 6
_X86_64, _SHARED_OBJECT = 62, 3
_HASH, _STRTAB, _SYMTAB, _STRSZ, _SYMENT, _SONAME = 4, 5, 6, 10, 11, 14


def empty_shared_object(soname: str) -> bytes:
    """The content of an x86-64 shared object without any symbol, of that soname."""
    headers = 3
    strings_at = _HEADER_BYTES + headers * _PROGRAM_HEADER_BYTES
    strings = b"\0" + soname.encode() + b"\0"
    strings += b"\0" * (-len(strings) % 8)
    symbols_at = strings_at + len(strings)
    hash_at = symbols_at + _SYMBOL_BYTES
    table = struct.pack("<4I", 1, 1, 0, 0)  # one bucket, one chain: the null symbol
    dynamic_at = hash_at + len(table)
    dynamic = b"".join(
        struct.pack("<qQ", tag, value)
        for tag, value in (
            (_SONAME, 1),
            (_HASH, hash_at),
            (_STRTAB, strings_at),
            (_SYMTAB, symbols_at),
            (_STRSZ, len(strings)),
            (_SYMENT, _SYMBOL_BYTES),
            (0, 0),
        )
    )
    end = dynamic_at + len(dynamic)
    identification = b"\x7fELF" + bytes((2, 1, 1)) + bytes(9)
    header = identification + struct.pack(
        "<HHIQQQIHHHHHH",
        _SHARED_OBJECT,
        _X86_64,
        1,
        0,
        _HEADER_BYTES,
        0,
        0,
        _HEADER_BYTES,
        _PROGRAM_HEADER_BYTES,
        headers,
        64,
        0,
        0,
    )
    # The loader writes into the dynamic section, so it must be writable.
    programs = (
        _program(_LOAD, 0, end, 0x1000)
        + _program(_DYNAMIC, dynamic_at, len(dynamic), 8)
        + _program(_GNU_STACK, 0, 0, 16)
    )
    return header + programs + strings + bytes(_SYMBOL_BYTES) + table + dynamic


def _program(kind: int, offset: int, size: int, align: int) -> bytes:
    return struct.pack("<IIQQQQQQ", kind, _READ_WRITE, offset, offset, offset, size, size, align)

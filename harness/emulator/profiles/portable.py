"""Entries of ExecuTorch's portable kernels. The reader marks their nodes with ``portable``.

Moves, choices and integers are exact; sums and functions of floats are not, but for those whose
order of additions is fixed.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

from harness.arithmetic.profile import Entry, Evidence, Signature

_KERNELS = "executorch kernels/portable/cpu"
_INTEGERS = ("bool", "uint8", "int8", "int16", "int32", "int64")
_FLOATS = ("float16", "float32", "float64")
_ANY = (*_INTEGERS, *_FLOATS)

_CAST = "op__to_dim_order_copy.cpp"
Condition = Callable[[Signature], bool]


def _names(names: str) -> tuple[str, ...]:
    return tuple(f"aten::{name}" for name in names.split())


_MOVES = _names(
    "full full_like fill scalar_tensor zeros ones arange select_copy slice_copy narrow_copy "
    "split_copy split_with_sizes_copy unbind_copy stack transpose_copy t_copy unfold_copy "
    "as_strided_copy diagonal_copy repeat flip roll pixel_shuffle pixel_unshuffle tril copy "
    "reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d "
    "replication_pad3d constant_pad_nd cat index index_select scatter select_scatter "
    "slice_scatter masked_fill masked_scatter where upsample_nearest2d"
)
_CHOICES = _names(
    "eq ne lt le gt ge logical_and logical_or logical_xor logical_not isnan isinf maximum minimum "
    "clamp hardtanh amax amin max min argmax argmin any relu abs neg sign round "
    "max_pool2d_with_indices"
)
_WHOLE = _names("floor ceil trunc")
"""Of wide integers they go through floats."""
_ARITHMETIC = _names(
    "add sub rsub mul floor_divide remainder bitwise_and bitwise_or bitwise_xor "
    "bitwise_not sum prod cumsum scatter_add index_put"
)
_THROUGH_FLOATS = _names("div fmod")
"""Of int64 they go through double."""
_OF_FLOATS = _names(
    "floor ceil trunc add sub rsub mul div floor_divide remainder fmod sum prod mean cumsum "
    "scatter_add index_put pow atan2 acos acosh asin asinh atan atanh cos cosh erf exp "
    "expm1 log log10 log1p log2 reciprocal rsqrt sigmoid sin sinh sqrt tan tanh elu "
    "leaky_relu gelu logit glu var var_mean "
    "_softmax _log_softmax mm bmm addmm convolution avg_pool2d _adaptive_avg_pool2d "
    "upsample_bilinear2d grid_sampler_2d native_group_norm _native_batch_norm_legit_no_training "
    "_native_batch_norm_legit _cdist_forward"
)


_NUMBERS = _names("full ones zeros arange scalar_tensor")
_NOT_RUN: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (
        ("bool",),
        _names(
            "abs argmax argmin ceil clamp floor hardtanh index_put isinf isnan neg prod relu round "
            "max_pool2d_with_indices reflection_pad1d reflection_pad2d reflection_pad3d rsub sign "
            "replication_pad1d replication_pad2d replication_pad3d scatter_add sub trunc"
        ),
    ),
    (("bool", "int8", "int16", "int32", "int64"), _names("upsample_nearest2d")),
    (tuple(dtype for dtype in _ANY if dtype != "int64"), _NUMBERS),
    (tuple(dtype for dtype in _ANY if dtype != "bool"), _names("where")),
    (("float32",), _names("cat constant_pad_nd")),
    (tuple(dtype for dtype in _ANY if dtype != "float32"), ("CONCATENATION", "PADV2")),
)
"""Dtypes for which no program that PyTorch makes calls these: read in the source only."""


def _as_run(entry: Entry) -> Iterator[Entry]:
    """An entry that says MEASURED, which holds for what was run alone."""
    if entry.evidence is not Evidence.MEASURED:
        yield entry
        return
    groups: dict[tuple[str, ...], list[str]] = {}
    for op in entry.ops:
        unseen = {dtype for dtypes, ops in _NOT_RUN if op in ops for dtype in dtypes}
        groups.setdefault(tuple(d for d in entry.dtypes if d in unseen), []).append(op)
    for unseen_dtypes, ops in groups.items():
        run = tuple(dtype for dtype in entry.dtypes if dtype not in unseen_dtypes)
        made = replace(entry, ops=tuple(ops))
        if run:
            yield replace(made, dtypes=run)
        if unseen_dtypes:
            yield replace(made, dtypes=unseen_dtypes, evidence=Evidence.SOURCE)


def _portable(s: Signature) -> bool:
    return bool(s.options.get("portable"))


def _of_integers(s: Signature) -> bool:
    return _portable(s) and not {*s.dtypes, s.output} & {*_FLOATS}


def _float32_to(*outputs: str) -> Condition:
    return lambda s: _portable(s) and s.output in outputs


def _replaces(s: Signature) -> bool:
    return _portable(s) and not s.options["accumulate"]


def portable_entries(from_floats: str) -> tuple[Entry, ...]:
    """The entries on one machine.

    Args:
        from_floats: semantics where floats become integers, whose numbers out of range are the
            machine's: "portable" (x86-64) or "portable-saturating" (aarch64).
    """

    def entry(
        ops: tuple[str, ...],
        dtypes: tuple[str, ...],
        semantics: str,
        files: str,
        when: Condition = _portable,
    ) -> Entry:
        place = f"{_KERNELS}/{files}"
        return Entry(ops, dtypes, semantics, Evidence.MEASURED, place, when, "portable kernel")

    made = (
        entry(
            ("SLICE", "GATHER", "GATHER_ELEMENTS", "BROADCAST_TO", "RESHAPE"),
            _ANY,
            "move",
            "op_slice_copy.cpp, op_embedding.cpp, op_gather.cpp, op_expand_copy.cpp, "
            "op_view_copy.cpp: values are copied, not computed",
        ),
        entry(
            ("TRANSPOSE", "CONCATENATION", "PADV2"),
            _ANY,
            "move",
            "op_permute_copy.cpp, op_cat.cpp, op_constant_pad_nd.cpp: values are copied",
        ),
        entry(_MOVES, _ANY, "portable", "…: values are copied or numbers of the file"),
        replace(
            entry(("aten::index_put",), _ANY, "portable", "op_index_put.cpp", _replaces),
            condition="portable kernel, replacing",
        ),
        entry(_CHOICES, _ANY, "portable", "…: a choice, or a function that rounds nothing"),
        entry(
            _WHOLE,
            tuple(dtype for dtype in _ANY if dtype not in {"int32", "int64"}),
            "portable",
            "op_floor.cpp, op_ceil.cpp, op_trunc.cpp",
        ),
        replace(
            entry(_THROUGH_FLOATS, _INTEGERS, from_floats, "op_div.cpp, op_fmod.cpp", _of_integers),
            condition="portable kernel, integers",
        ),
        replace(
            entry(
                _ARITHMETIC,
                _INTEGERS,
                "portable",
                "op_add.cpp and the like; util/elementwise_util.h",
                _of_integers,
            ),
            condition="portable kernel, integers",
        ),
        replace(
            entry(
                ("aten::cumsum",),
                ("float32",),
                "portable",
                "op_cumsum.cpp cumsum_tensors",
                _float32_to("float32"),
            ),
            condition="portable kernel, to float32",
        ),
        entry(("CAST",), _INTEGERS, "portable", _CAST),
        replace(
            entry(("CAST",), _FLOATS, "portable", _CAST, _float32_to("bool", *_FLOATS)),
            condition="portable kernel, to floats or bool",
        ),
        entry(("CAST",), _FLOATS, from_floats, f"{_CAST}; cvttss2si, fcvtzs"),
        replace(
            entry(("aten::topk",), _ANY, "portable", "op_topk.cpp perform_topk"),
            evidence=Evidence.ASSUMED,
            tried="values are exact; which of equal elements comes first is std::nth_element's "
            "choice",
        ),
        replace(
            entry(("aten::empty",), _ANY, "portable", "op_empty.cpp"),
            evidence=Evidence.ASSUMED,
            tried="zeros here, on the machine what its memory held; of what is written over later "
            "nothing is left",
        ),
        replace(entry(_OF_FLOATS, _ANY, "float", "…: float arithmetic"), evidence=Evidence.ASSUMED),
    )
    return tuple(part for each in made for part in _as_run(each))

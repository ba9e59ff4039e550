"""The table of causes, each entry against what the converters and runtimes really said."""

import re

import pytest

from harness.sources.causes import CAUSES, explain

SAID = {
    "TypeError: _aten_add_tensor() got an unexpected keyword argument 'alpha'": r"x \+ a \* y",
    "TypeError: _aten_sub_tensor() got an unexpected keyword argument 'alpha'": r"x \+ a \* y",
    "TypeError: _aten_gelu_default() got an unexpected keyword argument 'approximate'": "of gelu",
    "RuntimeError: aten::convolution() Expected a value of type 'List[int]' for argument 'padding' "
    "but instead found type 'list'.\nPosition: 4\nValue: [0, 's', 'a', 'm', 'e']": r"F\.pad\(x, ",
    "ValueError: Failed to run converter passes: torch/nn/modules/conv.py:1198:0: error: failed to "
    "legalize operation 'mhlo.convolution' that was explicitly marked illegal: %18 = "
    '"mhlo.convolution"(%13, %17) <{lhs_dilation = dense<2> : tensor<2xi64>}>': "transposed .*cut",
    "ValueError: Failed to run converter passes: a.py:8:0: error: failed to legalize operation "
    "'mhlo.round_nearest_afz' that was explicitly marked illegal": r"torch\.floor\(x / y\)",
    "MLIRError: Verification failed:\nerror: 'stablehlo.fft' op inferred type(s) "
    "'tensor<1x1x5xcomplex<f32>>' are incompatible": "Fourier .*two real matrices",
    "RuntimeError: Unsupported ir element type: complex<f32>": "complex numbers",
    "RuntimeError: torch.complex64": "complex numbers",
    "SpecViolationError: These operators are taking Tensor inputs with mismatched dtypes:\n"
    "aten::abs(Tensor self) with args: {'self': torch.complex64}": "complex numbers",
    "ConcretizationTypeError: Abstract tracer value encountered where concrete value is expected: "
    "traced array with shape int64[]\nThe size argument of jnp.nonzero must be statically "
    "specified": r"size of a result depends.*torch\.where",
    "ValueError: Didn't find op for builtin opcode 'STABLEHLO_SORT' version '1'.": "no sort",
    "RuntimeError: Only update, Add, Multiply, Maximum and Minimum operations are currently "
    "supported for stablehlo.scatter.Node number 2 (STABLEHLO_SCATTER) failed": "one-hot",
    "ValueError: Didn't find op for builtin opcode 'STABLEHLO_RNG' version '1'.": "STABLEHLO_RNG",
    "AssertionError: Number of input tokens (1) does not match output tokens (0)": "inverses",
    "RuntimeError: Lowering not found: aten.median.dim": "has no median.*argmax",
    "RuntimeError: Lowering not found: aten.rand_like.default": "no rand_like.*dropout",
    "RuntimeError: Lowering not found: aten.adaptive_max_pool2d.default": r"F\.max_pool2d",
    "RuntimeError: Lowering not found: aten.lgamma.default": "no lgamma.*other operations",
    "RuntimeError: Lowering not found: aten._linalg_svd.default": "decompositions",
    "ValueError: error: failed to legalize operation 'mhlo.erf_inv'": r"mhlo\.erf_inv",
    "SpecViolationError: \nOperator torch._ops.aten.cumprod.default is not in Core ATen opset "
    "(https://pytorch.org/docs)": r"ExecuTorch has no cumprod.*torch\.cumsum",
    "RuntimeError: Missing out variants: {'aten::_unique2'}": "no kernel for _unique2",
    "RuntimeError: Failed to load method forward, error: 0x:14\n[method.cpp:819] Missing operator: "
    "[0] aten::sort.values": "no sort.*outside of the model",
    "[method.cpp:819] Missing operator: [0] aten::view_as_complex_copy.out": "no view_as_complex",
    "RuntimeError: method->execute() failed with error 0x12\n[kernel_ops_util.cpp:389] Check "
    "failed (in.dim() == 3 || in.dim() == 4): Expect input tensor to be 3-D or 4-D, but got, 5.\n"
    "[method.cpp:1480] KernelCall failed at instruction 0:0 in operator aten::convolution.out: 0x12"
    "": "3-D and 4-D",
    "[method.cpp:1480] KernelCall failed at instruction 0:0 in operator aten::cat.out: 0x12": "cat",
    "GuardOnDataDependentSymNode: Could not guard on data-dependent expression Eq(u0, 1)": "if, a ",
    "the process was ended by SIGKILL; memory may have run out": "memory",
}


@pytest.mark.parametrize(("raw", "said"), SAID.items(), ids=range(len(SAID)))
def test_what_was_said_is_explained(raw: str, said: str) -> None:
    known = explain(raw)
    assert known is not None
    assert re.search(said, f"{known.what}. {known.remedy}")


def test_every_entry_has_an_example() -> None:
    first = {next(c for c in CAUSES if re.search(c.pattern, raw, re.DOTALL)) for raw in SAID}
    assert first == set(CAUSES)


def test_what_is_not_known_stays_unknown() -> None:
    assert explain("RuntimeError: the moon is full") is None

"""Arguments and options that several commands share."""

from typing import Annotated

import typer

from harness.errors import UsageError

ModelArgument = Annotated[
    str,
    typer.Argument(
        help="path/file.py:function (returns an nn.Module and example inputs), zoo:NAME, a .pt2, a "
        ".tflite, or a .pte of `edgefarm quantize`. A .py and a .pt2 are code: opening one runs "
        "what its author put there, on this machine; take them from those you trust only."
    ),
]
DataOption = Annotated[
    str | None,
    typer.Option(
        help="An .npz (in0, in1, …, labels, groups), a folder of images with labels.csv or a "
        "folder for each class, or file.py:function yielding batches. Default for a zoo model: its "
        "own data."
    ),
]
TargetOption = Annotated[str, typer.Option(help="One of `edgefarm targets`.")]
RecipeOption = Annotated[
    str | None,
    typer.Option(help="One of `edgefarm recipes`, or a .json file; none for a quantized .tflite."),
]
RecipesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--recipe",
        help="One of `edgefarm recipes`, a .json file, or either with steps; none for a quantized "
        ".tflite. Given several times, or `all`: every one, beside float.",
    ),
]
ShapeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--shape",
        help="Size of an input that a .tflite leaves open, e.g. in0=1,224,224,3; once for each.",
    ),
]
SocOption = Annotated[
    str | None, typer.Option(help="The chip to compile for, where the target wants one.")
]
RequireFullDelegation = Annotated[
    bool,
    typer.Option(
        "--require-full-delegation",
        help="Fail when the accelerator or delegate leaves an op to other kernels.",
    ),
]


def data_of(model: str, data: str | None) -> str:
    """The DATA reference; a zoo model brings its own.

    Raises:
        UsageError: none was given for another model.
    """
    if data is not None:
        return data
    if model.startswith("zoo:"):
        return model
    raise UsageError(f"--data is missing: samples for {model}, to calibrate, try or judge it with")

"""The ways in which a bundle can run here: each of its precisions on each execution provider."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import numpy as np

from whycam.bench.timing import Show
from whycam.bundle import Bundle
from whycam.detect import Detector, Model
from whycam.detect.providers import choose_providers, providers_here, runtime_name, title
from whycam.detect.sessions import CPU_FORM, feature_file
from whycam.errors import InputError, WhycamError

_LONGEST = 200


@dataclass(frozen=True)
class Variant:
    """A precision of the bundle on an execution provider."""

    precision: str
    provider: str
    """`cpu`, `cuda` or `tensorrt`."""

    def __str__(self) -> str:
        return f"{self.precision} on {self.provider}"

    def file(self, bundle: Bundle) -> str:
        """The bundle's feature extractor that it runs."""
        return feature_file(bundle.manifest, self.precision, choose_providers([self.provider]))

    def open(self, bundle: Bundle, threads: int | None = None) -> Model:
        """The model, ready to decide in so many threads.

        Raises InputError where the provider does not start here, or where another takes most of the CNN's time.
        """
        model = Model(bundle, self.precision, [self.provider], threads)
        if model.providers[0] != runtime_name(self.provider):
            raise InputError(
                f"{self} does not run here: {title(model.providers[0])} takes most of it: leave it out with "
                "--precision or --provider"
            )
        return model


@dataclass(frozen=True)
class LeftOut:
    """A variant that could not be measured."""

    variant: Variant
    reason: str


Guard = Callable[[Variant], AbstractContextManager[object]]
"""What a part of a variant's work is done inside of; where it fails there, the guard may let the others go on."""


class Losses:
    """The variants that have fallen out on the way; one that fails must not cost the figures of the others."""

    def __init__(self, left_out: Sequence[LeftOut] = ()) -> None:
        self._left_out = {each.variant: each for each in left_out}

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """They, in the order in which they fell out."""
        return tuple(self._left_out.values())

    @contextmanager
    def guard(self, variant: Variant) -> Iterator[None]:
        """Leave `variant` out where this fails."""
        try:
            yield
        except Exception as error:  # ONNX Runtime's exceptions have no common base of their own
            self._left_out[variant] = LeftOut(variant, _brief(error))


def choose_variants(bundle: Bundle, precisions: Sequence[str], providers: Sequence[str]) -> list[Variant]:
    """Each of `precisions` on each of `providers`; empty: all those of the bundle, all those of this ONNX Runtime.

    Raises InputError, naming those there are, for one that is not there, and MissingDependencyError without ONNX
    Runtime.
    """
    known = providers_here()
    for name in providers:
        choose_providers([name])
        if name not in known:
            raise InputError(f"execution provider '{name}': name it {', '.join(known)}")
    for name in precisions:
        feature_file(bundle.manifest, name)
    every = [name for name in bundle.manifest.precisions if not name.endswith(CPU_FORM)]
    return [
        Variant(precision, provider)
        for provider in dict.fromkeys(providers or known)
        for precision in dict.fromkeys(precisions or every)
    ]


def startable(
    bundle: Bundle, variants: Sequence[Variant], named: Sequence[str], show: Show, threads: int | None = None
) -> tuple[list[Variant], list[LeftOut]]:
    """Those of `variants` that run here, and the others; each decides once, which builds TensorRT's engines.

    Raises BundleError for a damaged feature extractor; what stands in the way of one whose provider is `named`, or of
    all.
    """
    for variant in variants:
        bundle.file(variant.file(bundle))
    started, left_out = [], []
    for done, variant in enumerate(variants):
        show("opening", done, len(variants))
        try:
            _try(bundle, variant, threads)
        except WhycamError as error:
            if variant.provider in named or len(variants) == 1:
                raise
            left_out.append(LeftOut(variant, str(error)))
        else:
            started.append(variant)
    show("opening", len(variants), len(variants))
    if not started:
        raise InputError(left_out[0].reason)
    return started, left_out


def _try(bundle: Bundle, variant: Variant, threads: int | None) -> None:
    size = bundle.manifest.input
    model = variant.open(bundle, threads)
    try:
        Detector(model).push(np.zeros((size.height, size.width, 3), np.uint8))
    except Exception as error:  # ONNX Runtime's exceptions have no common base of their own
        # A GPU for which the provider has no kernels shows only now.
        raise InputError(
            f"{variant} does not run here ({_brief(error)}): leave it out with --precision or --provider"
        ) from error


def _brief(error: Exception) -> str:
    return " ".join(str(error).split())[:_LONGEST] or type(error).__name__

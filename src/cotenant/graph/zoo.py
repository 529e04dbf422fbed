"""A name of the zoo goes in; the path of a model file with drawn weights comes out.

For one name and one seed the weights are the same bit by bit on every machine (see `draw`);
the file as a whole is, too, as long as the `onnx` package ships the same architecture.
Activations keep a sane size for inputs of about unit variance.
"""

import difflib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType

from cotenant.core.errors import ModelError
from cotenant.graph.blueprint import Blueprint
from cotenant.graph.cache import Sink, cache_folder, intact, keep
from cotenant.graph.light import light_blueprint
from cotenant.graph.mdtb import cifarnet, gru, lstm
from cotenant.graph.wire import model_size_bytes, write_model

_RECIPE = 1  # raise it when the same name and seed come to mean another file

ZOO: Mapping[str, Callable[[], Blueprint]] = MappingProxyType(
    {
        "alexnet": partial(light_blueprint, "alexnet", "light_bvlc_alexnet.onnx"),
        "cifarnet": cifarnet,
        "densenet121": partial(light_blueprint, "densenet121", "light_densenet121.onnx"),
        "gru": gru,
        "inception_v1": partial(light_blueprint, "inception_v1", "light_inception_v1.onnx"),
        "inception_v2": partial(light_blueprint, "inception_v2", "light_inception_v2.onnx"),
        "lstm": lstm,
        "resnet50": partial(light_blueprint, "resnet50", "light_resnet50.onnx"),
        "shufflenet": partial(light_blueprint, "shufflenet", "light_shufflenet.onnx"),
        "squeezenet": partial(light_blueprint, "squeezenet", "light_squeezenet.onnx"),
        "vgg19": partial(light_blueprint, "vgg19", "light_vgg19.onnx"),
        "zfnet512": partial(light_blueprint, "zfnet512", "light_zfnet512.onnx"),
    }
)


def zoo_path(name: str, cache_dir: Path | None = None, seed: int = 0) -> Path:
    """Path of the model file of `name`; it is drawn and kept first if it is not there yet.

    Args:
        name: one of `ZOO`, without the prefix 'zoo:'.
        cache_dir: where files are kept; `cache_folder()` when absent.
        seed: of the weights; another seed is another file.

    Raises:
        ModelError: there is no such name.
        CotenantError: the cache has no room or cannot be written.
    """
    skeleton = zoo_blueprint(name).skeleton(seed)

    def write(sink: Sink) -> None:
        write_model(sink, skeleton)

    return keep(_place(name, cache_dir, seed), model_size_bytes(skeleton), write)


def zoo_cached(name: str, cache_dir: Path | None = None, seed: int = 0) -> bool:
    """Whether the file of `name` is there and undamaged."""
    return intact(_place(name, cache_dir, seed))


def zoo_blueprint(name: str) -> Blueprint:
    """The network behind a name.

    Raises:
        ModelError: there is no such name; the message has the nearest one.
    """
    if name not in ZOO:
        near = difflib.get_close_matches(name.lower(), ZOO, n=1, cutoff=0.5)
        remedy = f"did you mean 'zoo:{near[0]}'?" if near else f"there is {', '.join(ZOO)}"
        raise ModelError(f"the zoo has no model {name!r}; {remedy}")
    return ZOO[name]()


def _place(name: str, cache_dir: Path | None, seed: int) -> Path:
    folder = (cache_folder() if cache_dir is None else cache_dir) / "zoo"
    return folder / f"{name}-r{_RECIPE}-s{seed}.onnx"

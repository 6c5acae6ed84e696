"""Run a script written for the module names of version 0.1.0: `python tests/project/old_names.py SCRIPT [ARG ...]`.

`moved.toml` says where each old module is now. A module that only moved is the same object under both names, so that
patching it works, and its renamed classes have their old names, too. One that was split is a namespace of its own that
reads from all its new places.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import os
import runpy
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
HELPERS = ("tests", "tests/console", "tests/console/tui", "tests/drivers", "tests/gateway")


class _Split(ModuleType):
    """An old module whose names are in several new ones; what is set here is set where the name lives."""

    def _home(self, name: str) -> ModuleType:
        return importlib.import_module(self.__dict__["_names"].get(name, self.__dict__["_default"]))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__all__":
            raise AttributeError(name)
        if name == "__all__":
            return self.__dir__()
        return getattr(self._home(name), name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("__"):
            self.__dict__[name] = value
        else:
            setattr(self._home(name), name, value)

    def __dir__(self) -> list[str]:
        default = importlib.import_module(self.__dict__["_default"])
        return sorted({*self.__dict__["_names"], *(n for n in vars(default) if not n.startswith("_"))})


class OldNames(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds old modules at their new places."""

    def __init__(
        self,
        modules: Mapping[str, str],
        names: Mapping[str, Mapping[str, str]],
        renamed: Mapping[str, Mapping[str, str]],
    ) -> None:
        self._modules, self._names, self._renamed = modules, names, renamed

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The spec of an old module; None for every other one, and for an old package that is still there."""
        here = ROOT.joinpath(*fullname.split("."))
        if fullname == "console.link":  # the package itself moved as a whole
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        if fullname not in self._modules or here.with_suffix(".py").exists() or here.is_dir():
            return None
        return importlib.machinery.ModuleSpec(fullname, self)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        """The new module itself, or a namespace over several."""
        if spec.name not in self._modules:
            return None
        module = importlib.import_module(self._modules[spec.name])
        for old, new in self._renamed.get(self._modules[spec.name], {}).items():
            setattr(module, old, getattr(module, new))
        if spec.name not in self._names:
            self._kept = module.__spec__
            return module
        return split(spec.name, self._modules[spec.name], self._names[spec.name])

    def exec_module(self, module: ModuleType) -> None:
        """Nothing is left to run; a module that only moved keeps the spec of its new place."""
        if module.__name__ in self._modules.values() and not isinstance(module, _Split):
            module.__spec__ = self._kept


def split(name: str, default: str, names: Mapping[str, str]) -> ModuleType:
    """A namespace that stands for an old module."""
    module = _Split(name)
    module.__dict__.update({"_default": default, "_names": names})
    return module


def install() -> None:
    """Make the old names importable in this process. Old modules that are packages now get the old names, too."""
    moved = tomllib.loads((ROOT / "moved.toml").read_text(encoding="utf-8"))
    modules, names = moved["modules"], moved["names"]
    sys.meta_path.insert(0, OldNames(modules, names, moved["renamed"]))
    for old, new in modules.items():
        if ROOT.joinpath(*old.split(".")).is_dir():
            package, namespace = importlib.import_module(old), split(old, new, names.get(old, {}))
            for name in dir(namespace):
                if not hasattr(package, name):
                    setattr(package, name, getattr(namespace, name))


def main() -> None:
    """Run the script named on the command line as `__main__`."""
    if len(sys.argv) < 2:
        sys.exit("usage: python tests/project/old_names.py SCRIPT [ARG ...]")
    sys.path[:0] = [os.path.dirname(os.path.abspath(sys.argv[1])), str(ROOT), *(str(ROOT / h) for h in HELPERS)]
    install()
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()

"""Put LiteRT.js into the distributions, for the page's mode "on this device".

`make litert` fetches the npm packages; they are not committed. Of the four WebAssembly variants,
only the one that every browser runs is included, compressed as the server sends it: 3 MB for 9.
"""

import gzip
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

MODULES = "node_modules/@litertjs"
FILES = (
    "core/package.json",
    "core/dist/index.js",
    "core/wasm/litert_wasm_compat_internal.js",
    "core/wasm/litert_wasm_compat_internal.wasm",
    "wasm-utils/package.json",
    "wasm-utils/dist/bundle.js",
)


class LiteRtHook(BuildHookInterface):  # type: ignore[misc, type-arg, unused-ignore]
    """Adds the files to the wheel, and to the sdist that a wheel may be built from."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the files, if they are there; hatchling calls this before each build."""
        if version == "editable":
            return
        modules = Path(self.root, MODULES)
        missing = [name for name in FILES if not (modules / name).is_file()]
        if missing:
            self.app.display_warning(f"without LiteRT.js: no {missing[0]}; run make litert")
            return
        if self.target_name == "sdist":
            build_data["force_include"] |= {str(modules / n): f"{MODULES}/{n}" for n in FILES}
            return
        for name in FILES:
            source, target = modules / name, f"happysad/serving/litert/{name}"
            if source.suffix == ".wasm":
                content = gzip.compress(source.read_bytes(), mtime=0)
                source, target = Path(self.root, "build", f"{source.name}.gz"), f"{target}.gz"
                source.parent.mkdir(exist_ok=True)
                source.write_bytes(content)
            build_data["force_include"][str(source)] = target

"""The allowed imports between modules."""

import ast
import subprocess
import sys
from pathlib import Path

import happysad

ROOT = Path(happysad.__file__).parent
# Each may import modules of its own line and of the lines below.
ORDER = [
    {"__main__"},
    {"cli"},
    {"scoring", "tuning"},
    {"export", "video", "serving", "doctor"},
    {"evaluation"},
    {"training"},
    {"dataset", "detector", "annotate", "copies", "records", "quiet"},
    {"classifier", "faces", "sources", "reports"},
    {"crops", "download", "yunet", "plots"},
    {"image", "prediction", "released", "files", "progress", "cores", "concurrency", "ray_session"},
    {"image_cost", "image_pixels"},
    {"errors", "image_formats"},
]
RANK = {name: rank for rank, names in enumerate(ORDER) for name in names}
HEAVY = {
    *("tensorflow", "keras", "matplotlib", "sklearn", "scipy"),
    *("av", "cv2", "pyarrow", "ray", "jinja2"),
}


def imports(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def test_imports_point_downwards_only() -> None:
    wrong = []
    for file in ROOT.rglob("*.py"):
        package = file.relative_to(ROOT).with_suffix("").parts[0]
        if package == "__init__":
            continue
        for module in imports(file):
            parts = module.split(".")
            if parts[0] == "happysad" and len(parts) > 1 and RANK[parts[1]] < RANK[package]:
                wrong.append(f"{file.relative_to(ROOT)} imports {module}")
    assert not wrong


def test_no_file_is_unpickled() -> None:
    for file in ROOT.rglob("*.py"):
        roots = {module.partition(".")[0] for module in imports(file)}
        assert not roots & {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}, file
        source = file.read_text("utf-8")
        assert "allow_pickle=True" not in source and "safe_mode=False" not in source, file


def test_nothing_heavy_is_imported_by_the_package_or_by_any_help() -> None:
    for arguments in (
        ["predict", "--help"],
        ["train", "--help"],
        ["score", "--help"],
        ["tune", "--help"],
        ["--version"],
    ):
        code = (
            f"import sys; sys.argv = ['happysad', *{arguments}]\n"
            "import happysad, happysad.image, happysad.prediction\n"
            "from happysad.cli import main\n"
            "try: main()\n"
            "except SystemExit: pass\n"
            f"print('HEAVY', sorted({HEAVY} & set(sys.modules)))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert "HEAVY []" in done.stdout, done.stdout + done.stderr


def test_a_report_of_scores_needs_no_matplotlib() -> None:
    # happysad[cluster] does not install it.
    code = "import sys; sys.modules['matplotlib'] = None; import happysad.scoring.report"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

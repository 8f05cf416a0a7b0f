"""Do the tests notice faults? Every mutant of a module is one small fault; its tests should fail for it.

    python -m tests.benchmarks.mutation --target packing vitq_core/saving/packing.py tests/saving \\
        --tree ../before --out before.json
    python -m tests.benchmarks.mutation --target packing elsewhere/packing.py tests/elsewhere \\
        --against before.json --out docs/mutation.json

A target is a name, a module and the tests that ought to notice. Names are what two runs are compared by, so
modules and tests may have moved in between. Which mutants are tried depends on ``--seed`` and on the code of
their functions alone: a function that only moved is given the same ones.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import importlib
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import NamedTuple

from .markdown import table
from .provenance import commit_of, machine

ROOT = Path(__file__).parents[2]
HEAVY = ("numpy", "torch", "timm", "scipy.optimize", "hypothesis", "PIL.Image", "pytest")  # imported once
IGNORED = shutil.ignore_patterns(".git", ".venv", "__pycache__", ".hypothesis", "*_cache")
OURS = ("tests", "vitq_core", "ui")
PASSED, TOO_LONG = 0, None  # pytest's answer, and what stands for none
KILLED, SURVIVED = "killed", "survived"
FLIPPED = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
OTHER = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult}
Edit = Callable[[ast.AST], None]  # makes the fault in the node given


class Mutant(NamedTuple):
    """``name``: function, fault, and the how manieth of its kind; ``position``: of the node in the tree."""

    name: str
    position: int
    edit: Edit


def main() -> None:
    arguments = parse()
    before = json.loads(arguments.against.read_text()) if arguments.against else None
    results: dict[str, dict[str, str]] = {}
    for name, module, *tests in arguments.target:
        results[name] = try_target(arguments, name, module, tests)
        if arguments.out:
            run = {"about": about_run(arguments), "targets": results, "before": before}
            arguments.out.write_text(json.dumps(run, indent=1) + "\n")
    print("\n".join(summary(results)))
    if before and not as_strict(results, before["targets"]):
        sys.exit(1)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--target", nargs="+", action="append", required=True, metavar=("NAME", "MODULE TESTS"),
        help="a name, a module and its tests, relative to the tree; may be repeated",
    )  # fmt: skip
    parser.add_argument("--tree", type=Path, default=ROOT, help="the checkout; by default this one")
    parser.add_argument("--mutants", type=int, default=40, help="of each module, at most")
    parser.add_argument("--seed", type=int, default=0, help="which mutants")
    parser.add_argument("--timeout", type=float, default=180.0, help="seconds, after which one is killed")
    parser.add_argument("--out", type=Path, help="JSON with what became of each, and the run of --against")
    parser.add_argument("--against", type=Path, help="an earlier JSON: no mutant may survive that died then")
    arguments = parser.parse_args()
    for target in arguments.target:
        if len(target) < 3:
            parser.error(f"--target takes a name, a module and at least one test, got {' '.join(target)}")
        for path in target[1:]:
            if not (arguments.tree / path.split("::")[0]).exists():
                parser.error(f"{arguments.tree} holds no {path}")
    return arguments


def about_run(arguments: argparse.Namespace) -> dict[str, object]:
    """The commit that was tried, the machine, which mutants, and {target: its module}."""
    return {
        "commit": commit_of(arguments.tree),
        "machine": machine(),
        "seed": arguments.seed,
        "mutants": arguments.mutants,
        "modules": {name: module for name, module, *_ in arguments.target},
    }


def try_target(arguments: argparse.Namespace, name: str, module: str, tests: list[str]) -> dict[str, str]:
    """{mutant: KILLED or SURVIVED}. SystemExit where the tests fail without any fault."""
    for heavy in HEAVY:
        importlib.import_module(heavy)
    with tempfile.TemporaryDirectory() as folder:
        copy = shutil.copytree(arguments.tree, Path(folder) / "tree", ignore=IGNORED)
        tree = ast.parse((copy / module).read_text())
        (copy / module).write_text(ast.unparse(tree))
        if outcome(copy, tests, arguments.timeout) != PASSED:
            sys.exit(f"{name}: {' '.join(tests)} must pass within {arguments.timeout} s before any fault")
        results = {}
        for mutant in sample(mutants(tree), arguments.mutants, arguments.seed):
            (copy / module).write_text(ast.unparse(faulty(tree, mutant)))
            passed = outcome(copy, tests, arguments.timeout) == PASSED
            results[mutant.name] = SURVIVED if passed else KILLED
            print(f"{name}: {results[mutant.name]}: {mutant.name}", flush=True)
    return results


def sample(found: list[Mutant], count: int, seed: int) -> list[Mutant]:
    """The ``count`` whose names come first in an order that looks like chance."""
    return sorted(found, key=lambda m: hashlib.sha256(f"{seed} {m.name}".encode()).digest())[:count]


def faulty(tree: ast.Module, mutant: Mutant) -> ast.Module:
    changed = deepcopy(tree)
    node = next(node for position, node in enumerate(ast.walk(changed)) if position == mutant.position)
    mutant.edit(node)
    return ast.fix_missing_locations(changed)


def mutants(tree: ast.Module) -> list[Mutant]:
    """Every single fault that can be made in ``tree``, none in docstrings and annotations."""
    skipped, functions = _unread(tree), _functions(tree)
    seen, found = Counter(), []
    for position, node in enumerate(ast.walk(tree)):
        if node in skipped:
            continue
        for what, edit in faults(node):
            name = f"{functions.get(node, 'module')}: {what}"
            seen[name] += 1
            found.append(Mutant(f"{name} #{seen[name]}", position, edit))
    return found


def _unread(tree: ast.Module) -> set[ast.AST]:
    """Nodes of annotations, which nothing here evaluates: a fault in them is none."""
    roots = [getattr(node, name, None) for node in ast.walk(tree) for name in ("annotation", "returns")]
    return {node for root in roots if root is not None for node in ast.walk(root)}


def _functions(tree: ast.Module) -> dict[ast.AST, str]:
    """{node: the dotted name of the innermost function or class around it}."""
    names: dict[ast.AST, str] = {}

    def visit(node: ast.AST, inside: str) -> None:
        for child in ast.iter_child_nodes(node):
            named = isinstance(child, (ast.FunctionDef, ast.ClassDef))
            name = f"{inside}.{child.name}".lstrip(".") if named else inside
            if name:
                names[child] = name
            visit(child, name)

    visit(tree, "")
    return names


def faults(node: ast.AST) -> Iterator[tuple[str, Edit]]:
    """(what it reads like, the edit) for each fault that fits ``node``."""
    if isinstance(node, ast.Compare):
        for index, operator in enumerate(node.ops):
            if type(operator) in FLIPPED:
                yield _described(node, lambda n, i=index: n.ops.__setitem__(i, FLIPPED[type(n.ops[i])]()))
    elif isinstance(node, (ast.BinOp, ast.AugAssign)) and type(node.op) in OTHER:
        yield _described(node, lambda n: setattr(n, "op", OTHER[type(n.op)]()))
    elif isinstance(node, ast.BoolOp):
        other = ast.Or if isinstance(node.op, ast.And) else ast.And
        yield _described(node, lambda n: setattr(n, "op", other()))
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield _described(node, lambda n: setattr(n, "value", not n.value))
    elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        for step in (1, -1):
            yield _described(node, lambda n, s=step: setattr(n, "value", n.value + s))
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield _described(node, _without_not)
    elif isinstance(node, (ast.If, ast.While, ast.IfExp)):
        yield f"test negated: {ast.unparse(node.test)}", _negated
    elif isinstance(node, ast.Return) and node.value is not None and not _is_none(node.value):
        yield f"{ast.unparse(node)} → return None", lambda n: setattr(n, "value", ast.Constant(None))


def _described(node: ast.AST, edit: Edit) -> tuple[str, Edit]:
    changed = deepcopy(node)
    edit(changed)
    return f"{ast.unparse(node)} → {ast.unparse(changed)}", edit


def _negated(node: ast.If | ast.While | ast.IfExp) -> None:
    node.test = ast.UnaryOp(ast.Not(), node.test)


def _without_not(node: ast.UnaryOp) -> None:
    """In place: twice the operator is none."""
    node.operand = ast.UnaryOp(ast.Not(), node.operand)


def _is_none(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def outcome(copy: Path, tests: list[str], timeout: float) -> int | None:
    """pytest's exit code, TOO_LONG after ``timeout`` seconds. Forked: the heavy imports are done once."""
    process = multiprocessing.get_context("fork").Process(target=_run, args=(copy, tests))
    process.start()
    process.join(timeout)
    if process.is_alive():
        process.kill()
        process.join()
        return TOO_LONG
    return process.exitcode


def _run(copy: Path, tests: list[str]) -> None:
    """In a child: this copy's modules in place of any that are imported already."""
    import pytest

    os.chdir(copy)
    os.environ["VITQ_HOME"] = str(copy.parent / "home")
    sys.dont_write_bytecode = True  # a mutant of the same size and second would be taken for the last one
    for name in [name for name in sys.modules if name.split(".")[0] in OURS]:
        del sys.modules[name]
    sys.path[:] = [
        path for path in sys.path if Path(path or ".").resolve() not in (ROOT, Path(__file__).parent)
    ]
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    options = ["-x", "-q", "-p", "no:cacheprovider", "--hypothesis-seed=0", "-n0"]
    os._exit(int(pytest.main([*options, *tests])))


def summary(results: dict[str, dict[str, str]]) -> Iterator[str]:
    """Lines: how many were killed of each target, then those that were not."""
    width = max(map(len, results))
    for name, found in results.items():
        dead = sum(result == KILLED for result in found.values())
        yield f"{name:<{width}}  {dead:>3} killed, {len(found) - dead:>3} survived"
    for name, found in results.items():
        yield from (f"{name} survived: {mutant}" for mutant, result in found.items() if result == SURVIVED)


def as_strict(results: dict[str, dict[str, str]], before: dict[str, dict[str, str]]) -> bool:
    """Whether every mutant of both runs that was killed before is killed now; prints those that are not."""
    strict = True
    for name, found in results.items():
        then = before.get(name, {})
        shared = found.keys() & then.keys()
        print(f"{name}: {len(shared)} of {len(found)} mutants were tried before too")
        for mutant in sorted(shared):
            if then[mutant] == KILLED and found[mutant] == SURVIVED:
                print(f"{name} was killed before: {mutant}")
                strict = False
        strict = strict and bool(shared)
    return strict


def page(run: dict) -> str:
    """Killed of those tried, now and before; then of the mutants that both runs tried."""
    before = (run["before"] or {}).get("targets", {})
    rows = [_killed(name, found, before.get(name, {})) for name, found in run["targets"].items()]
    about, then = run["about"], (run["before"] or {}).get("about")
    against = f" against {then['commit']}" if then else ""
    shown = table(["module", "killed now", "killed before", "of the same mutants, now and before"], rows)
    return (
        f"{shown}\n\nCommit {about['commit']}{against}, at most {about['mutants']} mutants a module, "
        f"seed {about['seed']}. {about['machine']}."
    )


def _killed(name: str, now: dict[str, str], before: dict[str, str]) -> list[str]:
    def killed(found: dict[str, str], of: Iterable[str]) -> int:
        return sum(found[mutant] == KILLED for mutant in of)

    shared = now.keys() & before.keys()
    both = f"{killed(now, shared)} and {killed(before, shared)} of {len(shared)}" if shared else ""
    old = f"{killed(before, before)} of {len(before)}" if before else ""
    return [name, f"{killed(now, now)} of {len(now)}", old, both]


if __name__ == "__main__":
    main()

"""Trees in LightGBM's text format, so that they are served like any model of it."""

from __future__ import annotations

from collections.abc import Sequence

from fivefold.models.trees.forest import Tree
from fivefold.models.trees.growth import Growth

_NULL_IS_NAN = 2 << 2  # decision_type: which values are null, in bits 2 and 3
_NULL_LEFT = 1 << 1


def lightgbm_text(growth: Growth) -> str:
    """The model file, version 4. Thresholds and leaves are written so that every bit comes back."""
    edges = growth.edges
    trees = [_tree(i, tree, edges) for i, tree in enumerate(growth.trees)]
    head = [
        "tree",
        "version=v4",
        "num_class=1",
        "num_tree_per_iteration=1",
        "label_index=0",
        f"max_feature_idx={growth.features - 1}",
        "objective=binary sigmoid:1" if growth.binary else "objective=regression",
        f"feature_names={' '.join(f'f{i}' for i in range(growth.features))}",
        f"feature_infos={' '.join(_info(e) for e in edges)}",
        f"tree_sizes={' '.join(str(len(t)) for t in trees)}",
    ]
    tail = [
        "end of trees",
        "",
        "feature_importances:",
        "",
        "parameters:",
        "end of parameters",
        "",
        "pandas_categorical:null",
    ]
    return "\n".join(head) + "\n\n" + "".join(trees) + "\n".join(tail) + "\n"


def _info(edges: Sequence[float]) -> str:
    return f"[{edges[0]!r}:{edges[-1]!r}]"


def _tree(number: int, tree: Tree, edges: Sequence[Sequence[float]]) -> str:
    lines: dict[str, list[object]] = {"num_leaves": [len(tree.leaf)], "num_cat": [0]}
    if tree.feature:
        lines |= {
            "split_feature": list(tree.feature),
            "split_gain": [repr(g) for g in tree.gain],
            "threshold": [repr(edges[f][b]) for f, b in zip(tree.feature, tree.bin, strict=True)],
            "decision_type": [_NULL_IS_NAN | (_NULL_LEFT if left else 0) for left in tree.null_left],
            "left_child": list(tree.left),
            "right_child": list(tree.right),
        }
    lines["leaf_value"] = [repr(v) for v in tree.leaf]
    if tree.feature:
        lines |= {"leaf_count": list(tree.leaf_rows), "internal_count": list(tree.rows)}
    lines |= {"is_linear": [0], "shrinkage": [1]}
    text = "".join(f"{name}={' '.join(map(str, values))}\n" for name, values in lines.items())
    return f"Tree={number}\n{text}\n\n"

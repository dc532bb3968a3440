"""What does an edited piece of code print? A snippet run on its own, its last expression shown as a notebook shows it.

The page's worker runs a reader's own code by this, in the reader's own browser; the build runs the same snippets by it
to print what they say unedited. Used by the live calculator.
"""

import ast
import io
import json
import sys
import traceback
from contextlib import redirect_stdout
from typing import Any

MOST_PRINTED = 20_000


def run_snippet(code: str) -> dict[str, Any]:
    """What a snippet prints, and the last line of what went wrong, or None; nothing of one that asks Python to end.

    >>> run_snippet("x = 6\\nprint('six')\\nx * 7")
    {'printed': 'six\\n42\\n', 'wrong': None}
    >>> run_snippet("1 / 0")["wrong"]
    'line 1: ZeroDivisionError: division by zero'
    """
    printed = io.StringIO()
    names: dict[str, Any] = {"__name__": "__main__", "display": print}
    wrong = None
    try:
        tree = ast.parse(code)
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        with redirect_stdout(printed):
            exec(compile(tree, "<snippet>", "exec"), names)
            if isinstance(last, ast.Expr):
                shown = eval(compile(ast.Expression(last.value), "<snippet>", "eval"), names)
                if shown is not None:
                    print(repr(shown))
    except SystemExit:
        return {"printed": "", "wrong": "The code asked Python to exit, so nothing of it is shown."}
    except Exception as error:  # whatever a reader writes is theirs to mend
        wrong = _told(error)
    return {"printed": printed.getvalue()[:MOST_PRINTED], "wrong": wrong}


def snippet_text(text: str) -> str:
    """The same from JSON to JSON, as the page's worker asks."""
    return json.dumps(run_snippet(json.loads(text)), ensure_ascii=False)


def _told(error: Exception) -> str:
    """Its line in the snippet, its kind and its sentence."""
    if isinstance(error, SyntaxError):
        return f"line {error.lineno}: {type(error).__name__}: {error.msg}"
    where = [at.lineno for at in traceback.extract_tb(sys.exc_info()[2]) if at.filename == "<snippet>"]
    return f"line {where[-1] if where else 1}: {type(error).__name__}: {error}"

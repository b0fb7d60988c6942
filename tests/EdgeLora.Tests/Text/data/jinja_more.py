"""Renders every template of jinja_more.json anew: `python jinja_more.py` with jinja2 3.1.6 and Python 3.11. Add a case with its template alone and run."""
import datetime
import json
import pathlib

import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

FILE = pathlib.Path(__file__).with_suffix(".json")


class Generation(Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("keep"), [], [], body).set_lineno(line)

    def keep(self, caller):
        return caller()


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
env.filters["tojson"] = tojson
env.globals["raise_exception"] = raise_exception
env.globals["strftime_now"] = lambda f: datetime.datetime(2024, 7, 26, 13, 5, 9).strftime(f)


def render(template, context):
    try:
        return {"template": template, "rendered": env.from_string(template).render(**json.loads(json.dumps(context)))}
    except Exception as e:
        return {"template": template, "error": type(e).__name__, "message": str(e)}


data = json.loads(FILE.read_text())
rows = [render(case["template"], data["context"]) for case in data["cases"]]
FILE.write_text('{\n"context": ' + json.dumps(data["context"]) + ',\n"cases": [\n' + ",\n".join(json.dumps(r) for r in rows) + "\n]\n}\n")

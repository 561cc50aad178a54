"""Reads the configuration into one tree of mappings, lists and text, before anything is judged.

Three steps, each collecting its faults instead of stopping at the first: the YAML file, the environment laid over
it, and the references (`${ENV}`, `{file: …}`) replaced by what they name. Scalars stay text: only a field's type
knows whether `0123`, `NO` or `1e5` is a number, a truth value or an access token.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from app.errors import Fault

PREFIX = "CONVEY_"
CONFIG_VARIABLE = "CONVEY_CONFIG"
CLIENT_VARIABLES = frozenset({CONFIG_VARIABLE, "CONVEY_URL", "CONVEY_KEY"})
"""Names that belong to the command line, not to the settings."""

MAX_FILE_BYTES = 1 << 20
MAX_DEPTH = 16
MAX_NODES = 100_000

_REFERENCE = re.compile(r"\$(\$)?\{([^{}]*)\}")
_FILE_FLOW = re.compile(r"\{\s*\"?file\"?\s*:\s*\"?([^\s\"{}]+)\"?\s*\}")


class _TextLoader(yaml.SafeLoader):
    """YAML whose plain scalars are text, save for null, and whose mappings name no key twice."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - the attribute PyYAML reads
        first: [pair for pair in pairs if pair[0] in {"tag:yaml.org,2002:null", "tag:yaml.org,2002:merge"}]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key.value} stands twice in one mapping", key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


class Verbatim(str):
    """Text from the environment: taken as it is, `${` included, since a secret may hold any character."""

    __slots__ = ()


@dataclass(slots=True)
class Notes:
    """What is learnt while the tree is read.

    `origins`: config path -> environment variable that set it. `referenced`: paths whose text came from `${…}` or
    a file. `files`: path -> the file read for it.
    """

    faults: list[Fault] = field(default_factory=list)
    origins: dict[str, str] = field(default_factory=dict)
    referenced: set[str] = field(default_factory=set)
    files: dict[str, Path] = field(default_factory=dict)


def join(path: str, key: str | int) -> str:
    """The config path of `key` below `path`, such as `destinations[1].pixel_id`."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    return f"{path}.{key}" if path else key


def parse_yaml(text: str) -> Any:
    """What a YAML text holds: mappings, lists, text and None.

    Raises: yaml.YAMLError.
    """
    return yaml.load(text, Loader=_TextLoader)  # noqa: S506 - a SafeLoader with fewer types


def parse_flow(value: Any) -> Any:
    """The list or mapping that `value` spells when it is text in YAML's flow style; any other value as it is."""
    if isinstance(value, str) and value.lstrip()[:1] in {"[", "{"}:
        try:
            return parse_yaml(value)
        except yaml.YAMLError:
            return value
    return value


def read_yaml(path: Path, faults: list[Fault]) -> dict[str, Any]:
    """The mapping in a configuration file; empty, with a fault, when there is none to be had."""
    try:
        loaded = parse_yaml(path.read_text("utf-8"))
    except OSError as error:
        faults.append(Fault(str(path), "unreadable", f"cannot be read: {error.strerror or 'input/output error'}"))
        return {}
    except UnicodeDecodeError:
        faults.append(Fault(str(path), "unreadable", "is not UTF-8 text"))
        return {}
    except yaml.YAMLError as error:
        faults.append(Fault(str(path), "invalid_yaml", _yaml_words(error)))
        return {}
    except RecursionError:
        faults.append(Fault(str(path), "invalid_yaml", "is nested too deeply"))
        return {}
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        faults.append(Fault(str(path), "invalid_yaml", "must be a mapping of sections such as server and sources"))
        return {}
    if _is_deeper(loaded, MAX_DEPTH, [MAX_NODES]):
        faults.append(Fault(str(path), "invalid_yaml", "is nested too deeply, or an alias refers to itself"))
        return {}
    return loaded


def _is_deeper(node: Any, room: int, left: list[int]) -> bool:
    """Whether a node nests deeper than `room`, or has more nodes than are `left`: aliases multiply quickly."""
    left[0] -= 1
    below = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    return left[0] < 0 or any(room == 0 or _is_deeper(item, room - 1, left) for item in below)


def _yaml_words(error: yaml.YAMLError) -> str:
    """Where and what, without the excerpt PyYAML adds: that line may hold a secret."""
    if not isinstance(error, yaml.MarkedYAMLError):
        return "is not valid YAML"
    mark = error.problem_mark or error.context_mark
    place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    problem = re.sub(r"'[^']*'|\"[^\"]*\"", "…", error.problem or "")
    return f"is not valid YAML{place}" + (f": {problem}" if problem else "")


def overlay(tree: dict[str, Any], environ: Mapping[str, str], sections: frozenset[str], notes: Notes) -> None:
    """Lay every `CONVEY_*` variable over `tree`; list items go by index, the next free index adds one."""
    named = [
        (name.removeprefix(PREFIX).lower().split("__"), name)
        for name in environ
        if name.startswith(PREFIX) and name not in CLIENT_VARIABLES
    ]
    # Indexes as numbers, so that item 10 comes after item 9; a section before what lies in it.
    named.sort(key=lambda item: [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in item[0]])
    for parts, name in named:
        if parts[0] not in sections:
            words = "is not a known setting (in Kubernetes, set enableServiceLinks: false)"
            notes.faults.append(Fault(name, "unknown_variable", words))
        elif not environ[name]:
            notes.faults.append(Fault(name, "empty", "is empty: unset it, or give it a value"))
        else:
            _set(tree, parts, name, environ[name], notes)


def _set(tree: dict[str, Any], parts: list[str], name: str, text: str, notes: Notes) -> None:
    node: Any = tree
    path = ""
    for position, part in enumerate(parts):
        is_list = isinstance(node, list)
        if is_list and (not part.isdecimal() or int(part) > len(node)):
            words = f"names no item of {path}: the next free index is {len(node)}"
            notes.faults.append(Fault(name, "unknown_variable", words))
            return
        key: Any = int(part) if is_list else part
        if is_list and key == len(node):
            node.append(None)
        path = join(path, key)
        if position == len(parts) - 1:
            node[key] = _env_value(text)
            notes.origins[path] = name
            return
        below = parse_flow(node[key] if is_list else node.get(key))
        if below is None or (isinstance(below, str) and parts[position + 1 :] == ["file"]):
            below = [] if parts[position + 1].isdecimal() else {}
        if not isinstance(below, dict | list):
            notes.faults.append(Fault(name, "unknown_variable", f"lies below {path}, which is a single value"))
            return
        node[key] = below
        node = below


def _env_value(text: str) -> Any:
    if text in {"null", "~"}:
        return None
    if match := _FILE_FLOW.fullmatch(text):
        return {"file": match[1]}
    return Verbatim(text)


def resolve(node: Any, path: str, environ: Mapping[str, str], notes: Notes) -> Any:
    """`node` with every `${ENV}` replaced by that variable's value; `$${` stands for a literal `${`."""
    if isinstance(node, dict):
        return {key: resolve(value, join(path, str(key)), environ, notes) for key, value in node.items()}
    if isinstance(node, list):
        return [resolve(value, join(path, index), environ, notes) for index, value in enumerate(node)]
    if isinstance(node, Verbatim):
        return str(node)
    if node == "":
        notes.faults.append(Fault(path, "empty", "is empty: leave it out, or give it a value"))
    if not isinstance(node, str) or "${" not in node:
        return node

    def value_of(match: re.Match[str]) -> str:
        if match[1]:
            return match[0][1:]
        notes.referenced.add(path)
        value = environ.get(match[2], "")
        if not value:
            state = "empty" if match[2] in environ else "not set"
            notes.faults.append(Fault(path, "unset_variable", f"the environment variable {match[2]} is {state}"))
        return value or match[0]

    return _REFERENCE.sub(value_of, node)


def read_files(node: Any, path: str, notes: Notes) -> Any:
    """`node` with every `{file: name}` replaced by that file's text, less the line end at its end."""
    if isinstance(node, list):
        return [read_files(value, join(path, index), notes) for index, value in enumerate(node)]
    if not isinstance(node, dict):
        return node
    if set(node) != {"file"} or not isinstance(node["file"], str):
        return {key: read_files(value, join(path, str(key)), notes) for key, value in node.items()}
    file = Path(node["file"])
    notes.referenced.add(path)
    notes.files[path] = file
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
        text = data.decode("utf-8").rstrip("\r\n")
    except OSError as error:
        words = f"the file it names cannot be read: {error.strerror or 'input/output error'}"
        notes.faults.append(Fault(path, "unreadable", words))
        return None
    except UnicodeDecodeError:
        notes.faults.append(Fault(path, "unreadable", "the file it names is not UTF-8 text"))
        return None
    if not text or len(data) > MAX_FILE_BYTES:
        state = "larger than 1 MiB" if text else "empty"
        notes.faults.append(Fault(path, "unreadable", f"the file it names is {state}"))
        return None
    return text

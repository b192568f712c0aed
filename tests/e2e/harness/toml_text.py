"""Settings as a Python dict, written as TOML: the few shapes that the settings file has."""

import json


def _value(value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)  # a JSON string is a TOML basic string
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_value(each) for each in value) + "]"
    raise TypeError(f"no TOML for {value!r}")


def _is_tables(value) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, dict) for each in value)


def write_toml(table: dict, path: str = "") -> str:
    """`{"a": 1, "log": {...}, "service": [{..., "relay": {...}}]}` as text. Plain keys come before tables."""
    out = [f"{key} = {_value(value)}" for key, value in table.items()
           if not isinstance(value, dict) and not _is_tables(value)]
    for key, value in table.items():
        name = f"{path}.{key}" if path else key
        if isinstance(value, dict):
            out += ["", f"[{name}]", write_toml(value, name)]
        elif _is_tables(value):
            for each in value:
                out += ["", f"[[{name}]]", write_toml(each, name)]
    return "\n".join(out)

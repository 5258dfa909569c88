#!/usr/bin/env python3
"""Writes src/evidence/api/fields.txt and enums.txt from the descriptors in src/lab/envoy_api.binpb.gz.

fields.txt: every field name of Envoy's API, `NAME [p] [WORD...]`: `p` when the field tells "absent" from "zero"
everywhere it occurs (wrappers, oneofs), WORDs the names of its enum default. enums.txt: every enum word.
Run from the root of the repository, after scripts/envoy_descriptors.py.
"""
import collections
import gzip


def fields(b):
    i = 0

    def varint():
        nonlocal i
        r = s = 0
        while True:
            c = b[i]
            i += 1
            r |= (c & 127) << s
            s += 7
            if c < 128:
                return r

    while i < len(b):
        k = varint()
        n, t = k >> 3, k & 7
        if t == 0:
            yield n, varint()
        else:
            size = varint() if t == 2 else 4 if t == 5 else 8
            yield n, b[i:i + size]
            i += size


def main():
    raw = gzip.open("src/lab/envoy_api.binpb.gz").read()
    messages, enums = {}, {}

    def enum(b, prefix):
        name, values = "", {}
        for n, v in fields(b):
            if n == 1:
                name = v.decode()
            elif n == 2:
                d = dict(fields(v))
                values.setdefault(d.get(2, 0), d[1].decode())
                values[("all", d[1].decode())] = d[1].decode()
        enums[f"{prefix}.{name}"] = values

    def message(b, prefix):
        parts = list(fields(b))
        path = prefix + "." + next(v for n, v in parts if n == 1).decode()
        messages[path] = [dict(fields(v)) for n, v in parts if n == 2]
        for n, v in parts:
            if n == 3:
                message(v, path)
            elif n == 4:
                enum(v, path)

    for _, file in fields(raw):
        parts = list(fields(file))
        package = next((v.decode() for n, v in parts if n == 2), "")
        for n, v in parts:
            if n == 4:
                message(v, "." + package)
            elif n == 5:
                enum(v, "." + package)

    ours = (".envoy", ".xds", ".udpa", ".google.rpc", ".google.protobuf", ".io.prometheus", ".cel", ".google.api.expr")
    plain, seen, defaults = set(), set(), collections.defaultdict(set)
    for path, list_ in messages.items():
        if not path.startswith(ours):
            continue
        for f in list_:
            name, repeated, kind = f[1].decode(), f.get(4) == 3, f.get(5)
            seen.add(name)
            type_name = f.get(6, b"").decode()
            if kind == 14 and not repeated:
                defaults[name].add(enums[type_name].get(0, ""))
            if not repeated and not (9 in f or 17 in f) and kind not in (11, 10):
                plain.add(name)
    with open("src/evidence/api/fields.txt", "w") as out:
        for name in sorted(seen):
            words = sorted(w for w in defaults[name] if w)
            out.write(" ".join([name] + ([] if name in plain else ["p"]) + words) + "\n")
    words = {w for values in enums.values() for k, w in values.items() if isinstance(k, tuple)}
    with open("src/evidence/api/enums.txt", "w") as out:
        out.writelines(w + "\n" for w in sorted(words))


main()

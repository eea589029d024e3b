"""What proto/json.h prints and reads, with google.protobuf.json_format as the judge, both ways.

Where the judge differs from the specification (https://protobuf.dev/programming-guides/json) the test says so.
"""

import json

import pytest
from google.protobuf import json_format, message as protobuf_message, unknown_fields

from conftest import TYPES
from json_lib import URL

JUDGE_ERRORS = (json_format.Error, protobuf_message.DecodeError, TypeError, ValueError)


def canonical(message):
    """Equal for equal messages, NaN included."""
    return message.SerializePartialToString(deterministic=True)


def judge_prints(pipe, message, **options):
    return json_format.MessageToJson(message, descriptor_pool=pipe.pool, **options)


def judge_reads(pipe, text, name):
    return json_format.Parse(text, pipe.cls(name)(), descriptor_pool=pipe.pool)


def values(text):
    """JSON as values.  The judge prints a float with as many digits as we do; NaN comes as a string."""
    return json.loads(text)


def unpacked(pipe, message):
    """Like the message, but with what is in every Any in a fixed order of bytes, so that two can be compared."""
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        if field.message_type.GetOptions().map_entry:
            if field.message_type.fields_by_name["value"].message_type is not None:
                for v in value.values():
                    unpacked(pipe, v)
        else:
            for v in value if field.is_repeated else [value]:
                unpacked(pipe, v)
    if message.DESCRIPTOR.full_name == "google.protobuf.Any" and message.type_url:
        inner = pipe.cls(message.type_url.rpartition("/")[2]).FromString(message.value)
        message.value = canonical(unpacked(pipe, inner))
    return message


def drops_entries(pipe, message):
    """The judge's parser puts a map's entry among the unknown fields when there is an unknown field in it; no other does."""
    maps = {f.number for f in message.DESCRIPTOR.fields if f.message_type is not None and f.message_type.GetOptions().map_entry}
    if any(f.field_number in maps for f in unknown_fields.UnknownFieldSet(message)):
        return True
    if message.DESCRIPTOR.full_name == "google.protobuf.Any" and message.type_url:
        return drops_entries(pipe, pipe.cls(message.type_url.rpartition("/")[2]).FromString(message.value))
    inner = []
    for field, value in message.ListFields():
        if field.number in maps:
            inner += value.values() if field.message_type.fields_by_name["value"].message_type is not None else []
        elif field.message_type is not None:
            inner += value if field.is_repeated else [value]
    return any(drops_entries(pipe, m) for m in inner)


def test_random_messages_both_ways(pipe, messages):
    names = [m.DESCRIPTOR.full_name for m in messages]
    printed = pipe.convert([("p", n, m.SerializePartialToString()) for n, m in zip(names, messages)])
    want = [judge_prints(pipe, m) for m in messages]
    for m, n, w, (ok, text) in zip(messages, names, want, printed):
        assert ok, f"{n} {m}: {text.decode()}"
        assert values(text) == values(w), f"{n}: {text.decode()}"
    read = pipe.convert([("j", n, w) for n, w in zip(names, want)])
    again = pipe.convert([("j", n, text) for n, (_, text) in zip(names, printed)])
    for m, n, w, (ok, theirs), (ok2, ours) in zip(messages, names, want, read, again):
        assert ok and ok2, f"{n} {w}: {theirs.decode(errors='replace')} {ours.decode(errors='replace')}"
        expected = canonical(unpacked(pipe, m))
        assert canonical(unpacked(pipe, pipe.cls(n).FromString(theirs))) == expected, w
        assert theirs == ours or canonical(unpacked(pipe, pipe.cls(n).FromString(ours))) == expected, w


def test_the_judge_reads_what_we_print(pipe, messages):
    messages = messages[::5]
    items = [(letter, m.DESCRIPTOR.full_name, m.SerializePartialToString()) for m in messages for letter in "pni"]
    for (letter, name, data), (ok, text) in zip(items, pipe.convert(items)):
        assert ok, text
        got = judge_reads(pipe, text, name)
        assert canonical(unpacked(pipe, got)) == canonical(unpacked(pipe, pipe.cls(name).FromString(data))), (letter, text.decode())


def test_names_of_the_proto_file_and_defaults(pipe, messages):
    messages = messages[::5]
    named = pipe.convert([("n", m.DESCRIPTOR.full_name, m.SerializePartialToString()) for m in messages])
    filled = pipe.convert([("d", m.DESCRIPTOR.full_name, m.SerializePartialToString()) for m in messages])
    for m, (ok, text), (ok2, full) in zip(messages, named, filled):
        assert ok and ok2
        assert values(text) == values(judge_prints(pipe, m, preserving_proto_field_name=True))
        # The judge leaves its defaults out of the payloads of Anys; we do not.
        if b"@type" not in full:
            assert values(full) == values(judge_prints(pipe, m, always_print_fields_with_no_presence=True))


def test_pieces_on_the_wire(pipe, messages):
    """The bytes of two messages one behind the other are the merged message: last values, joined lists, maps and messages."""
    messages = messages[:3000]
    items = []
    for i in range(len(messages) - len(TYPES)):
        a, b = messages[i], messages[i + len(TYPES)]
        items.append(("p", a.DESCRIPTOR.full_name, a.SerializePartialToString() + b.SerializePartialToString()))
    for (_, name, data), (ok, text) in zip(items, pipe.convert(items)):
        merged = pipe.cls(name).FromString(data)
        try:
            want = judge_prints(pipe, merged)
        except JUDGE_ERRORS:
            continue  # a Duration or an Any whose parts came from two messages, and do not fit
        assert ok, (name, data.hex(), text)
        assert values(text) == values(want), (name, data.hex())


def test_damaged_bytes(pipe, rng, messages):
    """What we print from damaged bytes, the judge reads the same from them.  (It lets pass more: groups among unknown fields, tags and
    lengths written with more bytes than they need, and it takes a string that is not UTF-8 as unknown in proto2.)"""
    messages = messages[:4000]
    items, accepted = [], 0
    for m in messages:
        data = bytearray(m.SerializePartialToString())
        for _ in range(rng.randint(1, 3)):
            if data:
                data[rng.randrange(len(data))] = rng.getrandbits(8)
        items.append(("p", m.DESCRIPTOR.full_name, bytes(data)))
    for (_, name, data), (ok, text) in zip(items, pipe.convert(items)):
        if not ok:
            continue
        accepted += 1
        message = pipe.cls(name).FromString(data)
        try:
            want = judge_prints(pipe, message)
        except JUDGE_ERRORS:
            continue  # an Any of an unknown type, which we print raw
        assert drops_entries(pipe, message) or values(text) == values(want), (name, data.hex(), text.decode())
    assert accepted > 100


REPLACED = {
    "a string before another one": "0a020885 0a0161",
    "a piece that the next one would complete": "1a020885 1a022001",
    "another member of the oneof": "3a020885 2001",
}


@pytest.mark.parametrize("data", REPLACED.values(), ids=REPLACED)
def test_what_is_replaced_is_read_all_the_same(pipe, data):
    data = bytes.fromhex(data)
    with pytest.raises(protobuf_message.DecodeError):
        pipe.cls("rich.Tree").FromString(data)
    [(ok, text)] = pipe.convert([("p", "rich.Tree", data)])
    assert not ok, text


def test_shuffled_members(pipe, rng, messages):
    """JSON objects have no order, and names may be those of the .proto file; null is absence."""
    messages = messages[:2000]

    def shuffle(v):
        if isinstance(v, dict):
            members = [(k, shuffle(x)) for k, x in v.items()]
            rng.shuffle(members)
            return dict(members)
        return [shuffle(x) for x in v] if isinstance(v, list) else v

    items, expected = [], []
    for m in messages:
        text = judge_prints(pipe, m, preserving_proto_field_name=rng.random() < 0.5)
        items.append(("j", m.DESCRIPTOR.full_name, json.dumps(shuffle(json.loads(text)), ensure_ascii=rng.random() < 0.5)))
        expected.append(m)
    for m, (_, name, text), (ok, data) in zip(expected, items, pipe.convert(items)):
        assert ok, (text, data)
        assert canonical(unpacked(pipe, pipe.cls(name).FromString(data))) == canonical(unpacked(pipe, m)), text


def test_texts_that_both_accept_or_refuse(pipe):
    """Texts by hand; the third column: whether it is JSON for the type, where the judge agrees."""
    rows = [
        ("rich.Scalars", '{"anInt32": 1.0}', True),
        ("rich.Scalars", '{"anInt32": 1e3}', True),
        ("rich.Scalars", '{"anInt32": "17"}', True),
        ("rich.Scalars", '{"anInt32": "1e3"}', True),
        ("rich.Scalars", '{"anInt32": 1.5}', False),
        ("rich.Scalars", '{"anInt32": 2147483648}', False),
        ("rich.Scalars", '{"anInt32": -2147483648}', True),
        ("rich.Scalars", '{"anInt32": ""}', False),
        ("rich.Scalars", '{"anInt32": "1 "}', False),
        ("rich.Scalars", '{"anInt32": true}', False),
        ("rich.Scalars", '{"anInt64": "9223372036854775807"}', True),
        ("rich.Scalars", '{"anInt64": 9223372036854775807}', True),
        ("rich.Scalars", '{"anInt64": "9223372036854775808"}', False),
        ("rich.Scalars", '{"aUint64": 18446744073709551615}', True),
        ("rich.Scalars", '{"aUint64": -1}', False),
        ("rich.Scalars", '{"aDouble": "NaN", "aFloat": "-Infinity"}', True),
        ("rich.Scalars", '{"aDouble": "1.5e3"}', True),
        ("rich.Scalars", '{"aDouble": "nan"}', False),
        ("rich.Scalars", '{"aFloat": 1e39}', False),
        ("rich.Scalars", '{"aBool": "true"}', False),
        ("rich.Scalars", '{"aBool": 1}', False),
        ("rich.Scalars", '{"aString": 1}', False),
        ("rich.Scalars", '{"aString": "\\u0000\\ud83d\\ude00"}', True),
        ("rich.Scalars", '{"aString": "\\ud83d"}', False),
        ("rich.Scalars", '{"aString": "\\ude00\\ud83d"}', False),
        ("rich.Scalars", '{"someBytes": "-_8="}', True),
        ("rich.Scalars", '{"someBytes": "+/8"}', True),
        ("rich.Scalars", '{"someBytes": "a"}', False),
        ("rich.Scalars", '{"color": "BLUE"}', True),
        ("rich.Scalars", '{"color": "CRIMSON"}', True),
        ("rich.Scalars", '{"color": -3}', True),
        ("rich.Scalars", '{"color": 12345}', True),
        ("rich.Scalars", '{"color": "GREEN"}', False),
        ("rich.Scalars", '{"color": null, "aBool": null}', True),
        ("rich.Scalars", '{"an_int32": 1}', True),
        ("rich.Scalars", '{"anInt32": 1, "anInt32": 1}', False),
        ("rich.Scalars", '{"nothing": 1}', False),
        ("rich.Scalars", '[1]', False),
        ("rich.Scalars", '{"aDouble": NaN}', False),
        ("rich.Scalars", '{"anInt32": 1,}', False),
        ("rich.Scalars", '{"anInt32": 01}', False),
        ("rich.Scalars", '{} {}', False),
        ("rich.Scalars", '', False),
        ("rich.Rich", '{"other name": "x", "OddName1": 1, "UPPERCase": 2}', True),
        ("rich.Rich", '{"renamed": "x", "_odd__name_1_": 1, "UPPER_Case": 2}', True),
        ("rich.Lists", '{"anInt32": [1, null]}', False),
        ("rich.Lists", '{"value": [1, null, {"a": [null]}]}', True),
        ("rich.Lists", '{"anInt32": null}', True),
        ("rich.Lists", '{"anInt32": 1}', False),
        ("rich.Lists", '{"scalars": [{}, {"aBool": true}]}', True),
        ("rich.Maps", '{"byInt32": {"-1": "x", "2": "y"}}', True),
        ("rich.Maps", '{"byInt32": {"a": "x"}}', False),
        ("rich.Maps", '{"byBool": {"true": "x", "false": ""}}', True),
        ("rich.Maps", '{"byBool": {"1": "x"}}', False),
        ("rich.Maps", '{"byString": {"a": null}}', False),
        ("rich.Maps", '{"value": {"a": null}}', True),
        ("rich.Tree", '{"number": 1, "text": "x"}', False),
        ("rich.Tree", '{"number": 1, "text": null}', True),
        ("rich.Tree", '{"nothing": null}', True),
        ("rich.Tree", '{"value": null}', True),
        ("rich.WellKnown", '{"timestamp": "2020-02-29T12:00:00.123456789Z"}', True),
        ("rich.WellKnown", '{"timestamp": "2020-02-29T12:00:00+01:30"}', True),
        ("rich.WellKnown", '{"timestamp": "0001-01-01T00:00:00Z"}', True),
        ("rich.WellKnown", '{"timestamp": "2021-02-29T12:00:00Z"}', False),
        ("rich.WellKnown", '{"timestamp": "2020-02-29T12:00:00"}', False),
        ("rich.WellKnown", '{"timestamp": "2020-02-29T12:00:00.1234567890Z"}', False),
        ("rich.WellKnown", '{"timestamp": 1}', False),
        ("rich.WellKnown", '{"duration": "-0.5s"}', True),
        ("rich.WellKnown", '{"duration": "1"}', False),
        ("rich.WellKnown", '{"duration": "315576000001s"}', False),
        ("rich.WellKnown", '{"mask": "fooBar,a.bC"}', True),
        ("rich.WellKnown", '{"mask": "foo_bar"}', False),
        ("rich.WellKnown", '{"struct": {"a": {"b": [1, "x", true, null, {}]}}}', True),
        ("rich.WellKnown", '{"struct": []}', False),
        ("rich.WellKnown", '{"list": [[], [1]]}', True),
        ("rich.WellKnown", '{"list": {}}', False),
        ("rich.WellKnown", '{"int64Value": "1", "stringValue": "", "bytesValue": "AA==", "boolValue": false}', True),
        ("rich.WellKnown", '{"int64Value": {}}', False),
        ("rich.WellKnown", '{"nullValue": null}', True),
        ("rich.WellKnown", '{"empty": {}}', True),
        ("rich.WellKnown", '{"empty": {"a": 1}}', False),
        ("rich.WellKnown", '{"any": {}}', True),
        ("rich.WellKnown", '{"any": {"value": "1s", "@type": "type.googleapis.com/google.protobuf.Duration"}}', True),
        ("rich.WellKnown", '{"any": {"aBool": true, "@type": "type.googleapis.com/rich.Scalars"}}', True),
        ("rich.WellKnown", '{"any": {"aBool": true}}', False),
        ("rich.WellKnown", '{"any": {"@type": "type.googleapis.com/rich.Scalars", "other": 1}}', False),
        ("old.Old", '{"size": "LARGE", "sizes": [2, 5]}', True),
        ("old.Old", '{"size": 3}', False),
        ("old.Old", '{"flag": false, "text": ""}', True),
    ]
    for (name, text, good), (ok, answer) in zip(rows, pipe.convert([("j", n, t) for n, t, _ in rows])):
        assert ok == good, f"{name} {text}: {answer.decode(errors='replace')}"
        try:
            judged = judge_reads(pipe, text, name)
        except JUDGE_ERRORS as e:
            assert not good, f"{name} {text}: the judge refuses it: {e}"
            continue
        assert good, f"{name} {text}: the judge accepts it"
        assert canonical(unpacked(pipe, judged)) == canonical(unpacked(pipe, pipe.cls(name).FromString(answer))), text


def test_where_the_judge_is_not_the_specification(pipe):
    """(type, text, ours, the judge's verdict)."""
    rows = [
        ("rich.Scalars", '{"an_int32": 1, "anInt32": 1}', False, True),  # one field twice
        ("rich.Scalars", '{"aFloat": 3.4028235e+38}', True, False),  # the greatest float, as the judge prints it, too
        ("rich.Scalars", '{"anInt32": " 1"}', False, False),
        ("rich.Scalars", '{"anInt32": "0x1"}', False, False),
        ("rich.Scalars", '{"anInt32": "1_000"}', False, True),  # python's int() takes it
        ("rich.Scalars", '{"color": "1"}', False, True),        # a name or a number, not a number in quotes
        ("rich.Scalars", '{"someBytes": "a$b="}', False, True),  # python's base64 passes over what is none
        ("rich.Scalars", '[]', False, True),                    # a message is an object
        ("rich.Scalars", '{"aDouble": 1e999}', False, False),
        ("old.Old", '{"item": {"sku": "x"}}', False, True),     # a required field is missing
        ("old.Old", '{"[old.note]": "x"}', False, True),        # extensions: we say that we do not have them
        ("rich.WellKnown", '{"timestamp": "2020-02-29 12:00:00Z"}', False, False),
        ("rich.WellKnown", '{"any": {"@type": "type.googleapis.com/google.protobuf.Empty", "value": {}}}', True, False),  # as Go prints it
        ("rich.WellKnown", '{"any": {"@type": "example.com/no.such.Type", "value": "AAE="}}', True, False),  # ours: kept raw
    ]
    for (name, text, ours, judges), (ok, answer) in zip(rows, pipe.convert([("j", n, t) for n, t, _, _ in rows])):
        assert ok == ours, f"{text}: {answer.decode(errors='replace')}"
        try:
            judge_reads(pipe, text, name)
            verdict = True
        except JUDGE_ERRORS:
            verdict = False
        assert verdict == judges, f"{text}: the judge's mind has changed"


def test_anys_of_unknown_and_bad_types(pipe):
    any_cls = pipe.cls("google.protobuf.Any")
    name = "google.protobuf.Any"
    unknown = any_cls(type_url=URL + "no.such.Type", value=b"\0\1").SerializeToString()
    bad = any_cls(type_url=URL + "rich.Scalars", value=b"\xff").SerializeToString()

    ok, text = pipe.one("p", name, unknown)
    assert ok and json.loads(text) == {"@type": URL + "no.such.Type", "value": "AAE="}
    assert pipe.one("j", name, text) == (True, unknown)
    ok, text = pipe.one("r", name, unknown)
    assert not ok and b'unknown type "type.googleapis.com/no.such.Type"' in text
    ok, text = pipe.one("p", name, bad)
    assert not ok and b"rich.Scalars: truncated varint" in text
    ok, text = pipe.one("s", name, bad)
    assert ok and json.loads(text)["value"] == "/w==" and "truncated varint" in json.loads(text)["@error"]
    ok, text = pipe.one("j", name, text)
    assert not ok


def test_unknown_fields_and_extensions_are_passed_over(pipe):
    m = pipe.cls("old.Old")(text="t")
    m.Extensions[pipe.pool.FindExtensionByName("old.note")] = "note"
    data = m.SerializeToString() + bytes.fromhex("c03e07")  # field 1000
    assert len(unknown_fields.UnknownFieldSet(pipe.cls("old.Old").FromString(data))) == 1
    ok, text = pipe.one("p", "old.Old", data)
    assert ok and json.loads(text) == {"text": "t"}


def test_closed_enums(pipe):
    """A number that a proto2 enum does not know is an unknown field: in a list that element, in a map that entry."""
    data = bytes.fromhex("1803" "2002" "2003" "2005" "2a03020305" "42050a01611003" "42050a01621005")
    ok, text = pipe.one("p", "old.Old", data)
    assert ok and json.loads(text) == {"sizes": ["SMALL", "LARGE"], "packedSizes": ["SMALL", "LARGE"], "byName": {"b": "HEAVY"}}
    assert values(judge_prints(pipe, pipe.cls("old.Old").FromString(data))) == json.loads(text)
    assert pipe.one("p", "old.Old", bytes.fromhex("1803" "2a0103" "42050a01611003")) == (True, b"{}")


def test_groups_are_refused_by_name(pipe):
    m = pipe.cls("old.Grouped")(text="x")
    assert pipe.one("p", "old.Grouped", m.SerializeToString()) == (True, b'{"text":"x"}')
    m.inner.a = 1
    ok, text = pipe.one("p", "old.Grouped", m.SerializeToString())
    assert not ok and b"group" in text
    ok, text = pipe.one("j", "old.Grouped", '{"inner": {"a": 1}}')
    assert not ok and text == b"inner: a group, which is not supported"


def test_the_limit_of_depth_is_the_usual_one(pipe):
    """100 messages inside each other: what we write, others read; one more is refused by both."""
    def nested(n):
        return '{"left":' * n + "{}" + "}" * n

    ok, data = pipe.one("j", "rich.Tree", nested(100))
    assert ok
    pipe.cls("rich.Tree").FromString(data)
    assert pipe.one("p", "rich.Tree", data) == (True, nested(100).encode())
    assert not pipe.one("j", "rich.Tree", nested(101))[0]
    deeper = b"\x1a" + bytes([0x80 | len(data) & 0x7f, len(data) >> 7]) + data
    ok, text = pipe.one("p", "rich.Tree", deeper)
    assert not ok and b"more than 100 messages inside each other" in text
    assert not pipe.one("j", "google.protobuf.Value", "[" * 60 + "]" * 60)[0]
    ok, data = pipe.one("j", "google.protobuf.Value", "[" * 50 + "]" * 50)
    assert ok
    pipe.cls("google.protobuf.Value").FromString(data)


def test_errors_name_the_place(pipe):
    rows = [
        ("rich.Rich", '{"tree": {"children": [{}, {"left": {"foo": 1}}]}}', "tree.children[1].left.foo: rich.Tree has no such field"),
        ("rich.Rich", '{"maps": {"byString": {"a b": {"leaf": 1}}}}', 'maps.byString["a b"].leaf: rich.Tree has no such field'),
        ("rich.Rich", '{"any": [{"@type": "x/rich.Tree", "foo": 1}]}', "any[0].foo: rich.Tree has no such field"),
        ("rich.Rich", '{"lists": {"anInt32": [1, 2, "x"]}}', 'lists.anInt32[2]: expected an int32, got "x"'),
        ("rich.Rich", '{"tree": 1}', "tree: expected an object, got 1"),
        ("rich.Rich", "7", "rich.Rich: expected an object, got 7"),
        ("rich.Rich", '{"scalars": {"color": "GREEN"}}', 'scalars.color: expected a value of rich.Color, got "GREEN"'),
        ("rich.Rich", '{\n  "tree": {\n    "name": x\n  }\n}', "line 3, column 13: lexical error: invalid char in json text."),
        ("rich.Rich", '{"tree": {}', "line 1, column 12: parse error: premature EOF"),
        ("rich.Rich", '{"renamed": "é\\ud800"}', "line 1, column 15: half of a surrogate pair"),
        ("rich.Rich", b'{"renamed":\n "\xff"}', "line 2, column 3: not UTF-8"),
        ("old.Old", '{"item": {"sku": "x"}}', "item.size: old.Item requires the field"),
        ("rich.Tree", '{"number": 1, "text": "x"}', "text: another field of the same oneof is there already"),
    ]
    for (name, text, message), (ok, answer) in zip(rows, pipe.convert([("j", n, t) for n, t, _ in rows])):
        assert (ok, answer.decode()) == (False, message), text
